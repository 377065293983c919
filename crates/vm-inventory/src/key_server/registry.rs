//! The providers that are in use: one client and one set of kept keys each, for as long as the daemon runs.

use super::kmip::{self, KmipSource};
use super::{AttestedKeys, KeyServer, ServerStatus, Servers};
use crate::model::{Provider, ProviderKind};
use crate::{Error, Name, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vm_store::key_provider::{
    KeyCheckValue, KeyProviderKind, KeyProviderStatus, KeyServerProvider, KeySource,
    NativeKeyProvider, SecretFolder,
};
use vm_store::{DataKey, KeyId, KeyProvider, KeyProviderError, LinuxBackend, WrappedKey};
use zeroize::Zeroizing;

/// A provider that is open.
#[derive(Clone, Debug)]
pub(crate) enum OpenProvider {
    Native(Arc<NativeKeyProvider>),
    Server(Arc<KeyServerProvider>),
}

impl OpenProvider {
    /// Whether it may hold keys: a native one has to be backed up first.
    pub(crate) fn is_active(&self) -> bool {
        match self {
            Self::Native(provider) => provider.is_active(),
            Self::Server(_) => true,
        }
    }

    /// A provider with the key at hand, which was allowed to wrap a moment ago.
    pub(crate) fn hold(&self, key_id: &KeyId) -> Result<Arc<dyn KeyProvider>> {
        Ok(match self {
            Self::Native(provider) => Arc::<NativeKeyProvider>::clone(provider),
            Self::Server(provider) => Arc::new(provider.hold(key_id)?),
        })
    }

    /// The key as its server has it now, whatever is kept here.
    pub(crate) fn fetch_anew(&self, key_id: &KeyId) -> Result<Arc<dyn KeyProvider>> {
        Ok(match self {
            Self::Native(provider) => Arc::<NativeKeyProvider>::clone(provider),
            Self::Server(provider) => Arc::new(provider.fetch_anew(key_id)?),
        })
    }

    fn inner(&self) -> &dyn KeyProvider {
        match self {
            Self::Native(provider) => &**provider,
            Self::Server(provider) => &**provider,
        }
    }
}

impl KeyProvider for OpenProvider {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn kind(&self) -> KeyProviderKind {
        self.inner().kind()
    }

    fn status(&self) -> KeyProviderStatus {
        self.inner().status()
    }

    fn new_key(&self) -> Result<KeyId, KeyProviderError> {
        self.inner().new_key()
    }

    fn check_value(&self, key_id: &KeyId) -> Result<KeyCheckValue, KeyProviderError> {
        self.inner().check_value(key_id)
    }

    fn wrap(&self, key_id: &KeyId, data_key: &DataKey) -> Result<WrappedKey, KeyProviderError> {
        self.inner().wrap(key_id, data_key)
    }

    fn unwrap(&self, key_id: &KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyProviderError> {
        self.inner().unwrap(key_id, wrapped)
    }
}

struct InUse {
    setup: KeyServer,
    provider: Arc<KeyServerProvider>,
    servers: Arc<dyn Servers>,
}

/// Every provider at key servers that was used since the daemon started.
pub(crate) struct KeyServers {
    data: PathBuf,
    attested: Option<Arc<dyn AttestedKeys>>,
    in_use: Mutex<BTreeMap<(Name, Name), InUse>>,
}

impl KeyServers {
    /// `attested` opens the services of trusted providers; without it they cannot be used.
    pub(crate) fn new(data: &Path, attested: Option<Arc<dyn AttestedKeys>>) -> Self {
        Self {
            data: data.to_path_buf(),
            attested,
            in_use: Mutex::default(),
        }
    }

    /// The provider of a record, opened at first use. Nothing is sent yet.
    pub(crate) fn open(&self, provider: &Provider) -> Result<Arc<KeyServerProvider>> {
        self.with(provider, |in_use| Arc::clone(&in_use.provider))
    }

    /// Asks every server of a provider.
    pub(crate) fn health(&self, provider: &Provider) -> Result<Vec<ServerStatus>> {
        Ok(self
            .with(provider, |in_use| Arc::clone(&in_use.servers))?
            .health())
    }

    /// Wipes what was kept for long enough.
    pub(crate) fn forget_expired(&self) {
        for in_use in self.lock().values() {
            in_use.provider.forget_expired();
        }
    }

    /// Keeps the private key of a provider's client, sealed.
    pub(crate) fn put_client_key(&self, provider: &Provider, key: &[u8]) -> Result<()> {
        Ok(self.secrets(provider)?.put(provider.name.as_str(), key)?)
    }

    /// The private key of a provider's client.
    pub(crate) fn client_key(&self, provider: &Provider) -> Result<Zeroizing<Vec<u8>>> {
        let key = self.secrets(provider)?.get(provider.name.as_str())?;
        key.ok_or_else(|| {
            Error::from(KeyProviderError::Unavailable {
                provider: provider.name.to_string(),
                reason: format!(
                    "it has no client key. Make one with `vtpm provider csr {} --vcenter {}`",
                    provider.name, provider.vcenter
                ),
            })
        })
    }

    /// Checks that a certificate, the client's key and the servers' certificates go together.
    pub(crate) fn check(
        &self,
        provider: &Provider,
        setup: &KeyServer,
        certificate: &str,
        key: Zeroizing<Vec<u8>>,
    ) -> Result<()> {
        let settings = kmip::settings(provider.name.as_str(), setup, certificate, key)?;
        kmip_client::check_identity(&settings).map_err(|error| Error::BadValue(error.to_string()))
    }

    fn secrets(&self, provider: &Provider) -> Result<SecretFolder> {
        let path = self
            .data
            .join("providers")
            .join(provider.vcenter.as_str())
            .join("clients");
        Ok(SecretFolder::open(&LinuxBackend, &path)?)
    }

    fn with<T>(&self, provider: &Provider, take: impl FnOnce(&InUse) -> T) -> Result<T> {
        let setup = provider.key_server.as_ref().ok_or_else(|| {
            Error::Internal(format!(
                "the key provider {} has no key server",
                provider.name
            ))
        })?;
        let key = (provider.vcenter.clone(), provider.name.clone());
        let mut all = self.lock();
        if let Some(in_use) = all.get(&key)
            && in_use.setup == *setup
        {
            return Ok(take(in_use));
        }
        let (kind, servers) = match provider.kind {
            ProviderKind::Trusted => (
                KeyProviderKind::Trusted,
                self.attested_servers(provider, setup)?,
            ),
            ProviderKind::Native | ProviderKind::Standard => (
                KeyProviderKind::Standard,
                self.kmip_servers(provider, setup)?,
            ),
        };
        let source: Arc<dyn KeySource> = Arc::<dyn Servers>::clone(&servers);
        let in_use = InUse {
            setup: setup.clone(),
            provider: Arc::new(KeyServerProvider::new(
                provider.name.as_str(),
                kind,
                source,
                Duration::from_secs(setup.keep_keys),
            )),
            servers,
        };
        let taken = take(&in_use);
        all.insert(key, in_use);
        Ok(taken)
    }

    fn kmip_servers(&self, provider: &Provider, setup: &KeyServer) -> Result<Arc<dyn Servers>> {
        let certificate = setup.client_certificate.as_deref().ok_or_else(|| {
            Error::from(KeyProviderError::Unavailable {
                provider: provider.name.to_string(),
                reason: format!(
                    "it waits for its client certificate. Have the request signed (`vtpm provider csr {name} --vcenter {vc}`), then `vtpm provider set-certificate {name} --vcenter {vc} --cert FILE`",
                    name = provider.name,
                    vc = provider.vcenter,
                ),
            })
        })?;
        let settings = kmip::settings(
            provider.name.as_str(),
            setup,
            certificate,
            self.client_key(provider)?,
        )?;
        Ok(Arc::new(KmipSource::new(settings)?))
    }

    /// Opens the services of a trusted provider, or says what is wrong with its settings.
    pub(crate) fn attested_servers(
        &self,
        provider: &Provider,
        setup: &KeyServer,
    ) -> Result<Arc<dyn Servers>> {
        let attested = self.attested.as_ref().ok_or_else(|| {
            Error::from(KeyProviderError::Unavailable {
                provider: provider.name.to_string(),
                reason: "this program cannot attest with a TPM of its host".to_owned(),
            })
        })?;
        Ok(attested.open(provider.name.as_str(), setup)?)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Name, Name), InUse>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
