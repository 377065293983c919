//! libtpms's search for an RSA prime, for the keys of [`libtpms`](crate::libtpms).
//!
//! A format like the search of the parent module: which prime comes out, and how many bytes are drawn on the way, must never change.
//!
//! # One prime of L bits, for a public exponent e
//!
//! 1. **Start.** Draw L/8 bytes and make them a number ([`Start`] says in which order). Its most significant bits, as a
//!    fraction, are multiplied by 0x4AFB / 2^16, and 0xB505 / 2^16 is added, so that the product of two primes has its top bit set.
//!    These are the first 32 bits; of a narrow start the first 16, and zeros are put in place of the 32 bits after them. Its lowest
//!    bit is set: this is s.
//! 2. **Field.** The greatest odd multiple of 105 that is not above s begins it; it goes on in steps of 2, 16384 numbers long. Those
//!    with a factor of at most 8167 (L up to 512), 38891 (up to 1024) or 65521 leave it.
//! 3. **Order.** Let f be the low 32 bits of s with the highest of them set. As long as k numbers are in the field, k above zero,
//!    number f mod k, counted from zero and upwards, leaves it: the next candidate. When none is left, go back to step 1.
//! 4. **Test.** A candidate that is 0 or 1 modulo e is none. Miller-Rabin tests the others: 5 rounds for L below 1536, otherwise
//!    4. The base of a round is L/8 bytes, big-endian, drawn when its round comes, and again while it is not in 2 ..= n - 2. The
//!    first round that rejects a candidate is its last. A candidate that none rejects is the prime.
//!
//! A Fermat test to the base 2 says beforehand which candidates will be rejected; they still draw the base of one round, and the others
//! draw those of all rounds at once. (That a composite number of this size passes one of the two and fails the other does not happen.)

use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Cancelled, Tested, base, mark, odd_primes};
use crate::libtpms::Start;
use crate::rsa::engine::Engine;
use crate::rsa::limbs::{self, Limbs};

/// Numbers in a field.
const FIELD: usize = 16384;
/// What the beginning of a field is a multiple of.
const ALIGNMENT: u64 = 105;

/// A search for primes of one size, fit for one public exponent.
pub(crate) struct Search {
    bits: usize,
    exponent: u64,
    start: Start,
    primes: Vec<u32>,
}

impl Search {
    /// Prepares a search for primes of `bits` bits, a multiple of 64 from 512 to 2048.
    pub(crate) fn new(bits: usize, exponent: u32, start: Start) -> Self {
        let largest = match bits {
            0..=512 => 8167,
            513..=1024 => 38891,
            _ => 65521,
        };
        Self {
            bits,
            exponent: exponent.into(),
            start,
            primes: odd_primes(largest + 1),
        }
    }

    /// Finds the next prime, as limbs. `cancel` is asked again and again whether to stop.
    ///
    /// # Errors
    /// `Cancelled`, if `cancel` says so.
    pub(crate) fn prime<R: CryptoRng + ?Sized>(
        &self,
        engine: &dyn Engine,
        rng: &mut R,
        cancel: &mut dyn FnMut() -> bool,
    ) -> Result<Limbs, Cancelled> {
        loop {
            let start = self.draw_start(rng);
            let mut field = Field::new(&start, &self.primes);
            loop {
                if cancel() {
                    return Err(Cancelled);
                }
                let batch = self.candidates(&mut field, engine.lanes());
                if batch.is_empty() {
                    break;
                }
                let numbers: Vec<&[u64]> = batch.iter().map(|number| number.as_slice()).collect();
                let passed = engine.fermat_batch(&numbers);
                for (i, candidate) in batch.iter().enumerate() {
                    if survives(engine, candidate, passed >> i & 1 == 1, rng) {
                        return Ok(candidate.clone());
                    }
                }
            }
        }
    }

    fn draw_start<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Limbs {
        let mut bytes = Zeroizing::new(vec![0; self.bits / 8]);
        rng.fill_bytes(&mut bytes);
        // How many bits of the top limb are mapped, and how many below them are kept.
        let (mapped, kept) = match self.start {
            Start::Narrow => {
                bytes.reverse();
                (16, 16)
            }
            Start::Wide => (32, 32),
        };
        let mut start = limbs::from_bytes(&bytes);
        if let Some(top) = start.last_mut() {
            let upper = in_range(*top >> (64 - mapped), mapped) << (64 - mapped);
            *top = upper | (*top & ((1 << kept) - 1));
        }
        if let Some(low) = start.first_mut() {
            *low |= 1;
        }
        start
    }

    /// The next candidates of a field, at most `most`; none when it is used up.
    fn candidates(&self, field: &mut Field, most: usize) -> Vec<Limbs> {
        core::iter::from_fn(|| field.next())
            .filter(|number| limbs::remainder_by_word(number, self.exponent) > 1)
            .take(most)
            .collect()
    }
}

/// Maps the upper bits of a number, 16 or 32 of them, to those from the root of one half on.
fn in_range(upper: u64, bits: u32) -> u64 {
    let below = bits - 16;
    let (high, low) = (upper >> below, upper & ((1 << below) - 1));
    // Not the product of the whole, which could be one greater.
    let scaled = (((high * 0x4AFB) << below) >> 16) + ((low * 0x4AFB) >> 16);
    scaled + (0xB505 << below)
}

/// The numbers that are still to be tried.
struct Field {
    first: Limbs,
    /// The low bits of the start, which decide the order.
    order: u32,
    left: u32,
    /// Bit i of word w stands for `first + 2 * (64 * w + i)`.
    words: Zeroizing<Vec<u64>>,
}

impl Field {
    fn new(start: &[u64], primes: &[u32]) -> Self {
        let mut first = Zeroizing::new(start.to_vec());
        let order = start.first().map_or(0, |low| low & 0xFFFF_FFFF) | 0x8000_0000;
        let rest = limbs::remainder_by_word(start, ALIGNMENT);
        let back = if rest % 2 == 1 {
            rest + ALIGNMENT
        } else {
            rest
        };
        // A start is far greater than this.
        let mut borrow = back;
        for limb in first.iter_mut() {
            let (difference, under) = limb.overflowing_sub(borrow);
            *limb = difference;
            borrow = under.into();
        }
        let mut composite = Zeroizing::new(vec![false; FIELD]);
        for &prime in primes {
            let prime = u64::from(prime);
            mark(
                &mut composite,
                limbs::remainder_by_word(&first, prime),
                0,
                prime,
            );
        }
        let words = composite.chunks(64).map(|chunk| {
            let bits = chunk.iter().rev();
            bits.fold(0, |word, &composite| word << 1 | u64::from(!composite))
        });
        let words: Zeroizing<Vec<u64>> = Zeroizing::new(words.collect());
        Self {
            first,
            order: u32::try_from(order).unwrap_or_default(),
            left: words.iter().map(|word| word.count_ones()).sum(),
            words,
        }
    }

    /// Takes the next number out; `None` when the field is empty.
    fn next(&mut self) -> Option<Limbs> {
        let mut skip = self.order.checked_rem(self.left)?;
        self.left -= 1;
        let (index, word) = (0_u64..).zip(self.words.iter_mut()).find(|(_, word)| {
            let ones = word.count_ones();
            let here = skip < ones;
            if !here {
                skip -= ones;
            }
            here
        })?;
        let mut rest = *word;
        for _ in 0..skip {
            rest &= rest.wrapping_sub(1);
        }
        let bit = rest.trailing_zeros();
        *word &= !(1 << bit);
        let mut number = self.first.clone();
        // The field of a start so close to the top that this overflows has not been seen by anyone.
        limbs::add_small(&mut number, 2 * (64 * index + u64::from(bit)));
        Some(number)
    }
}

/// The Miller-Rabin test; `probable` is what the Fermat test said.
fn survives<R: CryptoRng + ?Sized>(
    engine: &dyn Engine,
    candidate: &[u64],
    probable: bool,
    rng: &mut R,
) -> bool {
    let rounds = if candidate.len() * 64 < 1536 { 5 } else { 4 };
    if probable {
        return Tested::draw(candidate, rounds, rng).is_probable_prime(engine);
    }
    let mut minus_one = Zeroizing::new(candidate.to_vec());
    if let Some(low) = minus_one.first_mut() {
        *low -= 1;
    }
    base(&minus_one, rng);
    false
}

/// Whether two primes differ by `2^100` at least.
pub(crate) fn far_apart(p: &[u64], q: &[u64]) -> bool {
    let (larger, smaller) = if limbs::less(p, q) { (q, p) } else { (p, q) };
    limbs::bit_length(&limbs::subtract(larger, smaller).0) > 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drbg::Drbg;
    use crate::rsa::Portable;

    fn start(start: Start) -> Limbs {
        Search::new(512, 65537, start).draw_start(&mut Drbg::new(b"seed", &[]))
    }

    #[test]
    fn a_start_is_drawn_in_the_order_of_its_level_and_is_at_least_the_root_of_a_half() {
        let mut bytes = [0; 64];
        Drbg::new(b"seed", &[]).fill(&mut bytes);
        let wide = limbs::to_bytes(&start(Start::Wide), 64);
        assert_eq!(wide[4..63], bytes[4..63]);
        assert_eq!(wide[63], bytes[63] | 1);
        let narrow = limbs::to_bytes(&start(Start::Narrow), 64);
        bytes.reverse();
        assert_eq!(narrow[2..6], [0; 4]);
        assert_eq!(narrow[6..63], bytes[6..63]);
        for (bits, kept) in [(16, 0), (32, 16)] {
            assert_eq!(in_range(0, bits), 0xB505 << kept);
            assert_eq!(in_range((1 << bits) - 1, bits) >> kept, 0xFFFF);
        }
    }

    #[test]
    fn a_field_holds_what_has_no_small_factor_and_is_used_up_in_its_order() {
        let start = start(Start::Wide);
        let primes = odd_primes(8168);
        assert_eq!(primes.last(), Some(&8167));
        let mut field = Field::new(&start, &primes);
        assert_eq!(limbs::remainder_by_word(&field.first, 105), 0);
        let distance = limbs::subtract(&start, &field.first).0;
        assert!(
            distance[0] < 210
                && distance[0].is_multiple_of(2)
                && distance[1..].iter().all(|&x| x == 0)
        );
        let expected: Vec<u64> = (0..16384_u64)
            .filter(|i| {
                let mut number = field.first.clone();
                limbs::add_small(&mut number, 2 * i);
                primes
                    .iter()
                    .all(|&p| limbs::remainder_by_word(&number, p.into()) != 0)
            })
            .collect();
        assert_eq!(usize::try_from(field.left).unwrap(), expected.len());
        let mut left = expected.clone();
        let first = field.first.clone();
        while let Some(number) = field.next() {
            let place = usize::try_from(field.order).unwrap() % left.len();
            let offset = left.remove(place);
            assert_eq!(limbs::subtract(&number, &first).0[0], 2 * offset);
        }
        assert!(left.is_empty());
    }

    #[test]
    fn a_rejected_candidate_draws_one_base_and_a_prime_all_of_them() {
        let search = Search::new(512, 65537, Start::Wide);
        let mut rng = Drbg::new(b"rounds", &[]);
        let prime = search.prime(&Portable, &mut rng, &mut || false).unwrap();
        let mut composite = prime.clone();
        limbs::add_small(&mut composite, 2);
        for (number, probable, rounds) in [(&composite, false, 1), (&prime, true, 5)] {
            let mut drawn = Drbg::new(b"rounds", &[]);
            assert_eq!(survives(&Portable, number, probable, &mut drawn), probable);
            let mut counted = Drbg::new(b"rounds", &[]);
            let mut minus_one = number.clone();
            minus_one[0] -= 1;
            (0..rounds).for_each(|_| drop(base(&minus_one, &mut counted)));
            let mut next = [[0; 16]; 2];
            drawn.fill(&mut next[0]);
            counted.fill(&mut next[1]);
            assert_eq!(next[0], next[1]);
        }
        // What the Fermat test says beforehand, the rounds say as well.
        let mut rng = Drbg::new(b"rounds", &[]);
        assert!(!survives(&Portable, &composite, true, &mut rng));
        let cancelled = search.prime(&Portable, &mut rng, &mut || true);
        assert_eq!(cancelled, Err(Cancelled));
    }

    #[test]
    fn primes_that_are_close_are_refused() {
        let number = |low: u64, high: u64| vec![low, high, 0, 1];
        assert!(!far_apart(&number(1, 0), &number(3, 0)));
        assert!(!far_apart(&number(0, 1 << 36), &number(1, 0)));
        assert!(far_apart(&number(0, 1 << 36), &number(0, 0)));
        assert!(far_apart(&number(0, 0), &number(0, 1 << 36)));
    }
}
