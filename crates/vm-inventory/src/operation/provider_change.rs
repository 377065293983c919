//! Key providers change: the default, their servers, whom they trust; and they go.

use super::{Operations, ProviderView};
use crate::inventory::{Stored, Transaction};
use crate::key_server::{KEEP_KEYS, KeyServer, OpenProvider, Secret};
use crate::model::{Provider, ProviderKind, Timestamp, VCenter, Vm};
use crate::{Error, Name, Result};
use kmip_client::{ClientKey, ServerAddress, check_certificates};
use std::collections::BTreeMap;
use vm_store::KeyProvider as _;
use vm_store::{KeyId, KeyProviderError, KeyServerFault};
use zeroize::Zeroizing;

/// Whether a key can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// It can.
    Usable,
    /// No server of its provider answers.
    Unreachable,
    /// Its provider does not have it.
    Missing,
    /// It is not active.
    NotActive,
    /// Its provider cannot be used as it is.
    Unusable,
}

impl Operations {
    /// Makes a provider the one that new VMs use; without a name there is none from then on.
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn set_default_provider(&self, vcenter: &Name, name: Option<&Name>) -> Result<()> {
        let stored = self.inventory.vcenter(vcenter.as_str())?;
        let mut transaction = Transaction::default();
        if let Some(name) = name {
            transaction.unchanged(&self.registered(Some(vcenter), name)?);
        }
        let mut changed = stored.record.clone();
        changed.default_provider = name.cloned();
        transaction.update(&stored, &changed)?;
        self.inventory.commit(transaction)
    }

    /// Removes a provider that no VM needs. The key of a native one goes too: only a backup brings it back.
    ///
    /// # Errors
    /// When there is no such provider, or VMs use it.
    pub fn remove_provider(&self, vcenter: &Name, name: &Name) -> Result<()> {
        let provider = self.registered(Some(vcenter), name)?;
        let stored = self.inventory.vcenter(vcenter.as_str())?;
        let users = self.users_of(&provider.record)?;
        if let Some(first) = users.first() {
            return Err(Error::BadValue(format!(
                "the key provider {name} of vCenter {vcenter} holds the keys of {} VMs ({first} and so on); re-key them with another provider or delete them first",
                users.len()
            )));
        }
        let mut transaction = Transaction::default();
        transaction.remove(&provider);
        if stored.record.default_provider.as_ref() == Some(name) {
            let mut changed = stored.record.clone();
            changed.default_provider = None;
            transaction.update(&stored, &changed)?;
        } else {
            transaction.unchanged(&stored);
        }
        self.inventory.commit(transaction)?;
        if provider.record.kind == ProviderKind::Native {
            // Without its record nobody uses the key. One that is left over is taken up by the next provider of that name.
            if let Err(error) = self.files.delete_provider(&provider.record) {
                tracing::warn!(provider = %name, "its key was not removed: {error}");
            }
        }
        Ok(())
    }

    /// The VMs, VMs of templates and unregistered VMs whose files are there under a provider.
    fn users_of(&self, provider: &Provider) -> Result<Vec<Name>> {
        let needs = |vm: &Vm| {
            vm.vcenter == provider.vcenter && vm.provider.as_ref() == Some(&provider.name)
        };
        let vms = self.inventory.all::<Vm>()?.into_iter();
        let mut names: Vec<Name> = vms
            .map(|stored| stored.record)
            .filter(needs)
            .map(|vm| vm.name)
            .collect();
        for template in self.templates()? {
            names.extend(template.vms.into_iter().filter(needs).map(|vm| vm.name));
        }
        // They come back with the key that they left with.
        let unregistered = self.unregistered_vms()?.into_iter();
        names.extend(unregistered.filter(needs).map(|vm| vm.name));
        Ok(names)
    }

    /// Registers a server of a standard provider under a name, or changes its address. The provider is made with its first server; it can
    /// be used once the server's certificate is trusted and there is one for us.
    ///
    /// # Errors
    /// When the address makes no sense, or the provider is of another kind.
    pub fn register_key_server(
        &self,
        vcenter: &Name,
        provider: &Name,
        server: &str,
        address: &str,
        replace: bool,
    ) -> Result<ProviderView> {
        let parsed: ServerAddress = address
            .parse()
            .map_err(|error: kmip_client::NoServerAddress| Error::BadValue(error.to_string()))?;
        let address = parsed.to_string();
        if server.is_empty() || server.len() > 200 || server.chars().any(char::is_control) {
            return Err(Error::BadValue(
                "the name of a key server has 1 to 200 characters, none of them a control character".to_owned(),
            ));
        }
        let key = Provider::key_of(vcenter.as_str(), provider.as_str());
        let Some(stored) = self.inventory.find::<Provider>(&key)? else {
            if replace {
                return Err(no_server(provider, server));
            }
            return self.register_standard(vcenter, provider, server, address);
        };
        let mut changed = stored.record.clone();
        let setup = standard(&mut changed)?;
        let at = setup.names.iter().find(|(_, name)| name.as_str() == server);
        match (at.map(|(address, _)| address.clone()), replace) {
            (None, true) => return Err(no_server(provider, server)),
            (Some(_), false) => {
                let name: Name = server.parse()?;
                return Err(Error::Exists {
                    what: "key server",
                    name,
                    place: format!("the key provider {provider}"),
                });
            }
            (Some(old), true) => {
                setup.names.remove(&old);
                for known in &mut setup.servers {
                    if *known == old {
                        known.clone_from(&address);
                    }
                }
            }
            (None, false) => {
                if !setup.servers.contains(&address) {
                    setup.servers.push(address.clone());
                }
            }
        }
        setup.names.insert(address, server.to_owned());
        self.update_provider(&stored, changed)
    }

    fn register_standard(
        &self,
        vcenter: &Name,
        provider: &Name,
        server: &str,
        address: String,
    ) -> Result<ProviderView> {
        let stored = self.inventory.vcenter(vcenter.as_str())?;
        let record = Provider {
            name: provider.clone(),
            vcenter: vcenter.clone(),
            kind: ProviderKind::Standard,
            created: Timestamp::now(),
            key_server: Some(KeyServer {
                names: BTreeMap::from([(address.clone(), server.to_owned())]),
                servers: vec![address],
                client_certificate: None,
                server_certificates: String::new(),
                keep_keys: KEEP_KEYS,
                time_limit: None,
                request: None,
                host_tpm: None,
            }),
        };
        let mut transaction = Transaction::default();
        transaction.insert(&record)?;
        let mut changed = stored.record.clone();
        if changed.default_provider.is_none() {
            changed.default_provider = Some(provider.clone());
        }
        transaction.update(&stored, &changed)?;
        self.inventory.commit(transaction)?;
        self.provider(Some(vcenter), provider)
    }

    /// Forgets a server; with its last server the provider goes too.
    ///
    /// # Errors
    /// When there is no such server, or VMs need the provider.
    pub fn remove_key_server(&self, vcenter: &Name, provider: &Name, server: &str) -> Result<()> {
        let stored = self.registered(Some(vcenter), provider)?;
        let mut changed = stored.record.clone();
        let setup = standard(&mut changed)?;
        let address = setup
            .address_of(server)
            .ok_or_else(|| no_server(provider, server))?;
        if setup.servers.len() == 1 {
            return self.remove_provider(vcenter, provider);
        }
        setup.servers.retain(|known| *known != address);
        setup.names.remove(&address);
        self.update_provider(&stored, changed)?;
        Ok(())
    }

    /// Trusts this very certificate of a provider's servers, besides those trusted already.
    ///
    /// # Errors
    /// When it is no certificate (PEM).
    pub fn trust_key_server(
        &self,
        vcenter: &Name,
        provider: &Name,
        certificate: &str,
    ) -> Result<ProviderView> {
        check_certificates(certificate.as_bytes(), "the server certificate")
            .map_err(Error::BadValue)?;
        let stored = self.registered(Some(vcenter), provider)?;
        let mut changed = stored.record.clone();
        let setup = standard(&mut changed)?;
        if !setup.server_certificates.contains(certificate.trim()) {
            setup.server_certificates.push_str(certificate.trim());
            setup.server_certificates.push('\n');
        }
        self.update_provider(&stored, changed)
    }

    /// The certificate (PEM) that a server shows, whoever it is.
    ///
    /// # Errors
    /// When nothing answers there by TLS.
    pub fn certificate_of_key_server(&self, address: &str) -> Result<String> {
        let address: ServerAddress = address
            .parse()
            .map_err(|error: kmip_client::NoServerAddress| Error::BadValue(error.to_string()))?;
        kmip_client::server_certificate(&address).map_err(Error::BadValue)
    }

    /// Takes a certificate and its private key (PEM each) as those of a provider's client.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn set_client_identity(
        &self,
        vcenter: &Name,
        provider: &Name,
        certificate: &str,
        key: &Secret,
    ) -> Result<ProviderView> {
        let stored = self.registered(Some(vcenter), provider)?;
        let key = Zeroizing::new(key.expose().as_bytes().to_vec());
        self.keep_identity(&stored, certificate, key, None)
    }

    /// Makes a key and a certificate that signs itself for a provider's client; returns the certificate (PEM).
    ///
    /// # Errors
    /// When it cannot be made or kept.
    pub fn self_signed_identity(&self, vcenter: &Name, provider: &Name) -> Result<String> {
        let stored = self.registered(Some(vcenter), provider)?;
        let made = ClientKey::self_signed(&format!("vtpm {vcenter} {provider}"))
            .map_err(Error::BadValue)?;
        self.keep_identity(&stored, &made.request, made.key.clone(), None)?;
        Ok(made.request)
    }

    /// Makes a key for a provider's client and the request for its certificate (PEM), which is kept.
    ///
    /// # Errors
    /// When there is no such provider, it has no key server, or it has its certificate already.
    pub fn client_request(&self, vcenter: &Name, provider: &Name) -> Result<String> {
        let request = self.provider_csr(Some(vcenter), provider)?;
        let stored = self.registered(Some(vcenter), provider)?;
        let mut changed = stored.record.clone();
        standard(&mut changed)?.request = Some(request.clone());
        self.update_provider(&stored, changed)?;
        Ok(request)
    }

    /// The settings of a standard provider's servers. Nothing in them is secret.
    ///
    /// # Errors
    /// When there is no such provider, or it has no servers.
    pub fn key_server_setup(&self, vcenter: &Name, provider: &Name) -> Result<KeyServer> {
        let mut record = self.registered(Some(vcenter), provider)?.record;
        Ok(standard(&mut record)?.clone())
    }

    fn keep_identity(
        &self,
        stored: &Stored<Provider>,
        certificate: &str,
        key: Zeroizing<Vec<u8>>,
        request: Option<String>,
    ) -> Result<ProviderView> {
        check_certificates(certificate.as_bytes(), "the client certificate")
            .map_err(Error::BadValue)?;
        let mut changed = stored.record.clone();
        let setup = standard(&mut changed)?;
        setup.client_certificate = Some(certificate.to_owned());
        setup.request = request;
        let trusts = !setup.server_certificates.is_empty();
        let setup = setup.clone();
        // Without a server's certificate the settings are not whole yet; the key is tried against its own certificate only.
        let mut whole = setup;
        if !trusts {
            whole.server_certificates = certificate.to_owned();
        }
        self.files
            .key_servers
            .check(&stored.record, &whole, certificate, key.clone())?;
        self.files
            .key_servers
            .put_client_key(&stored.record, &key)?;
        self.update_provider(stored, changed)
    }

    fn update_provider(
        &self,
        stored: &Stored<Provider>,
        changed: Provider,
    ) -> Result<ProviderView> {
        let mut transaction = Transaction::default();
        transaction.update(stored, &changed)?;
        self.inventory.commit(transaction)?;
        self.provider(Some(&changed.vcenter), &changed.name)
    }

    /// Makes a key at a provider, for whoever will use it; returns its id.
    ///
    /// # Errors
    /// When there is no such provider, it makes no keys on demand, or it cannot make one now.
    pub fn make_key(&self, vcenter: &Name, provider: Option<&Name>) -> Result<(Name, String)> {
        let name = self.provider_or_default(vcenter, provider)?;
        let record = self.registered(Some(vcenter), &name)?.record;
        if record.kind == ProviderKind::Native {
            return Err(Error::BadValue(format!(
                "the key provider {name} is a native one, which makes a key for each VM by itself"
            )));
        }
        let key = self.files.provider(&record)?.new_key()?;
        Ok((name, key.as_str().to_owned()))
    }

    /// Whether a key can be used, as its provider says now.
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn key_state(&self, vcenter: &Name, provider: &Name, key_id: &str) -> Result<KeyState> {
        let record = self.registered(Some(vcenter), provider)?.record;
        let Some(key_id) = KeyId::new(key_id) else {
            return Ok(KeyState::Missing);
        };
        let tried = self.files.provider(&record).and_then(|open| {
            if let OpenProvider::Native(native) = &open {
                native.check_value(&key_id)?;
                return Ok(());
            }
            open.fetch_anew(&key_id)?;
            open.hold(&key_id)?;
            Ok(())
        });
        Ok(match tried {
            Ok(()) => KeyState::Usable,
            Err(Error::KeyProvider(error)) => match *error {
                KeyProviderError::KeyServer { fault, .. } => match fault {
                    KeyServerFault::Unavailable => KeyState::Unreachable,
                    KeyServerFault::KeyMissing => KeyState::Missing,
                    KeyServerFault::KeyState => KeyState::NotActive,
                    _ => KeyState::Unusable,
                },
                _ => KeyState::Unusable,
            },
            Err(Error::NotFound { .. }) => KeyState::Unusable,
            Err(other) => return Err(other),
        })
    }

    fn provider_or_default(&self, vcenter: &Name, provider: Option<&Name>) -> Result<Name> {
        if let Some(name) = provider {
            return Ok(name.clone());
        }
        let record: VCenter = self.inventory.vcenter(vcenter.as_str())?.record;
        record.default_provider.ok_or_else(|| Error::NotFound {
            what: "default key provider",
            name: vcenter.to_string(),
            hint: "name a key provider, or set the default",
        })
    }
}

fn standard(provider: &mut Provider) -> Result<&mut KeyServer> {
    let (name, kind) = (provider.name.clone(), provider.kind);
    provider.key_server.as_mut().ok_or_else(|| {
        Error::BadValue(format!(
            "the key provider {name} is a {kind} one and has no key server"
        ))
    })
}

fn no_server(provider: &Name, server: &str) -> Error {
    Error::NotFound {
        what: "key server",
        name: format!(
            "{} of key provider {provider}",
            crate::inventory::shown(server)
        ),
        hint: "its servers are listed with it",
    }
}
