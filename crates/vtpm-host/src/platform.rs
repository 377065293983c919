//! The world around a TPM: entropy of the operating system, a monotonic clock, and what the sockets signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use tpm_engine::Platform;
use tpm_server::{PlatformMaker, Signals};
use zeroize::Zeroizing;

/// Makes platforms with the entropy of the operating system and its clock.
pub fn real() -> PlatformMaker {
    let start = Instant::now();
    Box::new(move |signals| {
        Box::new(RealPlatform {
            start,
            signals: Arc::clone(signals),
        })
    })
}

/// Makes platforms whose entropy and clock follow from `seed` and `instance` alone: same commands, same bytes. For tests, never
/// for secrets. Several TPMs of one seed differ by their `instance`.
pub fn deterministic(seed: u64, instance: u64) -> PlatformMaker {
    let made = AtomicU64::new(0);
    Box::new(move |signals| {
        Box::new(DeterministicPlatform {
            seed,
            instance,
            // A TPM that is loaded again must not repeat itself.
            load: made.fetch_add(1, Ordering::Relaxed),
            blocks: 0,
            milliseconds: 0,
            signals: Arc::clone(signals),
        })
    })
}

struct RealPlatform {
    start: Instant,
    signals: Arc<Signals>,
}

impl Platform for RealPlatform {
    fn entropy(&mut self, out: &mut [u8]) {
        #[expect(
            clippy::expect_used,
            reason = "a TPM must not go on without entropy: the device turns this into failure mode"
        )]
        SysRng
            .try_fill_bytes(out)
            .expect("the operating system gives entropy");
    }

    fn milliseconds(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
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

struct DeterministicPlatform {
    seed: u64,
    instance: u64,
    load: u64,
    blocks: u64,
    milliseconds: u64,
    signals: Arc<Signals>,
}

impl Platform for DeterministicPlatform {
    fn entropy(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(32) {
            let mut hash = Sha256::new_with_prefix(b"vtpm deterministic entropy");
            for part in [self.seed, self.instance, self.load, self.blocks] {
                hash.update(part.to_be_bytes());
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(maker: &PlatformMaker) -> [u8; 48] {
        let mut bytes = [0; 48];
        maker(&Arc::new(Signals::default())).entropy(&mut bytes);
        bytes
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_gives_others() {
        let first = deterministic(7, 0);
        let bytes = draw(&first);
        assert_eq!(bytes, draw(&deterministic(7, 0)));
        assert_ne!(bytes, draw(&deterministic(8, 0)));
        assert_ne!(bytes, draw(&deterministic(7, 1)));
        assert_ne!(bytes, draw(&first), "a second load draws on");
    }

    #[test]
    fn the_operating_system_never_gives_the_same_twice() {
        let maker = real();
        assert_ne!(draw(&maker), draw(&maker));
    }
}
