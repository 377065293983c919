//! The arithmetic engine: what RSA needs done fast, and the portable way to do it.

use super::montgomery::{Modulus, with_tiles};

/// Longest modulus that engines accept, in limbs.
pub const MAX_LIMBS: usize = 64;

/// One modular exponentiation. All numbers are limbs of 64 bits, least significant first.
pub struct Modexp<'a> {
    /// Below the modulus, and of the same length.
    pub base: &'a [u64],
    /// Any length; only the length may show in the time taken.
    pub exponent: &'a [u64],
    /// Odd, above 1, at most `MAX_LIMBS` long, its top limb not zero.
    pub modulus: &'a [u64],
    /// As long as the modulus.
    pub result: &'a mut [u64],
}

/// Modular exponentiation for RSA. Every engine gives the same results; they differ in speed only.
pub trait Engine: Sync {
    /// How many candidates or exponentiations the engine does best at once; at least 1, at most 64.
    fn lanes(&self) -> usize;

    /// Base-2 Fermat tests: bit `i` of the answer is set if `2^(n - 1) mod n = 1` for candidate `i`.
    ///
    /// At most `lanes` candidates of at least 512 bits, odd, of one length, their top limbs not zero.
    fn fermat_batch(&self, candidates: &[&[u64]]) -> u64;

    /// Computes each result; constant time in the values.
    fn modexp_batch(&self, jobs: &mut [Modexp<'_>]);
}

/// The engine that works everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Engine for Portable {
    fn lanes(&self) -> usize {
        1
    }

    fn fermat_batch(&self, candidates: &[&[u64]]) -> u64 {
        candidates.iter().rev().fold(0, |mask, candidate| {
            let passes =
                with_tiles!(candidate.len(), K => Modulus::<K>::fermat(candidate), else false);
            mask << 1 | u64::from(passes)
        })
    }

    fn modexp_batch(&self, jobs: &mut [Modexp<'_>]) {
        for job in jobs {
            with_tiles!(job.modulus.len(), K => {
                let modulus = Modulus::<K>::new(job.modulus);
                let power = modulus.power(&modulus.enter(job.base), job.exponent);
                modulus.leave(&power, job.result);
            }, else {});
        }
    }
}
