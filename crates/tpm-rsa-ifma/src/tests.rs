use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use proptest::collection::vec;
use proptest::prelude::*;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::rsa::engine::Modexp;
use tpm_crypto::rsa::{self, Engine, Portable};

use super::detected;

/// The engine, or nothing to test on this machine, which the log says.
fn engine() -> Option<&'static dyn Engine> {
    let engine = detected();
    if engine.is_none() {
        eprintln!("this processor has no AVX-512 IFMA: nothing compared");
    }
    engine
}

fn reference(base: &[u64], exponent: &[u64], modulus: &[u64]) -> Vec<u64> {
    let boxed = |limbs: &[u64]| BoxedUint::from_words(limbs.iter().copied());
    let params = BoxedMontyParams::new(Odd::new(boxed(modulus)).unwrap());
    let power = BoxedMontyForm::new(boxed(base), &params).pow(&boxed(exponent));
    power.retrieve().as_words().to_vec()
}

/// Odd, above 1, its top limb not zero but with `zeros` leading zero bits.
fn modulus(mut limbs: Vec<u64>, zeros: u32) -> Vec<u64> {
    limbs[0] |= 1;
    let top = limbs.last_mut().unwrap();
    *top = (*top | 1 << 63) >> zeros;
    if limbs.len() == 1 {
        limbs[0] |= 3;
    }
    limbs
}

fn below(modulus: &[u64], mut base: Vec<u64>) -> Vec<u64> {
    base.resize(modulus.len(), 0);
    if base.iter().rev().ge(modulus.iter().rev()) {
        base = modulus.to_vec();
        base[0] -= 1;
    }
    base
}

fn limb() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => Just(u64::MAX), 4 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn powers_are_those_of_another_implementation(
        length in 1usize..=33,
        lanes in 1usize..=19,
        numbers in vec(vec(limb(), 33), 19),
        bases in vec(vec(limb(), 33), 19),
        exponents in vec(vec(limb(), 0..4), 19),
        zeros in vec(0u32..64, 19),
    ) {
        let Some(engine) = engine() else { return Ok(()) };
        let moduli: Vec<_> = (0..lanes).map(|i| modulus(numbers[i][..length].to_vec(), zeros[i])).collect();
        let bases: Vec<_> = (0..lanes).map(|i| below(&moduli[i], bases[i][..length].to_vec())).collect();
        let mut results = vec![vec![0; length]; lanes];
        let mut jobs: Vec<_> = results.iter_mut().enumerate().map(|(i, result)| Modexp {
            base: &bases[i], exponent: &exponents[i], modulus: &moduli[i], result,
        }).collect();
        engine.modexp_batch(&mut jobs);
        for i in 0..lanes {
            prop_assert_eq!(&results[i], &reference(&bases[i], &exponents[i], &moduli[i]), "lane {}", i);
        }
    }

    #[test]
    fn fermat_tests_answer_as_the_portable_engine_does(
        length in 8usize..=33,
        numbers in vec(vec(limb(), 33), 1..=8),
        zeros in 0u32..64,
    ) {
        let Some(engine) = engine() else { return Ok(()) };
        // Numbers of the form 2^k - 1 and such pass or nearly pass; random ones never do.
        let candidates: Vec<_> = numbers.iter().map(|n| modulus(n[..length].to_vec(), zeros)).collect();
        let candidates: Vec<&[u64]> = candidates.iter().map(Vec::as_slice).collect();
        let expected = candidates.iter().enumerate()
            .fold(0, |mask, (i, candidate)| mask | Portable.fermat_batch(&[candidate]) << i);
        prop_assert_eq!(engine.fermat_batch(&candidates), expected);
    }
}

#[test]
fn keys_are_those_of_the_portable_engine() {
    let Some(engine) = engine() else { return };
    for (bits, seeds) in [(1024, 24u8), (2048, 8), (3072, 2), (4096, 1)] {
        for seed in 0..seeds {
            let generator = || Drbg::new(&[seed; 48], &[b"same keys"]);
            let (mut ours, mut theirs) = (generator(), generator());
            let ours = rsa::generate_with(engine, bits, 65537, &mut ours, &mut || false).unwrap();
            let portable = rsa::generate(bits, 65537, &mut theirs, &mut || false).unwrap();
            assert_eq!(ours.prime(), portable.prime(), "{bits} bits, seed {seed}");
            assert_eq!(ours.other_prime(), portable.other_prime());
        }
    }
}

#[test]
fn primes_pass_and_products_do_not_in_every_lane() {
    let Some(engine) = engine() else { return };
    let mut random = Drbg::new(&[9; 48], &[b"lanes"]);
    for bits in [512, 768, 1024, 1536, 2048] {
        let search = tpm_crypto::prime::Search::new(bits, 65537);
        let prime = search.prime(&Portable, &mut random, &mut || false).unwrap();
        let mut composite = prime.clone();
        composite[1] ^= 1;
        assert_eq!(Portable.fermat_batch(&[&composite]), 0);
        for mask in [0u64, 1, 0x80, 0xff, 0x55, 0x2a, 0x7e] {
            let lanes: [&[u64]; 8] = core::array::from_fn(|i| {
                if mask >> i & 1 == 1 {
                    &prime[..]
                } else {
                    &composite
                }
            });
            assert_eq!(engine.fermat_batch(&lanes), mask, "{bits} bits");
            for count in 1..8 {
                assert_eq!(
                    engine.fermat_batch(&lanes[..count]),
                    mask & ((1 << count) - 1)
                );
            }
        }
    }
}
