//! The keys of a native provider straight out of its backup: enough to open files, without a provider being put anywhere.

use super::{
    KeyCheckValue, KeyId, KeyProvider, KeyProviderKind, KeyProviderStatus, backup, native,
};
use crate::{
    error::KeyProviderError,
    seal::{self, DataKey, Key, WrappedKey},
};
use std::fmt;

/// A native provider that lives in memory. It unwraps, and makes nothing.
pub struct BackupKeys {
    name: String,
    key: Key,
}

impl BackupKeys {
    /// Opens the bytes of a backup; `file` names it in messages.
    pub fn open(file: &str, bytes: &[u8], password: &str) -> Result<Self, KeyProviderError> {
        let backup::Backup { name, key } = backup::read(file, bytes, password)?;
        Ok(Self { name, key })
    }

    fn kek(&self, key_id: &KeyId) -> Key {
        seal::derive(
            self.key.as_slice(),
            None,
            &[native::KEK, key_id.as_str().as_bytes()],
        )
    }

    fn refuse(&self) -> KeyProviderError {
        KeyProviderError::Unavailable {
            provider: self.name.clone(),
            reason: "a backup only opens what is there; restore it to encrypt with it".to_owned(),
        }
    }
}

impl fmt::Debug for BackupKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupKeys")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl KeyProvider for BackupKeys {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> KeyProviderKind {
        KeyProviderKind::Native
    }

    fn status(&self) -> KeyProviderStatus {
        KeyProviderStatus::NotBackedUp
    }

    fn new_key(&self) -> Result<KeyId, KeyProviderError> {
        Err(self.refuse())
    }

    fn check_value(&self, key_id: &KeyId) -> Result<KeyCheckValue, KeyProviderError> {
        Ok(KeyCheckValue::of_kek(&self.kek(key_id)))
    }

    fn wrap(&self, _: &KeyId, _: &DataKey) -> Result<WrappedKey, KeyProviderError> {
        Err(self.refuse())
    }

    fn unwrap(&self, key_id: &KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyProviderError> {
        seal::unwrap(&self.kek(key_id), key_id.as_str(), wrapped).ok_or_else(|| {
            KeyProviderError::DoesNotUnwrap {
                provider: self.name.clone(),
                key_id: key_id.clone(),
            }
        })
    }
}
