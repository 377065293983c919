//! The keys of a service, each in a sealed file with its state.

use std::fmt;

use uuid::Uuid;
use vm_store::key_provider::SecretFolder;
use zeroize::Zeroizing;

use super::ServiceError;

/// What a key may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Everything.
    Active,
    /// It opens what it protects, and protects nothing new.
    Deactivated,
    /// Its bytes are gone.
    Destroyed,
}

impl KeyState {
    fn code(self) -> u8 {
        match self {
            Self::Active => b'A',
            Self::Deactivated => b'D',
            Self::Destroyed => b'X',
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::Active, Self::Deactivated, Self::Destroyed]
            .into_iter()
            .find(|state| state.code() == code)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Destroyed => "destroyed",
        })
    }
}

pub(super) type KeyBytes = Zeroizing<[u8; 32]>;

/// All keys.
pub(super) struct Keys(SecretFolder);

impl Keys {
    pub(super) fn new(folder: SecretFolder) -> Self {
        Self(folder)
    }

    /// Makes a key, on stable storage when this returns.
    pub(super) fn make(&self) -> Result<String, ServiceError> {
        let mut key = KeyBytes::default();
        rand::Rng::fill_bytes(&mut rand::rng(), &mut *key);
        let id = Uuid::new_v4().to_string();
        self.put(&id, KeyState::Active, &*key)?;
        Ok(id)
    }

    /// The state of a key and its bytes; none for one that was destroyed.
    pub(super) fn get(
        &self,
        id: &str,
    ) -> Result<Option<(KeyState, Option<KeyBytes>)>, ServiceError> {
        // An id is part of a file's name, and comes from outside.
        if Uuid::parse_str(id).map(|uuid| uuid.to_string()).as_deref() != Ok(id) {
            return Ok(None);
        }
        let Some(record) = self.0.get(id)? else {
            return Ok(None);
        };
        let damaged = || ServiceError::File {
            path: format!("keys/{id}").into(),
            reason: "it holds no key of this service".to_owned(),
        };
        let (code, bytes) = record.split_first().ok_or_else(damaged)?;
        let state = KeyState::of_code(*code).ok_or_else(damaged)?;
        if state == KeyState::Destroyed {
            return Ok(Some((state, None)));
        }
        let mut key = KeyBytes::default();
        if bytes.len() != key.len() {
            return Err(damaged());
        }
        key.copy_from_slice(bytes);
        Ok(Some((state, Some(key))))
    }

    pub(super) fn list(&self) -> Result<Vec<(String, KeyState)>, ServiceError> {
        let mut list = Vec::new();
        for id in self.0.names()? {
            if let Some((state, _)) = self.get(&id)? {
                list.push((id, state));
            }
        }
        Ok(list)
    }

    pub(super) fn set_state(&self, id: &str, state: KeyState) -> Result<(), ServiceError> {
        match self.get(id)? {
            None => Err(ServiceError::Unknown {
                what: "key",
                id: id.to_owned(),
                list: "vtpm key-service keys",
            }),
            Some((_, None)) if state == KeyState::Destroyed => Ok(()),
            Some((_, None)) => Err(ServiceError::Destroyed(id.to_owned())),
            Some((_, Some(_))) if state == KeyState::Destroyed => self.put(id, state, &[]),
            Some((_, Some(key))) => self.put(id, state, &*key),
        }
    }

    fn put(&self, id: &str, state: KeyState, key: &[u8]) -> Result<(), ServiceError> {
        let mut record = Zeroizing::new(Vec::with_capacity(key.len().saturating_add(1)));
        record.push(state.code());
        record.extend_from_slice(key);
        Ok(self.0.put(id, &record)?)
    }
}
