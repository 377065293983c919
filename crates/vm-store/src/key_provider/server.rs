//! Providers whose keys come from a key server: what is fetched is kept in memory for a while, and wiped.

use super::{KeyCheckValue, KeyId, KeyProvider, KeyProviderKind, KeyProviderStatus};
use crate::{
    error::KeyProviderError,
    seal::{self, DataKey, WrappedKey},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// The bytes of a key-encryption key, in one place in memory, wiped when the last one lets go, never shown.
#[derive(Clone)]
pub struct Kek(Arc<Zeroizing<[u8; 32]>>);

impl Kek {
    /// Copies a key.
    pub fn copy_of(bytes: &[u8; 32]) -> Self {
        let mut place = Arc::new(Zeroizing::new([0; 32]));
        if let Some(key) = Arc::get_mut(&mut place) {
            key.copy_from_slice(bytes);
        }
        Self(place)
    }

    fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(..)")
    }
}

/// What a key is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// To protect something new: the key has to be active.
    Wrap,
    /// To open what it protects already.
    Unwrap,
}

/// Where keys come from. Calls block.
pub trait KeySource: fmt::Debug + Send + Sync {
    /// Makes a key that may protect something at once.
    fn new_key(&self) -> Result<KeyId, KeyProviderError>;

    /// The bytes of a key, if its state allows what it is wanted for.
    fn fetch(&self, key_id: &KeyId, purpose: KeyPurpose) -> Result<Kek, KeyProviderError>;

    /// Why no key can be had now; `None` if one can.
    fn trouble(&self) -> Option<String>;
}

struct Kept {
    kek: Kek,
    since: Instant,
}

/// A provider over a source of keys.
///
/// Opening uses what is kept in memory, so that VMs start while the key server is away. Wrapping always asks: a key that was
/// deactivated a moment ago protects nothing new.
pub struct KeyServerProvider {
    name: String,
    kind: KeyProviderKind,
    source: Arc<dyn KeySource>,
    lifetime: Duration,
    kept: Mutex<BTreeMap<KeyId, Kept>>,
}

impl KeyServerProvider {
    /// A provider that keeps each key for so long after it was fetched.
    pub fn new(
        name: &str,
        kind: KeyProviderKind,
        source: Arc<dyn KeySource>,
        lifetime: Duration,
    ) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            source,
            lifetime,
            kept: Mutex::default(),
        }
    }

    /// Where its keys come from.
    pub fn source(&self) -> &Arc<dyn KeySource> {
        &self.source
    }

    /// Asks for a key that may wrap now, and gives a provider that has it in hand: for several uses, or under a lock.
    pub fn hold(&self, key_id: &KeyId) -> Result<HeldKey, KeyProviderError> {
        let kek = self.source.fetch(key_id, KeyPurpose::Wrap)?;
        self.keep(key_id, &kek);
        Ok(self.held(key_id, kek))
    }

    /// The key out of the server's hands, whatever is kept here: whether it can be had now.
    pub fn fetch_anew(&self, key_id: &KeyId) -> Result<HeldKey, KeyProviderError> {
        let kek = self.source.fetch(key_id, KeyPurpose::Unwrap)?;
        self.keep(key_id, &kek);
        Ok(self.held(key_id, kek))
    }

    /// Wipes the keys that were kept for long enough.
    pub fn forget_expired(&self) {
        let lifetime = self.lifetime;
        lock(&self.kept).retain(|_, kept| kept.since.elapsed() < lifetime);
    }

    /// Wipes one key, if it is kept.
    pub fn forget(&self, key_id: &KeyId) {
        lock(&self.kept).remove(key_id);
    }

    /// Wipes every key that is kept, and says how many there were.
    pub fn forget_all(&self) -> usize {
        let mut kept = lock(&self.kept);
        let count = kept.len();
        kept.clear();
        count
    }

    /// The ids of the keys that are kept.
    pub fn kept(&self) -> Vec<KeyId> {
        self.forget_expired();
        lock(&self.kept).keys().cloned().collect()
    }

    fn kek(&self, key_id: &KeyId) -> Result<Kek, KeyProviderError> {
        self.forget_expired();
        if let Some(kept) = lock(&self.kept).get(key_id) {
            return Ok(kept.kek.clone());
        }
        // Not under the lock: another VM's key may be at hand while this one waits for the server.
        let kek = self.source.fetch(key_id, KeyPurpose::Unwrap)?;
        self.keep(key_id, &kek);
        Ok(kek)
    }

    fn keep(&self, key_id: &KeyId, kek: &Kek) {
        if self.lifetime.is_zero() {
            return;
        }
        let kept = Kept {
            kek: kek.clone(),
            since: Instant::now(),
        };
        lock(&self.kept).insert(key_id.clone(), kept);
    }

    fn held(&self, key_id: &KeyId, kek: Kek) -> HeldKey {
        HeldKey {
            name: self.name.clone(),
            kind: self.kind,
            key_id: key_id.clone(),
            kek,
        }
    }
}

impl fmt::Debug for KeyServerProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyServerProvider")
            .field("name", &self.name)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl KeyProvider for KeyServerProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> KeyProviderKind {
        self.kind
    }

    fn status(&self) -> KeyProviderStatus {
        match self.source.trouble() {
            None => KeyProviderStatus::Active,
            Some(reason) => KeyProviderStatus::Unavailable(reason),
        }
    }

    fn new_key(&self) -> Result<KeyId, KeyProviderError> {
        self.source.new_key()
    }

    fn check_value(&self, key_id: &KeyId) -> Result<KeyCheckValue, KeyProviderError> {
        Ok(KeyCheckValue::from_kek_bytes(self.kek(key_id)?.expose()))
    }

    fn wrap(&self, key_id: &KeyId, data_key: &DataKey) -> Result<WrappedKey, KeyProviderError> {
        self.hold(key_id)?.wrap(key_id, data_key)
    }

    fn unwrap(&self, key_id: &KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyProviderError> {
        let kek = self.kek(key_id)?;
        self.held(key_id, kek).unwrap(key_id, wrapped)
    }
}

/// A provider with the bytes of its one key at hand: it neither blocks nor fails for want of a server.
#[derive(Debug)]
pub struct HeldKey {
    name: String,
    kind: KeyProviderKind,
    key_id: KeyId,
    kek: Kek,
}

impl HeldKey {
    fn of(&self, key_id: &KeyId) -> Result<&[u8; 32], KeyProviderError> {
        if *key_id == self.key_id {
            return Ok(self.kek.expose());
        }
        Err(KeyProviderError::Unavailable {
            provider: self.name.clone(),
            reason: format!("key {} is at hand, not key {key_id}", self.key_id),
        })
    }
}

impl KeyProvider for HeldKey {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> KeyProviderKind {
        self.kind
    }

    fn status(&self) -> KeyProviderStatus {
        KeyProviderStatus::Active
    }

    fn new_key(&self) -> Result<KeyId, KeyProviderError> {
        Ok(self.key_id.clone())
    }

    fn check_value(&self, key_id: &KeyId) -> Result<KeyCheckValue, KeyProviderError> {
        Ok(KeyCheckValue::from_kek_bytes(self.of(key_id)?))
    }

    fn wrap(&self, key_id: &KeyId, data_key: &DataKey) -> Result<WrappedKey, KeyProviderError> {
        Ok(seal::wrap(self.of(key_id)?, key_id.as_str(), data_key)?)
    }

    fn unwrap(&self, key_id: &KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyProviderError> {
        seal::unwrap(self.of(key_id)?, key_id.as_str(), wrapped).ok_or_else(|| {
            KeyProviderError::DoesNotUnwrap {
                provider: self.name.clone(),
                key_id: key_id.clone(),
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::KeyServerFault;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[derive(Debug, Default)]
    struct Server {
        away: AtomicBool,
        deactivated: AtomicBool,
        asked: AtomicUsize,
    }

    impl KeySource for Server {
        fn new_key(&self) -> Result<KeyId, KeyProviderError> {
            Ok(KeyId::new("k").unwrap())
        }

        fn fetch(&self, key_id: &KeyId, purpose: KeyPurpose) -> Result<Kek, KeyProviderError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let refused = self.deactivated.load(Ordering::SeqCst) && purpose == KeyPurpose::Wrap;
            if self.away.load(Ordering::SeqCst) || refused {
                return Err(KeyProviderError::KeyServer {
                    provider: "kp".into(),
                    key_id: Some(key_id.clone()),
                    fault: KeyServerFault::Unavailable,
                    message: "away".into(),
                });
            }
            Ok(Kek::copy_of(&[7; 32]))
        }

        fn trouble(&self) -> Option<String> {
            None
        }
    }

    fn provider(lifetime: Duration) -> (Arc<Server>, KeyServerProvider) {
        let server = Arc::new(Server::default());
        let source: Arc<dyn KeySource> = Arc::<Server>::clone(&server);
        let kind = KeyProviderKind::Standard;
        (server, KeyServerProvider::new("kp", kind, source, lifetime))
    }

    #[test]
    fn a_kept_key_opens_while_the_server_is_away_until_it_is_forgotten() {
        let (server, provider) = provider(Duration::from_secs(3600));
        let id = provider.new_key().unwrap();
        let key = DataKey::generate().unwrap();
        let wrapped = provider.wrap(&id, &key).unwrap();
        server.away.store(true, Ordering::SeqCst);
        assert_eq!(
            provider.unwrap(&id, &wrapped).unwrap().expose(),
            key.expose()
        );
        assert!(provider.wrap(&id, &key).is_err(), "wrapping asks");
        assert_eq!(provider.kept(), std::slice::from_ref(&id));
        assert_eq!(provider.forget_all(), 1);
        let error = provider.unwrap(&id, &wrapped).unwrap_err();
        assert!(error.locks(), "{error}");
        server.away.store(false, Ordering::SeqCst);
        assert!(provider.unwrap(&id, &wrapped).is_ok());
    }

    #[test]
    fn a_deactivated_key_opens_and_wraps_nothing_though_it_is_kept() {
        let (server, provider) = provider(Duration::from_secs(3600));
        let id = provider.new_key().unwrap();
        let key = DataKey::generate().unwrap();
        let wrapped = provider.wrap(&id, &key).unwrap();
        server.deactivated.store(true, Ordering::SeqCst);
        assert!(provider.unwrap(&id, &wrapped).is_ok());
        assert!(provider.wrap(&id, &key).is_err());
        assert!(provider.hold(&id).is_err());
    }

    #[test]
    fn a_key_is_not_kept_beyond_its_lifetime() {
        let (server, provider) = provider(Duration::ZERO);
        let id = provider.new_key().unwrap();
        let wrapped = provider.wrap(&id, &DataKey::generate().unwrap()).unwrap();
        let asked = server.asked.load(Ordering::SeqCst);
        provider.unwrap(&id, &wrapped).unwrap();
        provider.unwrap(&id, &wrapped).unwrap();
        assert_eq!(server.asked.load(Ordering::SeqCst), asked + 2);
        assert!(provider.kept().is_empty());
    }

    #[test]
    fn a_held_key_is_for_its_id_only_and_shows_nothing() {
        let (_, provider) = provider(Duration::ZERO);
        let id = provider.new_key().unwrap();
        let held = provider.hold(&id).unwrap();
        let other = KeyId::new("other").unwrap();
        assert!(held.wrap(&other, &DataKey::generate().unwrap()).is_err());
        assert!(!format!("{held:?}").contains('7'), "{held:?}");
    }
}
