//! Key providers of vCenters.

use super::Operations;
use crate::inventory::{Stored, Transaction};
use crate::key_server::{KeyServer, KeyServerRequest, OpenProvider, ServerStatus};
use crate::model::{Provider, ProviderBackup, ProviderKind, Template, Timestamp, VCenter, Vm};
use crate::{Error, Name, Result};
use kmip_client::ClientKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A request to register a key provider.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProvider {
    /// Its name.
    pub name: Name,
    /// Where; the only vCenter there is if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// Make it the default for new VMs. The first provider of a vCenter becomes that anyway.
    #[serde(default)]
    pub default: bool,
    /// Its kind; native if left out.
    #[serde(default)]
    pub kind: ProviderKind,
    /// Its key servers, for a standard one, or its key services and the host's TPM, for a trusted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_server: Option<KeyServerRequest>,
}

impl CreateProvider {
    /// A request for a native provider.
    #[must_use]
    pub fn native(name: Name, vcenter: Option<Name>, default: bool) -> Self {
        Self {
            name,
            vcenter,
            default,
            kind: ProviderKind::Native,
            key_server: None,
        }
    }
}

/// A request to restore a native key provider from its backup.
pub struct RestoreProvider<'a> {
    /// Its name, as in the backup.
    pub name: Name,
    /// Where; the only vCenter there is if left out.
    pub vcenter: Option<Name>,
    /// Make it the default for new VMs.
    pub default: bool,
    /// The backup (PKCS#12).
    pub backup: &'a [u8],
    /// Its password.
    pub password: &'a str,
}

/// A key provider as people and programs see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProviderView {
    /// Its name.
    pub name: Name,
    /// Where it is registered.
    pub vcenter: Name,
    /// Its kind.
    pub kind: ProviderKind,
    /// Whether new VMs use it when the request names none.
    pub default: bool,
    /// `active`, `not-backed-up`, or why it cannot be used.
    pub status: String,
    /// When it was registered.
    pub created: Timestamp,
    /// Its key servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_server: Option<KeyServerView>,
}

/// The key servers of a provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyServerView {
    /// `HOST:PORT` of each, tried in this order.
    pub servers: Vec<String>,
    /// Whether there is a certificate for us.
    pub client_certificate: bool,
    /// For how many seconds a fetched key is kept in memory.
    pub keep_keys: u64,
    /// How many keys are kept now.
    pub kept: usize,
}

/// What a provider's key servers answered, and what that means for VMs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProviderStatus {
    /// The provider.
    pub provider: ProviderView,
    /// Each server, in its order.
    pub servers: Vec<ServerStatus>,
    /// VMs that cannot be powered on, since their key cannot be had.
    pub locked: Vec<Name>,
}

/// A key of a provider and who needs it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyUse {
    /// The key's id.
    pub key_id: String,
    /// Its check value, by the files.
    pub check: String,
    /// Whether it is kept in memory now.
    pub kept: bool,
    /// The VMs whose data keys are under it.
    pub vms: Vec<Name>,
    /// The templates with VMs under it, as `CATALOG/NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
}

/// A backup that was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupFile {
    /// Where it is.
    pub path: PathBuf,
    /// The whole file; worthless without the password.
    pub bytes: Vec<u8>,
}

impl Operations {
    /// Every key provider, by vCenter and name.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn providers(&self) -> Result<Vec<ProviderView>> {
        let vcenters = self.inventory.all::<VCenter>()?;
        let mut views = Vec::new();
        for vcenter in vcenters {
            let prefix = Provider::key_of(vcenter.record.name.as_str(), "");
            for provider in self.inventory.within::<Provider>(&prefix)? {
                views.push(self.provider_view(provider.record, &vcenter.record));
            }
        }
        Ok(views)
    }

    /// Registers a key provider. A native one holds keys only after a backup of it was taken; no key server is asked.
    ///
    /// # Errors
    /// When the name is taken on that vCenter, the settings make no sense, or a file cannot be written.
    pub fn create_provider(&self, request: CreateProvider) -> Result<ProviderView> {
        let CreateProvider {
            name,
            vcenter,
            default,
            kind,
            key_server,
        } = request;
        match (kind, key_server) {
            (ProviderKind::Native, None) => self.register_provider(
                vcenter.as_ref(),
                name,
                default,
                (kind, None),
                |this, provider| this.files.create_provider(provider),
            ),
            (ProviderKind::Native, Some(_)) => Err(Error::BadValue(
                "a native key provider has no key server; ask for a standard one, or leave the servers out".to_owned(),
            )),
            (ProviderKind::Trusted, None) => Err(Error::BadValue(
                "a trusted key provider needs a key service and the host's TPM; name them with --server and --host-tcti".to_owned(),
            )),
            (ProviderKind::Trusted, Some(request)) => {
                let setup = request.checked_trusted()?;
                self.register_provider(
                    vcenter.as_ref(),
                    name,
                    default,
                    (kind, Some(setup.clone())),
                    |this, provider| {
                        let servers = &this.files.key_servers;
                        servers.attested_servers(provider, &setup).map(drop)
                    },
                )
            }
            (ProviderKind::Standard, None) => Err(Error::BadValue(
                "a standard key provider needs a key server; name each with --server HOST:PORT, and its certificate with --server-cert".to_owned(),
            )),
            (ProviderKind::Standard, Some(request)) => {
                let setup = request.checked()?;
                self.register_provider(
                    vcenter.as_ref(),
                    name,
                    default,
                    (kind, Some(setup.clone())),
                    |this, provider| this.put_identity(provider, &setup, &request),
                )
            }
        }
    }

    /// Restores a native key provider from its backup, under the name it had.
    ///
    /// # Errors
    /// When the password or the name is not that of the backup, or another provider has the name.
    pub fn restore_provider(&self, request: RestoreProvider<'_>) -> Result<ProviderView> {
        let RestoreProvider {
            name,
            vcenter,
            default,
            backup,
            password,
        } = request;
        let kind = (ProviderKind::Native, None);
        self.register_provider(vcenter.as_ref(), name, default, kind, |this, provider| {
            this.files.restore_provider(provider, backup, password)
        })
    }

    /// Writes a password-protected backup of a native key provider into the data folder; from then on it may hold keys.
    ///
    /// # Errors
    /// When there is no such provider, the password is empty, or the file cannot be written.
    pub fn back_up_provider(
        &self,
        vcenter: Option<&Name>,
        name: &Name,
        password: &str,
    ) -> Result<BackupFile> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?;
        let provider = self
            .inventory
            .provider(vcenter.record.name.as_str(), name.as_str())?;
        if password.is_empty() {
            return Err(Error::BadValue(
                "the password of the backup is empty; choose one, and keep it apart from the file"
                    .to_owned(),
            ));
        }
        let (path, bytes) = self.files.back_up_provider(&provider.record, password)?;
        let mut transaction = Transaction::default();
        transaction.put(&ProviderBackup {
            vcenter: provider.record.vcenter,
            provider: provider.record.name,
            at: Timestamp::now(),
        })?;
        self.inventory.commit(transaction)?;
        Ok(BackupFile { path, bytes })
    }

    fn register_provider(
        &self,
        vcenter: Option<&Name>,
        name: Name,
        default: bool,
        (kind, key_server): (ProviderKind, Option<KeyServer>),
        make: impl FnOnce(&Self, &Provider) -> Result<()>,
    ) -> Result<ProviderView> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?;
        let provider = Provider {
            name,
            vcenter: vcenter.record.name.clone(),
            kind,
            created: Timestamp::now(),
            key_server,
        };
        let exists = || Error::Exists {
            what: "key provider",
            name: provider.name.clone(),
            place: format!("vCenter {}", provider.vcenter),
        };
        let key = Provider::key_of(provider.vcenter.as_str(), provider.name.as_str());
        if self.inventory.find::<Provider>(&key)?.is_some() {
            return Err(exists());
        }
        // The key file comes first: a record without a key would be worse than a key without a record, which the next try takes up.
        make(self, &provider)?;
        let mut transaction = Transaction::default();
        transaction.insert(&provider)?;
        let mut changed = vcenter.record.clone();
        if default || changed.default_provider.is_none() {
            changed.default_provider = Some(provider.name.clone());
            transaction.update(&vcenter, &changed)?;
        }
        self.inventory
            .commit(transaction)
            .map_err(|error| match error {
                Error::Conflict { key } if key.starts_with("provider/") => exists(),
                other => other,
            })?;
        Ok(self.provider_view(provider, &changed))
    }

    /// Keeps the private key of a new provider's client.
    fn put_identity(
        &self,
        provider: &Provider,
        setup: &KeyServer,
        request: &KeyServerRequest,
    ) -> Result<()> {
        let servers = &self.files.key_servers;
        let Some((certificate, key)) = setup
            .client_certificate
            .as_ref()
            .zip(request.client_key.as_ref())
        else {
            return Ok(());
        };
        let key = Zeroizing::new(key.expose().as_bytes().to_vec());
        servers.check(provider, setup, certificate, key.clone())?;
        servers.put_client_key(provider, &key)
    }

    /// Makes a key for a provider's client, if it has none yet, and the request for its certificate (PEM).
    ///
    /// # Errors
    /// When there is no such provider, it has no key server, or it has its certificate already.
    pub fn provider_csr(&self, vcenter: Option<&Name>, name: &Name) -> Result<String> {
        let provider = self.registered(vcenter, name)?.record;
        let setup = kmip_server_of(&provider)?;
        if setup.client_certificate.is_some() {
            return Err(Error::BadValue(format!(
                "the key provider {name} has its client certificate; register it anew to change who it is"
            )));
        }
        let subject = format!("vtpm {} {}", provider.vcenter, provider.name);
        let made = ClientKey::generate(&subject).map_err(Error::BadValue)?;
        // Whoever asks again gets another key: only the last request counts.
        self.files
            .key_servers
            .put_client_key(&provider, &made.key)?;
        Ok(made.request)
    }

    /// Takes the certificate that the request was answered with.
    ///
    /// # Errors
    /// When it is not for the key that was made here.
    pub fn set_provider_certificate(
        &self,
        vcenter: Option<&Name>,
        name: &Name,
        certificate: &str,
    ) -> Result<ProviderView> {
        let stored = self.registered(vcenter, name)?;
        let provider = stored.record.clone();
        let setup = kmip_server_of(&provider)?;
        let key = self.files.key_servers.client_key(&provider)?;
        self.files
            .key_servers
            .check(&provider, setup, certificate, key)?;
        let mut changed = provider;
        if let Some(setup) = &mut changed.key_server {
            setup.client_certificate = Some(certificate.to_owned());
        }
        let mut transaction = Transaction::default();
        transaction.update(&stored, &changed)?;
        self.inventory.commit(transaction)?;
        let vcenter = self.inventory.vcenter(changed.vcenter.as_str())?;
        Ok(self.provider_view(changed, &vcenter.record))
    }

    /// One key provider.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn provider(&self, vcenter: Option<&Name>, name: &Name) -> Result<ProviderView> {
        let provider = self.registered(vcenter, name)?.record;
        let vcenter = self.inventory.vcenter(provider.vcenter.as_str())?;
        Ok(self.provider_view(provider, &vcenter.record))
    }

    /// Asks the servers of a provider, and looks whether the keys of its powered-off VMs can be had: what cannot be powered on
    /// is recorded as locked, what can is not any more.
    ///
    /// # Errors
    /// When there is no such provider, or the inventory fails.
    pub fn provider_status(
        self: &Arc<Self>,
        vcenter: Option<&Name>,
        name: &Name,
    ) -> Result<ProviderStatus> {
        let provider = self.registered(vcenter, name)?.record;
        let servers = match provider.kind {
            ProviderKind::Native => Vec::new(),
            ProviderKind::Standard | ProviderKind::Trusted => {
                self.files.key_servers.health(&provider)?
            }
        };
        let locked = self.look_for_locks(&provider)?;
        Ok(ProviderStatus {
            provider: self.provider(Some(&provider.vcenter), name)?,
            servers,
            locked,
        })
    }

    /// The keys that VMs of a provider need, by their files.
    ///
    /// # Errors
    /// When there is no such provider, or a VM's settings cannot be read.
    pub fn provider_keys(&self, vcenter: Option<&Name>, name: &Name) -> Result<Vec<KeyUse>> {
        let provider = self.registered(vcenter, name)?.record;
        let kept = match self.files.provider(&provider) {
            Ok(OpenProvider::Server(open)) => open.kept(),
            _ => Vec::new(),
        };
        let mut keys: BTreeMap<(String, String), KeyUse> = BTreeMap::new();
        let mut put = |vm: &Vm, template: Option<&Template>| -> Result<()> {
            let Some(binding) = self.files.binding(vm, &self.datastore_of(vm)?)? else {
                return Ok(());
            };
            let locator = binding.locator;
            let key = (
                locator.key_id.as_str().to_owned(),
                locator.check.to_string(),
            );
            let used = keys.entry(key.clone()).or_insert_with(|| KeyUse {
                key_id: key.0,
                check: key.1,
                kept: kept.contains(&locator.key_id),
                vms: Vec::new(),
                templates: Vec::new(),
            });
            match template.map(|template| format!("{}/{}", template.catalog, template.name)) {
                None => used.vms.push(vm.name.clone()),
                Some(name) if !used.templates.contains(&name) => used.templates.push(name),
                Some(_) => {}
            }
            Ok(())
        };
        for vm in self.vms_of(&provider)? {
            put(&vm, None)?;
        }
        for template in self.templates_under(&provider)? {
            for vm in under(&template.record, &provider) {
                put(vm, Some(&template.record))?;
            }
        }
        Ok(keys.into_values().collect())
    }

    /// Wipes the keys of a provider that are kept in memory, and says how many there were.
    ///
    /// # Errors
    /// When there is no such provider.
    pub fn forget_keys(&self, vcenter: Option<&Name>, name: &Name) -> Result<usize> {
        let provider = self.registered(vcenter, name)?.record;
        Ok(match self.files.provider(&provider)? {
            OpenProvider::Native(_) => 0,
            OpenProvider::Server(open) => open.forget_all(),
        })
    }

    /// The VMs with a TPM whose keys a provider holds, by name.
    pub(super) fn vms_of(&self, provider: &Provider) -> Result<Vec<Vm>> {
        let mut vms = Vec::new();
        self.inventory.in_parts::<Vm>(|part| {
            let part = part.into_iter().map(|stored| stored.record);
            vms.extend(part.filter(|vm| provider.holds_key_of(vm)));
            Ok(())
        })?;
        vms.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(vms)
    }

    /// The templates with VMs whose keys a provider holds.
    pub(super) fn templates_under(&self, provider: &Provider) -> Result<Vec<Stored<Template>>> {
        let mut templates = self.inventory.all::<Template>()?;
        templates.retain(|template| under(&template.record, provider).next().is_some());
        Ok(templates)
    }

    pub(super) fn registered(
        &self,
        vcenter: Option<&Name>,
        name: &Name,
    ) -> Result<Stored<Provider>> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?;
        self.inventory
            .provider(vcenter.record.name.as_str(), name.as_str())
    }

    fn provider_view(&self, provider: Provider, vcenter: &VCenter) -> ProviderView {
        let status = match provider.kind {
            ProviderKind::Native => match self.files.native(&provider) {
                Ok(open) if open.is_active() => "active".to_owned(),
                Ok(_) => "not-backed-up".to_owned(),
                Err(error) => error.to_string(),
            },
            ProviderKind::Standard | ProviderKind::Trusted => {
                match self.files.provider(&provider) {
                    // Whether a server answers, `provider_status` asks: a list is not to wait for one.
                    Ok(_) => "registered".to_owned(),
                    Err(_) if self.waits_for_certificate(&provider) => {
                        "waits-for-certificate".to_owned()
                    }
                    Err(error) => error.to_string(),
                }
            }
        };
        let kept = match self.files.provider(&provider) {
            Ok(OpenProvider::Server(open)) => open.kept().len(),
            _ => 0,
        };
        let key_server = provider.key_server.map(|setup| KeyServerView {
            servers: setup.servers,
            client_certificate: setup.client_certificate.is_some(),
            keep_keys: setup.keep_keys,
            kept,
        });
        ProviderView {
            default: vcenter.default_provider.as_ref() == Some(&provider.name),
            name: provider.name,
            vcenter: provider.vcenter,
            kind: provider.kind,
            status,
            created: provider.created,
            key_server,
        }
    }

    fn waits_for_certificate(&self, provider: &Provider) -> bool {
        let setup = provider.key_server.as_ref();
        provider.kind == ProviderKind::Standard
            && setup.is_some_and(|setup| setup.client_certificate.is_none())
    }
}

/// The VMs of a template whose keys a provider holds.
pub(super) fn under<'a>(
    template: &'a Template,
    provider: &'a Provider,
) -> impl Iterator<Item = &'a Vm> {
    template.vms.iter().filter(|vm| provider.holds_key_of(vm))
}

fn kmip_server_of(provider: &Provider) -> Result<&KeyServer> {
    let setup = provider.key_server.as_ref();
    setup
        .filter(|_| provider.kind == ProviderKind::Standard)
        .ok_or_else(|| {
            Error::BadValue(format!(
                "the key provider {} is a {} one and has no client certificate",
                provider.name, provider.kind
            ))
        })
}
