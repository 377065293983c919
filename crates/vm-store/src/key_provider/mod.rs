//! Named key providers: who holds the keys (KEK) under which the data keys of VMs are wrapped.

mod backup;
mod from_backup;
mod key_file;
mod locator;
mod native;
mod secret;
mod server;

pub use from_backup::BackupKeys;
pub use key_file::{KeyFileFormat, KeyFileMode, KeyFileProvider};
pub use locator::{KeyCheckValue, KeyId, KeyLocator};
pub use native::{Flavour, LOCAL_PROVIDER_NAME, NativeKeyProvider, ProviderFolder};
pub use secret::{SecretFolder, WrongSecret};
pub use server::{HeldKey, Kek, KeyPurpose, KeyServerProvider, KeySource};

use crate::{
    error::KeyProviderError,
    seal::{DataKey, WrappedKey},
};
use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

/// What kind of provider it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyProviderKind {
    /// Derives its keys from one key kept in the data folder, backed up to a file.
    Native,
    /// Like native, for a single state folder: no backup asked for.
    Local,
    /// A key read from a file that the user names (`--key file=...`).
    KeyFile,
    /// A KMIP key server.
    Standard,
    /// A server that hands keys to attested hosts only.
    Trusted,
}

impl KeyProviderKind {
    /// The kind in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Local => "local",
            Self::KeyFile => "key-file",
            Self::Standard => "standard",
            Self::Trusted => "trusted",
        }
    }
}

/// Whether a provider can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyProviderStatus {
    /// It wraps and unwraps.
    Active,
    /// It unwraps, but wraps nothing until it is backed up.
    NotBackedUp,
    /// It cannot be reached; the text says why.
    Unavailable(String),
}

/// A named provider of keys. Calls may block (a key server is asked), so a server makes them off its socket threads.
///
/// The KEK itself stays inside: what goes in and out is a data key, plain or wrapped.
pub trait KeyProvider: Debug + Send + Sync {
    /// The name that stands in the files of VMs.
    fn name(&self) -> &str;

    /// What kind of provider this is.
    fn kind(&self) -> KeyProviderKind;

    /// Whether it can be used now.
    fn status(&self) -> KeyProviderStatus;

    /// A key id for new data keys; the key behind it exists when this returns.
    fn new_key(&self) -> Result<KeyId, KeyProviderError>;

    /// The check value of a key: equal for equal key bytes, and says nothing about them.
    fn check_value(&self, key_id: &KeyId) -> Result<KeyCheckValue, KeyProviderError>;

    /// Wraps a data key under the key.
    fn wrap(&self, key_id: &KeyId, data_key: &DataKey) -> Result<WrappedKey, KeyProviderError>;

    /// Unwraps a data key.
    fn unwrap(&self, key_id: &KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyProviderError>;
}

/// Finds providers by name: those registered with a vCenter, or the one of a state folder.
pub trait KeyProviderLookup: Send + Sync {
    /// The provider of that name.
    fn find(&self, name: &str) -> Option<Arc<dyn KeyProvider>>;

    /// All names, for messages.
    fn names(&self) -> Vec<String>;
}

impl KeyProviderLookup for BTreeMap<String, Arc<dyn KeyProvider>> {
    fn find(&self, name: &str) -> Option<Arc<dyn KeyProvider>> {
        self.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

impl KeyProviderLookup for Arc<dyn KeyProvider> {
    fn find(&self, name: &str) -> Option<Arc<dyn KeyProvider>> {
        (self.name() == name).then(|| Self::clone(self))
    }

    fn names(&self) -> Vec<String> {
        vec![self.name().to_owned()]
    }
}

/// Unwraps what a locator points at, and says which of the possible reasons it is if that fails.
/// This is also the trial unwrap before anything is written for another vCenter.
pub fn unwrap_located(
    provider: &dyn KeyProvider,
    locator: &KeyLocator,
    wrapped: &WrappedKey,
) -> Result<DataKey, KeyProviderError> {
    let found = provider.check_value(&locator.key_id)?;
    if found != locator.check {
        return Err(KeyProviderError::OtherKey {
            provider: provider.name().to_owned(),
            key_id: locator.key_id.clone(),
            expected: locator.check.to_string(),
            found: found.to_string(),
        });
    }
    provider.unwrap(&locator.key_id, wrapped)
}

/// Wraps a data key and makes the locator that goes with it.
pub fn wrap_located(
    provider: &dyn KeyProvider,
    key_id: &KeyId,
    data_key: &DataKey,
) -> Result<(KeyLocator, WrappedKey), KeyProviderError> {
    let wrapped = provider.wrap(key_id, data_key)?;
    let locator = KeyLocator {
        provider: provider.name().to_owned(),
        key_id: key_id.clone(),
        check: provider.check_value(key_id)?,
    };
    Ok((locator, wrapped))
}
