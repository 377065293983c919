//! Keys from KMIP servers.

use super::{KeyServer, ServerStatus, Servers};
use kmip_client::{Client, Error, Limits, Settings, Trust};
use std::time::Duration;
use vm_store::key_provider::{Kek, KeyPurpose, KeySource};
use vm_store::{KeyId, KeyProviderError, KeyServerFault};
use zeroize::Zeroizing;

/// The servers of one standard provider.
pub(crate) struct KmipSource {
    client: Client,
}

/// The settings of a provider's client.
pub(crate) fn settings(
    provider: &str,
    setup: &KeyServer,
    certificate: &str,
    key: Zeroizing<Vec<u8>>,
) -> Result<Settings, KeyProviderError> {
    let (limit, usual) = (setup.time_limit.map(Duration::from_secs), Limits::default());
    let servers: Result<Vec<_>, _> = setup.servers.iter().map(|server| server.parse()).collect();
    Ok(Settings {
        provider: provider.to_owned(),
        servers: servers.map_err(|error: kmip_client::NoServerAddress| {
            KeyProviderError::Unavailable {
                provider: provider.to_owned(),
                reason: error.to_string(),
            }
        })?,
        client_certificate: certificate.as_bytes().to_vec(),
        client_key: key,
        trust: Trust::Either(setup.server_certificates.as_bytes().to_vec()),
        limits: Limits {
            // A VM's power-on waits for this; who can wait longer asks again.
            rounds: 2,
            connect: limit.unwrap_or(usual.connect),
            request: limit.unwrap_or(usual.request),
            ..usual
        },
    })
}

impl KmipSource {
    pub(crate) fn new(settings: Settings) -> Result<Self, KeyProviderError> {
        Ok(Self {
            client: Client::new(settings).map_err(told)?,
        })
    }
}

impl Servers for KmipSource {
    fn health(&self) -> Vec<ServerStatus> {
        let health = self.client.health().into_iter();
        health
            .map(|server| match server.state {
                Ok(description) => ServerStatus {
                    server: server.server,
                    usable: true,
                    detail: format!("{}, {}", description.version, description.vendor),
                },
                Err(fault) => ServerStatus {
                    server: server.server,
                    usable: false,
                    detail: fault.to_string(),
                },
            })
            .collect()
    }
}

impl std::fmt::Debug for KmipSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KmipSource")
            .field("provider", &self.client.provider())
            .finish_non_exhaustive()
    }
}

impl KeySource for KmipSource {
    fn new_key(&self) -> Result<KeyId, KeyProviderError> {
        let key_id = self.client.new_key(None).map_err(told)?;
        KeyId::new(key_id).ok_or_else(|| KeyProviderError::Unavailable {
            provider: self.client.provider().to_owned(),
            reason: "its server gave the new key an id that is none".to_owned(),
        })
    }

    fn fetch(&self, key_id: &KeyId, purpose: KeyPurpose) -> Result<Kek, KeyProviderError> {
        let bytes = match purpose {
            KeyPurpose::Wrap => self.client.key_to_wrap(key_id.as_str()),
            KeyPurpose::Unwrap => self.client.key_to_unwrap(key_id.as_str()),
        };
        Ok(Kek::copy_of(bytes.map_err(told)?.expose()))
    }

    fn trouble(&self) -> Option<String> {
        let health = self.health();
        if health.iter().any(|server| server.usable) {
            return None;
        }
        let faults: Vec<String> = health
            .iter()
            .map(|server| format!("server {}: {}", server.server, server.detail))
            .collect();
        Some(faults.join("; "))
    }
}

/// The client's error, which names provider, server and key already.
fn told(error: Error) -> KeyProviderError {
    let message = error.to_string();
    let (provider, key_id, fault) = match error {
        Error::Unavailable {
            provider, key_id, ..
        } => (provider, key_id, KeyServerFault::Unavailable),
        Error::KeyMissing {
            provider, key_id, ..
        } => (provider, Some(key_id), KeyServerFault::KeyMissing),
        Error::KeyState {
            provider, key_id, ..
        } => (provider, Some(key_id), KeyServerFault::KeyState),
        Error::Refused {
            provider, key_id, ..
        } => (provider, key_id, KeyServerFault::Refused),
        Error::KeyShape {
            provider, key_id, ..
        } => (provider, Some(key_id), KeyServerFault::Refused),
        Error::Configuration { provider, .. } => (provider, None, KeyServerFault::Refused),
        _ => (String::new(), None, KeyServerFault::Refused),
    };
    KeyProviderError::KeyServer {
        provider,
        key_id: key_id.and_then(KeyId::new),
        fault,
        message,
    }
}
