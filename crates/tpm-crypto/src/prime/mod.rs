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

use rand_core::CryptoRng;
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
                if let Some(prime) = Self::test(engine, &batch, rng, cancel)? {
                    return Ok(prime);
                }
                batch.clear();
            }
            if let Some(prime) = Self::test(engine, &batch, rng, cancel)? {
                return Ok(prime);
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
    ) -> Result<Option<Limbs>, Cancelled> {
        if batch.is_empty() {
            return Ok(None);
        }
        if cancel() {
            return Err(Cancelled);
        }
        let candidates: Vec<&[u64]> = batch.iter().map(|candidate| candidate.as_slice()).collect();
        let passed = engine.fermat_batch(&candidates);
        for (i, candidate) in batch.iter().enumerate() {
            let rounds = rounds(candidate.len() * 64);
            if passed >> i & 1 == 1 && is_probable_prime(engine, candidate, rounds, rng) {
                return Ok(Some(candidate.clone()));
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

/// The Miller-Rabin test with random bases, for an odd candidate whose top limb is not zero.
fn is_probable_prime<R: CryptoRng + ?Sized>(
    engine: &dyn Engine,
    candidate: &[u64],
    rounds: usize,
    rng: &mut R,
) -> bool {
    let mut minus_one = Zeroizing::new(candidate.to_vec());
    if let Some(low) = minus_one.first_mut() {
        *low -= 1;
    }
    let twos = trailing_zeros(&minus_one);
    let odd = shift_right(&minus_one, twos);
    let bases: Vec<Limbs> = (0..rounds).map(|_| base(&minus_one, rng)).collect();
    let mut results = powers(engine, &bases, &odd, candidate);
    // A base is no witness if its odd power is 1, or if that power squared fewer than `twos` times is -1.
    let mut one = Zeroizing::new(vec![0; candidate.len()]);
    limbs::add_small(&mut one, 1);
    let mut accepted: Vec<Choice> = results.iter().map(|power| power.ct_eq(&one)).collect();
    for square in 0..twos {
        if square > 0 {
            results = powers(engine, &results, &[2], candidate);
        }
        for (accepted, power) in accepted.iter_mut().zip(&results) {
            *accepted |= power.ct_eq(&minus_one);
        }
    }
    accepted.into_iter().all(bool::from)
}

/// Each base to the same power, modulo the candidate.
fn powers(engine: &dyn Engine, bases: &[Limbs], exponent: &[u64], candidate: &[u64]) -> Vec<Limbs> {
    let zeros = || Zeroizing::new(vec![0; candidate.len()]);
    let mut results: Vec<Limbs> = bases.iter().map(|_| zeros()).collect();
    for (bases, results) in bases
        .chunks(engine.lanes())
        .zip(results.chunks_mut(engine.lanes()))
    {
        let mut jobs: Vec<Modexp<'_>> = bases
            .iter()
            .zip(results)
            .map(|(base, result)| Modexp {
                base,
                exponent,
                modulus: candidate,
                result,
            })
            .collect();
        engine.modexp_batch(&mut jobs);
    }
    results
}

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
