//! The search for RSA primes: deterministic, so that one seed gives one key for ever.
//!
//! A primary key is recomputed from its seed whenever it is needed. What follows is therefore a format, not a detail:
//! any change of it changes keys. The arithmetic engine and the depth of the sieve are no part of it; they decide how
//! fast an answer comes, not which.
//!
//! # One prime of L bits, for a public exponent e
//!
//! 1. **Start.** Draw L/8 bytes from the generator, read them as a big-endian number, set its two highest bits and its
//!    lowest bit: this is s.
//! 2. **Candidates** are s, s + 2, s + 4, ... up to s + 2 * 8191, while they stay below 2^L, in this order, without those
//!    that are 1 modulo e. If none of them turns out to be prime, go back to step 1.
//! 3. **Fermat.** A candidate n with `2^(n - 1) mod n` other than 1 is rejected. (Candidates with a small factor are rejected by
//!    a sieve before; the test would reject them as well.)
//! 4. **Miller-Rabin.** Draw all bases of the candidate first: 8 for L below 1024, 5 for L below 1536, otherwise 4
//!    (no fewer than FIPS 186-5, table B.1, asks for). A base is L/8 bytes from the generator, big-endian, drawn again while
//!    it is not in 2 ..= n - 2. A candidate that every base accepts is the prime. After a rejected one the search goes on with
//!    the next candidate.
//!
//! The two bits at the top make the product of two such primes exactly 2L bits long, and each prime greater than
//! `sqrt(2) * 2^(L - 1)` (FIPS 186-5, A.1.3). Nothing else of a prime is fixed.
//! Stepping on from one start, instead of drawing each candidate anew, favours primes after long gaps a little and saves most of
//! the sieve.

pub(crate) mod libtpms;

use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

use rand_core::{CryptoRng, TryCryptoRng, TryRng};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::rsa::engine::{Engine, Modexp};
use crate::rsa::limbs::{self, Limbs};

/// Candidates tried from one start.
const WINDOW: u32 = 8192;

/// The search was given up because the caller asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

/// A search for primes of one size, fit for one public exponent.
#[derive(Debug)]
pub struct Search {
    bits: usize,
    exponent: u32,
    primes: Vec<u32>,
    groups: Vec<Group>,
}

/// Odd primes whose product fits a word, so that a start is reduced once for all of them.
#[derive(Debug)]
struct Group {
    product: u64,
    /// 2^bits modulo the product.
    scale: u64,
    primes: core::ops::Range<usize>,
}

impl Search {
    /// Prepares a search for primes of `bits` bits, a multiple of 64 from 512 to 2048, none of them 1 modulo `exponent`.
    #[must_use]
    pub fn new(bits: usize, exponent: u32) -> Self {
        // Sieving deeper than this costs more than the Fermat tests that it saves (measured).
        Self::with_depth(bits, exponent, if bits < 1024 { 1 << 15 } else { 1 << 18 })
    }

    /// The same search, as deep a sieve as suits an engine; its primes are those of `new`.
    #[must_use]
    pub fn for_engine(engine: &dyn Engine, bits: usize, exponent: u32) -> Self {
        match (engine.lanes(), bits) {
            // One test at a time costs as the portable engine's do.
            (1, _) => Self::new(bits, exponent),
            (_, 0..1536) => Self::with_depth(bits, exponent, 1 << 14),
            (_, 1536..) => Self::with_depth(bits, exponent, 1 << 16),
        }
    }

    fn with_depth(bits: usize, exponent: u32, bound: usize) -> Self {
        let primes = odd_primes(bound);
        let mut groups = Vec::new();
        let mut first = 0;
        let mut product = 1u64;
        for (i, &prime) in primes.iter().enumerate() {
            product = product.checked_mul(u64::from(prime)).unwrap_or_else(|| {
                groups.push(Group::new(product, bits, first..i));
                first = i;
                u64::from(prime)
            });
        }
        groups.push(Group::new(product, bits, first..primes.len()));
        Self {
            bits,
            exponent,
            primes,
            groups,
        }
    }

    /// Finds the next prime, as limbs. `cancel` is asked again and again whether to stop.
    ///
    /// # Errors
    /// `Cancelled`, if `cancel` says so.
    pub fn prime<R: CryptoRng + ?Sized>(
        &self,
        engine: &dyn Engine,
        rng: &mut R,
        cancel: &mut dyn FnMut() -> bool,
    ) -> Result<Limbs, Cancelled> {
        let tested = self.next(engine, rng, cancel, Judge::Now)?;
        Ok(tested.candidate)
    }

    /// Finds the next two primes: those that [`Search::prime`] finds when called twice.
    ///
    /// A large random number that passes the Fermat test is as good as certainly prime, so that the search for the second one goes on
    /// from there, and an engine with many lanes puts both to the Miller-Rabin test at once. Should one of them fail after all, the
    /// search starts over, one prime after the other, with the same random numbers.
    ///
    /// # Errors
    /// `Cancelled`, if `cancel` says so.
    pub fn pair<R: CryptoRng + ?Sized>(
        &self,
        engine: &dyn Engine,
        rng: &mut R,
        cancel: &mut dyn FnMut() -> bool,
    ) -> Result<[Limbs; 2], Cancelled> {
        let mut tape = Tape {
            rng,
            recorded: Vec::new(),
            given: None,
        };
        let first = self.next(engine, &mut tape, cancel, Judge::Later)?;
        let second = self.next(engine, &mut tape, cancel, Judge::Later)?;
        if are_probable_primes(engine, &[&first, &second]) {
            return Ok([first.candidate, second.candidate]);
        }
        tape.given = Some(0);
        Ok([
            self.prime(engine, &mut tape, cancel)?,
            self.prime(engine, &mut tape, cancel)?,
        ])
    }

    /// The next candidate that passes the tests asked for.
    fn next<R: CryptoRng + ?Sized>(
        &self,
        engine: &dyn Engine,
        rng: &mut R,
        cancel: &mut dyn FnMut() -> bool,
        judge: Judge,
    ) -> Result<Tested, Cancelled> {
        loop {
            let start = self.start(rng);
            let mut batch: Vec<Limbs> = Vec::with_capacity(engine.lanes());
            let mut survivors = self.survivors(&start).peekable();
            while let Some(offset) = survivors.next() {
                let mut candidate = start.clone();
                // A window that runs over the top ends there.
                if limbs::add_small(&mut candidate, 2 * u64::from(offset)) != 0 {
                    break;
                }
                batch.push(candidate);
                if batch.len() < engine.lanes() && survivors.peek().is_some() {
                    continue;
                }
                if let Some(tested) = Self::test(engine, &batch, rng, cancel, judge)? {
                    return Ok(tested);
                }
                batch.clear();
            }
            if let Some(tested) = Self::test(engine, &batch, rng, cancel, judge)? {
                return Ok(tested);
            }
        }
    }

    fn start<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Limbs {
        let mut bytes = Zeroizing::new(vec![0; self.bits / 8]);
        rng.fill_bytes(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first |= 0xc0;
        }
        if let Some(last) = bytes.last_mut() {
            *last |= 1;
        }
        limbs::from_bytes(&bytes)
    }

    /// The offsets, in steps of 2, of the candidates without a small factor.
    fn survivors(&self, start: &[u64]) -> impl Iterator<Item = u32> + use<> {
        let mut composite = Zeroizing::new(vec![false; to_index(WINDOW)]);
        for group in &self.groups {
            let rest = limbs::remainder_scaled(start, group.product, group.scale);
            for &prime in self.primes.get(group.primes.clone()).unwrap_or_default() {
                mark(&mut composite, rest % u64::from(prime), 0, u64::from(prime));
            }
        }
        let exponent = u64::from(self.exponent);
        mark(
            &mut composite,
            limbs::remainder_by_word(start, exponent),
            1,
            exponent,
        );
        (0..WINDOW).filter(move |&offset| composite.get(to_index(offset)) == Some(&false))
    }

    /// The first prime of a batch.
    fn test<R: CryptoRng + ?Sized>(
        engine: &dyn Engine,
        batch: &[Limbs],
        rng: &mut R,
        cancel: &mut dyn FnMut() -> bool,
        judge: Judge,
    ) -> Result<Option<Tested>, Cancelled> {
        if batch.is_empty() {
            return Ok(None);
        }
        if cancel() {
            return Err(Cancelled);
        }
        let candidates: Vec<&[u64]> = batch.iter().map(|candidate| candidate.as_slice()).collect();
        let passed = engine.fermat_batch(&candidates);
        for (i, candidate) in batch.iter().enumerate() {
            if passed >> i & 1 == 1 {
                let tested = Tested::draw(candidate, rounds(candidate.len() * 64), rng);
                if judge == Judge::Later || tested.is_probable_prime(engine) {
                    return Ok(Some(tested));
                }
            }
        }
        Ok(None)
    }
}

impl Group {
    fn new(product: u64, bits: usize, primes: core::ops::Range<usize>) -> Self {
        Self {
            product,
            scale: limbs::power_of_word(bits / 64, product),
            primes,
        }
    }
}

/// Rounds of Miller-Rabin for a random prime of so many bits (FIPS 186-5, table B.1).
const fn rounds(bits: usize) -> usize {
    match bits {
        0..1024 => 8,
        1024..1536 => 5,
        _ => 4,
    }
}

/// When a candidate that passed the Fermat test is put to the Miller-Rabin test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judge {
    Now,
    Later,
}

/// An odd candidate whose top limb is not zero, with the bases of its Miller-Rabin test.
struct Tested {
    candidate: Limbs,
    minus_one: Limbs,
    /// Twos in the candidate less one, and what is left without them.
    twos: usize,
    odd: Limbs,
    bases: Vec<Limbs>,
}

impl Tested {
    fn draw<R: CryptoRng + ?Sized>(candidate: &[u64], rounds: usize, rng: &mut R) -> Self {
        let mut minus_one = Zeroizing::new(candidate.to_vec());
        if let Some(low) = minus_one.first_mut() {
            *low -= 1;
        }
        let twos = trailing_zeros(&minus_one);
        Self {
            candidate: Zeroizing::new(candidate.to_vec()),
            twos,
            odd: shift_right(&minus_one, twos),
            bases: (0..rounds).map(|_| base(&minus_one, rng)).collect(),
            minus_one,
        }
    }

    fn is_probable_prime(&self, engine: &dyn Engine) -> bool {
        are_probable_primes(engine, &[self])
    }
}

/// The Miller-Rabin test of all these candidates, whose powers the engine computes together.
fn are_probable_primes(engine: &dyn Engine, all: &[&Tested]) -> bool {
    let mut rounds: Vec<(&Tested, Limbs, Choice)> = Vec::new();
    for tested in all {
        for base in &tested.bases {
            rounds.push((*tested, base.clone(), Choice::from(0)));
        }
    }
    let mut raised: Vec<_> = rounds
        .iter_mut()
        .map(|round| (round.0, &mut round.1))
        .collect();
    powers(engine, &mut raised, |tested| &tested.odd);
    // A base is no witness if its odd power is 1, or if that power squared fewer than `twos` times is -1.
    for (tested, power, accepted) in &mut rounds {
        let mut one = Zeroizing::new(vec![0; tested.candidate.len()]);
        limbs::add_small(&mut one, 1);
        *accepted = power.ct_eq(&one);
    }
    let most = all.iter().map(|tested| tested.twos).max().unwrap_or(0);
    for square in 0..most {
        let mut here: Vec<_> = rounds
            .iter_mut()
            .filter(|(tested, ..)| square < tested.twos)
            .collect();
        if square > 0 {
            let mut squared: Vec<_> = here
                .iter_mut()
                .map(|round| (round.0, &mut round.1))
                .collect();
            powers(engine, &mut squared, |_| &[2]);
        }
        for (tested, power, accepted) in here {
            *accepted |= power.ct_eq(&tested.minus_one);
        }
    }
    rounds.iter().all(|(_, _, accepted)| bool::from(*accepted))
}

/// Raises each base to a power modulo its candidate.
fn powers<'a>(
    engine: &dyn Engine,
    bases: &mut [(&'a Tested, &mut Limbs)],
    exponent: impl Fn(&'a Tested) -> &'a [u64],
) {
    for bases in bases.chunks_mut(engine.lanes()) {
        let plain: Vec<Limbs> = bases.iter().map(|(_, base)| (*base).clone()).collect();
        let mut jobs: Vec<Modexp<'_>> = bases
            .iter_mut()
            .zip(&plain)
            .map(|((tested, result), base)| Modexp {
                base,
                exponent: exponent(tested),
                modulus: &tested.candidate,
                result,
            })
            .collect();
        engine.modexp_batch(&mut jobs);
    }
}

/// Records what a generator gives, to give it once more. A generator's answers may depend on how much is asked for at once; a search
/// always asks for the octets of one number.
struct Tape<'a, R: ?Sized> {
    rng: &'a mut R,
    recorded: Vec<Zeroizing<Vec<u8>>>,
    /// How many of the recorded answers were given again; `None` while recording.
    given: Option<usize>,
}

impl<R: CryptoRng + ?Sized> TryRng for Tape<'_, R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.rng.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.rng.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        if let Some(given) = &mut self.given {
            if let Some(before) = self.recorded.get(*given) {
                *given += 1;
                bytes.copy_from_slice(before);
                return Ok(());
            }
            self.rng.fill_bytes(bytes);
        } else {
            self.rng.fill_bytes(bytes);
            self.recorded.push(Zeroizing::new(bytes.to_vec()));
        }
        Ok(())
    }
}

impl<R: CryptoRng + ?Sized> TryCryptoRng for Tape<'_, R> {}

/// A random base from 2 to n - 2.
fn base<R: CryptoRng + ?Sized>(minus_one: &[u64], rng: &mut R) -> Limbs {
    let mut bytes = Zeroizing::new(vec![0; minus_one.len() * 8]);
    loop {
        rng.fill_bytes(&mut bytes);
        let base = limbs::from_bytes(&bytes);
        if limbs::bit_length(&base) > 1 && limbs::less(&base, minus_one) {
            return base;
        }
    }
}

/// Marks the offsets x with start + 2x = target modulo an odd number, given the start modulo that number.
fn mark(composite: &mut [bool], start: u64, target: u64, modulus: u64) {
    let distance = (modulus + target - start) % modulus;
    let first = if distance.is_multiple_of(2) {
        distance / 2
    } else {
        (distance + modulus) / 2
    };
    let (Ok(first), Ok(step)) = (usize::try_from(first), usize::try_from(modulus)) else {
        return;
    };
    for mark in composite.iter_mut().skip(first).step_by(step) {
        *mark = true;
    }
}

fn odd_primes(bound: usize) -> Vec<u32> {
    // Entry i stands for 2i + 1.
    let mut composite = vec![false; bound / 2];
    let mut primes = Vec::with_capacity(bound / 10);
    for i in 1..bound / 2 {
        if composite.get(i) == Some(&false) {
            let prime = 2 * i + 1;
            primes.extend(u32::try_from(prime));
            if let Some(rest) = composite.get_mut(prime * prime / 2..) {
                rest.iter_mut().step_by(prime).for_each(|mark| *mark = true);
            }
        }
    }
    primes
}

fn trailing_zeros(limbs: &[u64]) -> usize {
    let zeros = limbs.iter().position(|&limb| limb != 0).unwrap_or(0);
    zeros * 64
        + limbs
            .get(zeros)
            .map_or(0, |limb| to_index(limb.trailing_zeros()))
}

fn shift_right(limbs: &[u64], by: usize) -> Limbs {
    let shifted = (0..limbs.len()).map(|i| {
        let low = limbs.get(i + by / 64).map_or(0, |limb| limb >> (by % 64));
        let high = limbs
            .get(i + by / 64 + 1)
            .map_or(0, |limb| (limb << 1) << (63 - by % 64));
        low | high
    });
    Zeroizing::new(shifted.collect())
}

fn to_index(x: u32) -> usize {
    usize::try_from(x).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
