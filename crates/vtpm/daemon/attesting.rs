//! The host's TPM, by which the daemon gets keys from services that want to know what it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use key_service::{Error, Host, HostTpm, Limits, Purpose, RefusalKind, Settings};
use tpm_attest::client::Transmit;
use vm_inventory::key_server::{AttestedKeys, KeyServer, ServerStatus, Servers};
use vm_store::key_provider::{Kek, KeyPurpose, KeySource};
use vm_store::{KeyId, KeyProviderError, KeyServerFault};

use crate::cli::attest;
use crate::cli::trace::tcti::Tcti;

/// Opens key services for trusted providers.
#[derive(Debug)]
pub(crate) struct AttestingHost;

impl AttestedKeys for AttestingHost {
    fn open(
        &self,
        provider: &str,
        setup: &KeyServer,
    ) -> Result<Arc<dyn Servers>, KeyProviderError> {
        let unusable = |reason: String| KeyProviderError::Unavailable {
            provider: provider.to_owned(),
            reason,
        };
        let name = setup.host_tpm.clone().unwrap_or_default();
        let tcti: Tcti = name.parse().map_err(unusable)?;
        let services: Result<_, _> = setup.servers.iter().map(|server| server.parse()).collect();
        let (limit, usual) = (setup.time_limit.map(Duration::from_secs), Limits::default());
        let settings = Settings {
            provider: provider.to_owned(),
            name: host_name(),
            services: services
                .map_err(|error: key_service::NoAddress| unusable(error.to_string()))?,
            certificates: setup.server_certificates.clone(),
            limits: Limits {
                connect: limit.unwrap_or(usual.connect),
                request: limit.unwrap_or(usual.request),
            },
        };
        let tpm = Arc::new(TpmAt { tcti, name });
        let host = Host::new(settings, tpm).map_err(|error| unusable(error.to_string()))?;
        Ok(Arc::new(KeyServices {
            provider: provider.to_owned(),
            host,
        }))
    }
}

struct TpmAt {
    tcti: Tcti,
    name: String,
}

impl HostTpm for TpmAt {
    fn connect(&self) -> Result<Box<dyn Transmit>, String> {
        let client = attest::connect(&self.tcti).map_err(|error| format!("{error:#}"))?;
        Ok(Box::new(client.into_transmit()))
    }

    fn place(&self) -> String {
        self.name.clone()
    }
}

/// The key services of one provider.
struct KeyServices {
    provider: String,
    host: Host,
}

impl fmt::Debug for KeyServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyServices")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl KeySource for KeyServices {
    fn new_key(&self) -> Result<KeyId, KeyProviderError> {
        let key_id = self.host.new_key().map_err(|error| self.told(error))?;
        KeyId::new(key_id).ok_or_else(|| KeyProviderError::Unavailable {
            provider: self.provider.clone(),
            reason: "its service gave the new key an id that is none".to_owned(),
        })
    }

    fn fetch(&self, key_id: &KeyId, purpose: KeyPurpose) -> Result<Kek, KeyProviderError> {
        let purpose = match purpose {
            KeyPurpose::Wrap => Purpose::Wrap,
            KeyPurpose::Unwrap => Purpose::Unwrap,
        };
        let key = self.host.key(key_id.as_str(), purpose);
        Ok(Kek::copy_of(&*key.map_err(|error| self.told(error))?))
    }

    fn trouble(&self) -> Option<String> {
        let health = self.health();
        if health.iter().any(|server| server.usable) {
            return None;
        }
        let faults: Vec<String> = health
            .iter()
            .map(|server| format!("key service {}: {}", server.server, server.detail))
            .collect();
        Some(faults.join("; "))
    }
}

impl Servers for KeyServices {
    fn health(&self) -> Vec<ServerStatus> {
        let health = self.host.health().into_iter();
        health
            .map(|server| {
                let (usable, detail) = match server.state {
                    Ok(description) => (
                        true,
                        format!(
                            "this host satisfies its policy {:?} ({})",
                            description.policy, description.pcrs
                        ),
                    ),
                    Err(fault) => (false, fault.to_string()),
                };
                ServerStatus {
                    server: server.address.to_string(),
                    usable,
                    detail,
                }
            })
            .collect()
    }
}

impl KeyServices {
    /// The host's error, which names provider, service and key already.
    fn told(&self, error: Error) -> KeyProviderError {
        let message = error.to_string();
        let (key_id, fault) = match error {
            Error::HostTpm { .. } => (None, KeyServerFault::Unavailable),
            Error::Settings { .. } => (None, KeyServerFault::Refused),
            Error::Services { key_id, faults, .. } => {
                let any = |kind| faults.iter().any(|(_, fault)| fault.is(kind));
                let fault = if any(RefusalKind::KeyState) {
                    KeyServerFault::KeyState
                } else if any(RefusalKind::NotTrusted) || any(RefusalKind::Blocked) {
                    KeyServerFault::Refused
                } else if any(RefusalKind::NoSuchKey) {
                    KeyServerFault::KeyMissing
                } else {
                    KeyServerFault::Unavailable
                };
                (key_id, fault)
            }
        };
        KeyProviderError::KeyServer {
            provider: self.provider.clone(),
            key_id: key_id.and_then(KeyId::new),
            fault,
            message,
        }
    }
}

fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
