//! RSA keys made ahead: finding primes takes milliseconds, which `TPM2_Create` need not wait for.
//!
//! Nothing is made before the first key of a size was asked for. From then on a thread of low priority keeps a few of that
//! size in stock, more of them the more are asked for, up to a bound; when the stock is full it ends. The keys come
//! from entropy of the operating system, each from a generator of its own. They are in memory only, and each is given away
//! once; those that nobody took are wiped.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use rand::TryRng;
use rand::rngs::SysRng;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::rsa::{DEFAULT_EXPONENT, Engine, KEY_BITS, PrivateKey, generate_with};
use zeroize::Zeroizing;

/// Keys in stock for each one that was asked for.
const AHEAD: usize = 4;

/// A stock of RSA keys. Clones share it.
#[derive(Clone)]
pub struct RsaPool(Arc<Shared>);

struct Shared {
    engine: &'static dyn Engine,
    stock: Mutex<Stock>,
    filled: Condvar,
}

#[derive(Default)]
struct Stock {
    shelves: BTreeMap<usize, Shelf>,
    /// Whether the thread that fills the shelves runs.
    filling: bool,
}

#[derive(Default)]
struct Shelf {
    keys: Vec<PrivateKey>,
    asked: usize,
}

impl RsaPool {
    /// An empty stock, whose keys an engine will make.
    #[must_use]
    pub fn new(engine: &'static dyn Engine) -> Self {
        Self(Arc::new(Shared {
            engine,
            stock: Mutex::default(),
            filled: Condvar::new(),
        }))
    }

    /// The stock of this process, for all of its TPMs whose entropy is real.
    #[must_use]
    pub fn of_process() -> Self {
        static POOL: LazyLock<RsaPool> = LazyLock::new(|| RsaPool::new(tpm_rsa_ifma::best()));
        POOL.clone()
    }

    /// A key of so many bits with the exponent 65537, if one is ready. Asking has more of them made.
    #[must_use]
    pub fn take(&self, bits: usize) -> Option<PrivateKey> {
        if !KEY_BITS.contains(&bits) {
            return None;
        }
        let mut stock = self.0.lock();
        let shelf = stock.shelves.entry(bits).or_default();
        shelf.asked = shelf.asked.saturating_add(1);
        let key = shelf.keys.pop();
        if !stock.filling && stock.missing().is_some() {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("rsa-pool".into());
            // Without a thread there is no stock, and keys are made when they are needed.
            stock.filling = thread.spawn(move || shared.fill()).is_ok();
        }
        key
    }

    /// Waits until no key is being made, and tells how many of a size are in stock.
    #[cfg(test)]
    fn settled(&self, bits: usize) -> usize {
        let stock = self.0.lock();
        let stock = self.0.filled.wait_while(stock, |stock| stock.filling);
        stock
            .unwrap()
            .shelves
            .get(&bits)
            .map_or(0, |shelf| shelf.keys.len())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stock> {
        // Keys are whole whenever the lock is free.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self) {
        // Refused, it still works, only less politely.
        let _ = rustix::process::nice(19);
        loop {
            let bits = {
                let mut stock = self.lock();
                let Some(bits) = stock.missing() else {
                    return self.stop(&mut stock);
                };
                bits
            };
            let key = self.make(bits);
            let mut stock = self.lock();
            match (key, stock.shelves.get_mut(&bits)) {
                (Some(key), Some(shelf)) => shelf.keys.push(key),
                _ => return self.stop(&mut stock),
            }
        }
    }

    fn stop(&self, stock: &mut Stock) {
        stock.filling = false;
        self.filled.notify_all();
    }

    fn make(&self, bits: usize) -> Option<PrivateKey> {
        let mut entropy = Zeroizing::new([0; 48]);
        SysRng.try_fill_bytes(&mut *entropy).ok()?;
        let mut random = Drbg::new(&*entropy, &[b"RSA key made ahead"]);
        generate_with(
            self.engine,
            bits,
            DEFAULT_EXPONENT,
            &mut random,
            &mut || false,
        )
        .ok()
    }
}

impl Stock {
    /// The size that has room on its shelf, the one with the fewest keys first.
    fn missing(&self) -> Option<usize> {
        let room = |(bits, shelf): (&usize, &Shelf)| {
            let wanted = shelf.asked.saturating_mul(AHEAD).min(most(*bits));
            (shelf.keys.len() < wanted).then_some((shelf.keys.len(), *bits))
        };
        self.shelves
            .iter()
            .filter_map(room)
            .min()
            .map(|(_, bits)| bits)
    }
}

/// The most keys of a size in stock.
const fn most(bits: usize) -> usize {
    match bits {
        0..=2048 => 32,
        2049..=3072 => 8,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_asked_for_and_given_away_once() {
        let pool = RsaPool::new(tpm_rsa_ifma::best());
        assert_eq!(pool.settled(1024), 0);
        assert!(pool.take(1024).is_none(), "nothing is ready at first");
        assert_eq!(pool.settled(1024), AHEAD);
        let mut seen = Vec::new();
        for asked in 2..6 {
            let key = pool.take(1024).unwrap();
            assert_eq!(key.public().modulus().len(), 128);
            assert_eq!(key.public().exponent(), DEFAULT_EXPONENT);
            seen.push(key.public().modulus().to_vec());
            assert_eq!(pool.settled(1024), asked * AHEAD);
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4, "each key is another");
        assert_eq!(pool.settled(2048), 0, "only sizes that were asked for");
    }

    #[test]
    fn the_stock_is_bounded() {
        let pool = RsaPool::new(tpm_rsa_ifma::best());
        for _ in 0..20 {
            drop(pool.take(1024));
        }
        assert_eq!(pool.settled(1024), most(1024));
    }

    #[test]
    fn sizes_that_no_key_has_are_not_made() {
        let pool = RsaPool::new(tpm_rsa_ifma::best());
        assert!(pool.take(1536).is_none());
        assert_eq!(pool.settled(1536), 0);
    }
}
