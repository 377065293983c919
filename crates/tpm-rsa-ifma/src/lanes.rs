//! The engine: batches cut to eight lanes, and the width of vectors chosen by the length of the modulus.

use tpm_crypto::rsa::engine::Modexp;
use tpm_crypto::rsa::{Engine, Portable};

use crate::{montgomery, pair};

/// Numbers in a vector.
pub(crate) const LANES: usize = 8;

/// The engine. There is one value, and only a processor that has the instructions gets at it.
#[derive(Debug)]
pub(crate) struct Ifma(());

static IFMA: Ifma = Ifma(());

/// Runs `$body` with the constant `$d` set to the number of digits for a modulus of `$limbs` limbs, a multiple of four. A macro, because a closure
/// cannot be generic over a constant.
macro_rules! with_digits {
    ($limbs:expr, $d:ident => $body:expr, else $none:expr) => {
        match $limbs {
            1..=8 => {
                const $d: usize = 12;
                $body
            }
            9..=16 => {
                const $d: usize = 20;
                $body
            }
            17..=24 => {
                const $d: usize = 32;
                $body
            }
            25..=32 => {
                const $d: usize = 40;
                $body
            }
            _ => $none,
        }
    };
}

impl Ifma {
    /// The engine, if the processor has what it needs.
    pub(crate) fn detected() -> Option<&'static Self> {
        let present = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
        present.then_some(&IFMA)
    }
}

impl Engine for Ifma {
    fn lanes(&self) -> usize {
        LANES
    }

    fn fermat_batch(&self, candidates: &[&[u64]]) -> u64 {
        let mut answer = 0;
        for (batch, shift) in candidates.chunks(LANES).zip((0u32..64).step_by(LANES)) {
            let limbs = batch.first().map_or(0, |candidate| candidate.len());
            let passed = with_digits!(
                limbs,
                // SAFETY: a value of this type exists only where the processor has both features (`detected`).
                D => unsafe { montgomery::fermat::<D>(batch) },
                else Portable.fermat_batch(batch)
            );
            answer |= passed << shift;
        }
        answer
    }

    fn modexp_batch(&self, jobs: &mut [Modexp<'_>]) {
        for jobs in jobs.chunk_by_mut(|a, b| a.modulus.len() == b.modulus.len()) {
            for jobs in jobs.chunks_mut(LANES) {
                let limbs = jobs.first().map_or(0, |job| job.modulus.len());
                with_digits!(
                    limbs,
                    D => if jobs.len() > pair::MOST {
                        // SAFETY: a value of this type exists only where the processor has both features (`detected`).
                        unsafe { montgomery::modexp::<D>(jobs) }
                    } else {
                        // SAFETY: as above.
                        unsafe { pair::modexp::<D, { D / 4 }>(jobs) }
                    },
                    else Portable.modexp_batch(jobs)
                );
            }
        }
    }
}
