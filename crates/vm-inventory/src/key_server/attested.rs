//! Keys from services that want to know the state of this host first.

use super::{KeyServer, ServerStatus};
use std::sync::Arc;
use vm_store::KeyProviderError;
use vm_store::key_provider::KeySource;

/// Keys at servers that can be asked how they are.
pub trait Servers: KeySource {
    /// Asks every server.
    fn health(&self) -> Vec<ServerStatus>;
}

/// Opens the key services of trusted providers. What a TPM is, and how a host attests with one, is known elsewhere.
pub trait AttestedKeys: Send + Sync {
    /// The services of a provider. Nothing is sent yet.
    ///
    /// # Errors
    /// When the settings cannot be used.
    fn open(&self, provider: &str, setup: &KeyServer)
    -> Result<Arc<dyn Servers>, KeyProviderError>;
}
