use super::*;
use crate::drbg::Drbg;
use crate::hash::{HashAlgorithm, hash};
use crate::rsa::Portable;
use crate::rsa::testing::{CounterRng, Lanes};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use rand_core::Rng;

const E: u32 = 65537;

fn pair(engine: &dyn Engine, bits: usize, rng: &mut impl CryptoRng) -> [Limbs; 2] {
    let search = Search::new(bits / 2, E);
    [(); 2].map(|()| search.prime(engine, rng, &mut || false).unwrap())
}

fn fingerprint(primes: &[Limbs; 2]) -> alloc::string::String {
    let bytes = primes
        .each_ref()
        .map(|prime| limbs::to_bytes(prime, prime.len() * 8));
    hex::encode(hash(HashAlgorithm::Sha256, &[&bytes[0], &bytes[1]]))
}

/// Made by a second implementation, in another language, from the module documentation. These never change.
const VECTORS: [(usize, &[u8], &str); 8] = [
    (
        1024,
        b"one",
        "988efd07ce7a991342c6667acdb8613220b56de0e243e9e6ed3fd4a95ad5a471",
    ),
    (
        1024,
        b"two",
        "2c3331d78c84103d5a5715c0ae85e3b21995cf6e23aed2da1238a88e81423a5d",
    ),
    (
        2048,
        b"one",
        "fca6bb77a773390e7659587c0600d95a0965a92f443c5bcca07e466593fd966f",
    ),
    (
        2048,
        b"two",
        "ec34f8eab9ef421d0fd55c92765aa5bea68cffbbedc4bfbf786cc0d59c91e81d",
    ),
    (
        3072,
        b"one",
        "4e165265fafa9f694a51602d493f018d69358320f7387802ec7d27097a4821f2",
    ),
    (
        3072,
        b"two",
        "a84579744e90b89cef6c99887bb0c5b751a15b2ecf739745d5869ac16442a168",
    ),
    (
        4096,
        b"one",
        "1d2dce0db9c396171866e9b3f868b0251c021a63de902699706bd6a48e7e2b4e",
    ),
    (
        4096,
        b"two",
        "23990fa01f2d244b34314763be7f202d69efcbe9343a72126707f2e08073bc2e",
    ),
];

#[test]
fn a_seed_gives_the_same_primes_for_ever() {
    for (bits, seed, expected) in VECTORS {
        assert_eq!(
            fingerprint(&pair(&Portable, bits, &mut CounterRng::new(seed))),
            expected,
            "{bits} {seed:?}"
        );
    }
}

#[test]
fn the_number_of_lanes_changes_no_prime() {
    for (bits, seed, expected) in &VECTORS[..4] {
        for engine in [&Lanes(3), &Lanes(8), &Lanes(64)] {
            assert_eq!(
                fingerprint(&pair(engine, *bits, &mut CounterRng::new(seed))),
                *expected
            );
        }
    }
}

#[test]
fn the_depth_of_the_sieve_changes_no_prime() {
    let mut search = Search::new(512, E);
    search.groups.clear();
    let mut rng = CounterRng::new(b"one");
    let primes = [(); 2].map(|()| search.prime(&Portable, &mut rng, &mut || false).unwrap());
    assert_eq!(fingerprint(&primes), VECTORS[0].2);
}

#[test]
fn a_seed_of_the_generator_gives_the_same_primes_for_ever() {
    let mut rng = Drbg::new(&[7; 48], &[b"RSA prime vector"]);
    assert_eq!(
        fingerprint(&pair(&Portable, 2048, &mut rng)),
        "e3613dcdbd5ba48fc7d6530096a2dff1ae13927031f33cf94b021e1098a97cc8"
    );
}

#[test]
fn every_prime_differs_and_is_random_below_its_top_two_bits() {
    let search = Search::new(512, E);
    let mut rng = CounterRng::new(b"distribution");
    let count = 400;
    let primes: Vec<Limbs> = (0..count)
        .map(|_| search.prime(&Portable, &mut rng, &mut || false).unwrap())
        .collect();
    let mut buckets = [0usize; 8];
    for prime in &primes {
        let top = prime[7];
        assert_eq!(top >> 62, 3);
        buckets[usize::try_from(top >> 59 & 7).unwrap()] += 1;
    }
    // 50 expected in each, standard deviation 6.6.
    assert!(
        buckets.iter().all(|&n| (20..80).contains(&n)),
        "{buckets:?}"
    );
    // Bits one by one: 200 expected, standard deviation 10; the two on top and the lowest are fixed.
    for bit in 1..510 {
        let ones = primes
            .iter()
            .filter(|prime| prime[bit / 64] >> (bit % 64) & 1 == 1)
            .count();
        assert!((140..260).contains(&ones), "bit {bit}: {ones}");
    }
    // Structured primes (ROCA) have residues modulo small primes that fill a small subgroup only.
    for modulus in [3u64, 5, 7, 11, 13, 17, 19, 37] {
        let mut seen = vec![false; usize::try_from(modulus).unwrap()];
        for prime in &primes {
            seen[usize::try_from(limbs::remainder_by_word(prime, modulus)).unwrap()] = true;
        }
        assert!(
            !seen[0] && seen[1..].iter().all(|&seen| seen),
            "modulo {modulus}"
        );
    }
    for (i, a) in primes.iter().enumerate() {
        assert!(primes[..i].iter().all(|b| a != b));
    }
}

#[test]
fn no_prime_is_1_modulo_the_exponent() {
    // With 3 as the exponent, half of all primes would be.
    let search = Search::new(512, 3);
    let mut rng = CounterRng::new(b"three");
    for _ in 0..20 {
        let prime = search.prime(&Portable, &mut rng, &mut || false).unwrap();
        assert_eq!(limbs::remainder_by_word(&prime, 3), 2);
    }
}

#[test]
fn a_search_stops_when_asked() {
    let search = Search::new(2048, E);
    let mut asked = 0;
    let mut cancel = || {
        asked += 1;
        asked == 3
    };
    assert_eq!(
        search.prime(&Portable, &mut CounterRng::new(b"stop"), &mut cancel),
        Err(Cancelled)
    );
    assert_eq!(asked, 3);
}

#[test]
fn miller_rabin_rejects_composites_that_pass_fermat() {
    // (6k + 1)(12k + 1)(18k + 1) with three prime factors is a Carmichael number.
    let bytes = hex::decode(CARMICHAEL).unwrap();
    let number = limbs::from_bytes(&bytes);
    assert_eq!(number.len(), 8);
    assert_eq!(Portable.fermat_batch(&[&number]), 1);
    let tested = Tested::draw(&number, 8, &mut CounterRng::new(b"witness"));
    assert!(!tested.is_probable_prime(&Portable));
}

/// The portable engine, whose Fermat test lets some composites pass, always the same ones.
#[derive(Default)]
struct Lenient {
    passed: AtomicUsize,
}

impl Engine for Lenient {
    fn lanes(&self) -> usize {
        1
    }

    fn fermat_batch(&self, candidates: &[&[u64]]) -> u64 {
        let honest = Portable.fermat_batch(candidates);
        let passes = candidates[0][0] >> 1 & 15 == 0;
        if honest == 0 && passes {
            self.passed.fetch_add(1, Relaxed);
        }
        honest | u64::from(passes)
    }

    fn modexp_batch(&self, jobs: &mut [Modexp<'_>]) {
        Portable.modexp_batch(jobs);
    }
}

#[test]
fn two_primes_at_once_are_those_found_one_after_the_other_also_where_fermat_was_wrong() {
    let search = Search::with_depth(512, E, 1 << 10);
    let lenient = Lenient::default();
    for engine in [&Portable as &dyn Engine, &Lanes(8), &lenient] {
        for seed in [&b"one"[..], b"two", b"three", b"four", b"five", b"six"] {
            let mut rng = Drbg::new(&[7; 48], &[seed]);
            let pair = search.pair(engine, &mut rng, &mut || false).unwrap();
            let mut others = Drbg::new(&[7; 48], &[seed]);
            let one_by_one =
                [(); 2].map(|()| search.prime(engine, &mut others, &mut || false).unwrap());
            assert_eq!(pair, one_by_one);
            assert_eq!(
                rng.next_u64(),
                others.next_u64(),
                "the generators went as far"
            );
        }
    }
    assert!(lenient.passed.load(Relaxed) > 0);
}

const CARMICHAEL: &str = "8ed9b80d2aa82f570b0cb64c5651652eff52a0048c0b32952a0008cccde515960629fa4efe7090e3ac596b1e146bc540d7bc9310270d39efcb670cb1ee234ae1";

#[test]
fn the_sieve_knows_its_primes() {
    let primes = odd_primes(1 << 16);
    assert_eq!(primes.len(), 6541);
    assert_eq!(primes[..5], [3, 5, 7, 11, 13]);
    assert_eq!(primes.last(), Some(&65521));
}

#[test]
fn survivors_are_exactly_the_candidates_without_small_factors() {
    let search = Search::new(512, E);
    let start = search.start(&mut CounterRng::new(b"sieve"));
    let survivors: Vec<u32> = search.survivors(&start).collect();
    let expected: Vec<u32> = (0..WINDOW)
        .filter(|&offset| {
            let mut candidate = start.clone();
            limbs::add_small(&mut candidate, 2 * u64::from(offset));
            search
                .primes
                .iter()
                .all(|&prime| limbs::remainder_by_word(&candidate, prime.into()) != 0)
                && limbs::remainder_by_word(&candidate, E.into()) != 1
        })
        .collect();
    assert_eq!(survivors, expected);
}
