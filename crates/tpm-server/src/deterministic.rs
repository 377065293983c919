//! A world in which everything random, and the time, follows from a few bytes, so that runs repeat.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tpm_engine::Platform;
use zeroize::Zeroizing;

use crate::signals::Signals;

/// A platform whose entropy and clock follow from where it began: same commands, same bytes. For tests, never for secrets.
pub struct Deterministic {
    signals: Arc<Signals>,
    /// Everything that was hashed for all blocks alike.
    origin: Sha256,
    blocks: u64,
    milliseconds: u64,
}

impl Deterministic {
    /// A platform that begins at `origin`; another one with the same origin gives the same.
    pub fn new(signals: &Arc<Signals>, origin: &[u8]) -> Self {
        Self {
            signals: Arc::clone(signals),
            origin: Sha256::new_with_prefix(b"vtpm deterministic entropy").chain_update(origin),
            blocks: 0,
            milliseconds: 0,
        }
    }
}

impl Platform for Deterministic {
    fn entropy(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(32) {
            let hash = self.origin.clone().chain_update(self.blocks.to_be_bytes());
            self.blocks = self.blocks.wrapping_add(1);
            let block = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
            for (to, from) in piece.iter_mut().zip(block.iter()) {
                *to = *from;
            }
        }
    }

    /// Time passes only by being looked at.
    fn milliseconds(&mut self) -> u64 {
        self.milliseconds = self.milliseconds.wrapping_add(1);
        self.milliseconds
    }

    fn locality(&self) -> u8 {
        self.signals.locality()
    }

    fn canceled(&self) -> bool {
        self.signals.canceled()
    }

    fn physical_presence(&self) -> bool {
        self.signals.physical_presence()
    }

    fn storage_available(&self) -> bool {
        self.signals.storage_available()
    }

    fn storage_has_room(&self) -> bool {
        self.signals.storage_has_room()
    }
}
