//! The world around a TPM: entropy of the operating system, a monotonic clock, and what the sockets signal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use tpm_crypto::rsa::{Engine, PrivateKey};
use tpm_engine::Platform;
use tpm_server::{
    Deterministic, PlatformMaker, SaveFuture, Signals, StateStore, StoreError, Stored,
};

use crate::RsaPool;

/// Makes platforms with the entropy of the operating system, its clock, and the fastest arithmetic that the processor has.
pub fn real() -> PlatformMaker {
    real_with(None)
}

/// The same with RSA keys that the process makes ahead: for those that live long enough to use them.
pub fn real_with_pool() -> PlatformMaker {
    real_with(Some(RsaPool::of_process()))
}

fn real_with(pool: Option<RsaPool>) -> PlatformMaker {
    let start = Instant::now();
    let engine = tpm_rsa_ifma::best();
    Box::new(move |signals| {
        Box::new(RealPlatform {
            start,
            engine,
            pool: pool.clone(),
            signals: Arc::clone(signals),
        })
    })
}

/// Makes platforms whose entropy and clock follow from `seed` and `instance` alone: same commands, same bytes. For tests, never
/// for secrets. Several TPMs of one seed differ by their `instance`. No key is made
/// ahead: it would follow from no seed.
///
/// A TPM that is kept needs [`seeded`], or it repeats itself from one process to the next.
pub fn deterministic(seed: u64, instance: u64) -> PlatformMaker {
    from_history(seed, instance, History::default())
}

/// The same for a TPM that is kept in `store`: what was found there counts too, so that a TPM that comes up again never gives the
/// random numbers once more that it gave before. Every start changes what is stored before the TPM answers anything.
pub fn seeded(
    store: Box<dyn StateStore>,
    seed: u64,
    instance: u64,
) -> (Box<dyn StateStore>, PlatformMaker) {
    let history = History::default();
    let store = Remembering {
        store,
        history: Arc::clone(&history),
    };
    (Box::new(store), from_history(seed, instance, history))
}

/// A digest of the state that was found in a store; `None` where there was none.
type History = Arc<Mutex<Option<[u8; 32]>>>;

fn from_history(seed: u64, instance: u64, history: History) -> PlatformMaker {
    let made = AtomicU64::new(0);
    Box::new(move |signals| {
        // A TPM that is loaded again must not repeat itself.
        let load = made.fetch_add(1, Ordering::Relaxed);
        let mut origin: Vec<u8> = [seed, instance, load].map(u64::to_be_bytes).concat();
        origin.extend(lock(&history).iter().flatten());
        Box::new(Deterministic::new(signals, &origin))
    })
}

fn lock(history: &History) -> MutexGuard<'_, Option<[u8; 32]>> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store that takes note of what it gave.
struct Remembering {
    store: Box<dyn StateStore>,
    history: History,
}

impl StateStore for Remembering {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        let found = self.store.load()?;
        *lock(&self.history) = found.as_ref().map(|stored| {
            let mut hash = Sha256::new_with_prefix(b"vtpm stored state");
            for part in [Some(&stored.permanent), stored.volatile.as_ref()] {
                let bytes = part.map_or(&[][..], |bytes| bytes.as_slice());
                hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(bytes);
            }
            hash.finalize().into()
        });
        Ok(found)
    }

    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        self.store.save(state)
    }

    fn release(&mut self) {
        self.store.release();
    }
}

struct RealPlatform {
    start: Instant,
    engine: &'static dyn Engine,
    pool: Option<RsaPool>,
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

    fn rsa_engine(&self) -> &'static dyn Engine {
        self.engine
    }

    fn ready_rsa_key(&mut self, bits: usize) -> Option<PrivateKey> {
        self.pool.as_ref()?.take(bits)
    }
}

#[cfg(test)]
mod tests {
    use tpm_server::MemoryStore;

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

    #[tokio::test]
    async fn what_is_stored_counts() {
        let mut store = MemoryStore::default();
        let mut drawn = Vec::new();
        for byte in 0..3 {
            let (mut seeded, maker) = seeded(Box::new(store), 7, 0);
            seeded.load().unwrap();
            drawn.push(draw(&maker));
            store = MemoryStore::default();
            let volatile = (byte == 1).then(|| vec![9].into());
            let permanent = vec![1].into();
            let state = Stored {
                permanent,
                volatile,
            };
            store.save(&state).await.unwrap();
        }
        assert_eq!(drawn[0], draw(&deterministic(7, 0)), "nothing was stored");
        assert_ne!(drawn[0], drawn[1]);
        assert_ne!(drawn[1], drawn[2], "the volatile state counts too");
    }

    #[test]
    fn a_seeded_platform_has_no_keys_that_were_made_ahead() {
        let signals = Arc::new(Signals::default());
        let mut seeded = deterministic(7, 0)(&signals);
        let mut alone = real()(&signals);
        for _ in 0..2 {
            assert!(seeded.ready_rsa_key(1024).is_none());
            assert!(alone.ready_rsa_key(1024).is_none());
        }
    }

    #[test]
    fn the_operating_system_never_gives_the_same_twice() {
        let maker = real();
        assert_ne!(draw(&maker), draw(&maker));
    }
}
