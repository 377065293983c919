//! A generator that any language can reproduce, and engines with other numbers of lanes.

use alloc::vec::Vec;
use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use super::engine::{Engine, Modexp, Portable};
use crate::hash::{HashAlgorithm, hash};

/// SHA-256 of the seed and a counter of four bytes, block after block.
pub(crate) struct CounterRng {
    seed: Vec<u8>,
    counter: u32,
    pending: Vec<u8>,
}

impl CounterRng {
    pub(crate) fn new(seed: &[u8]) -> Self {
        Self {
            seed: seed.to_vec(),
            counter: 0,
            pending: Vec::new(),
        }
    }
}

impl TryRng for CounterRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        while self.pending.len() < out.len() {
            let block = hash(
                HashAlgorithm::Sha256,
                &[&self.seed, &self.counter.to_be_bytes()],
            );
            self.pending.extend_from_slice(&block);
            self.counter += 1;
        }
        out.copy_from_slice(&self.pending[..out.len()]);
        self.pending.drain(..out.len());
        Ok(())
    }
}

impl TryCryptoRng for CounterRng {}

/// The portable engine, pretending to be wider.
pub(crate) struct Lanes(pub(crate) usize);

impl Engine for Lanes {
    fn lanes(&self) -> usize {
        self.0
    }

    fn fermat_batch(&self, candidates: &[&[u64]]) -> u64 {
        assert!((1..=self.0).contains(&candidates.len()));
        Portable.fermat_batch(candidates)
    }

    fn modexp_batch(&self, jobs: &mut [Modexp<'_>]) {
        assert!((1..=self.0).contains(&jobs.len()));
        Portable.modexp_batch(jobs);
    }
}
