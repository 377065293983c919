//! Key providers of vCenters.

use super::Operations;
use crate::inventory::Transaction;
use crate::model::{Provider, ProviderKind, Timestamp, VCenter};
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A request to create a native key provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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

    /// Creates a native key provider. It holds keys only after a backup of it was taken.
    ///
    /// # Errors
    /// When the name is taken on that vCenter, or the key file cannot be written.
    pub fn create_provider(&self, request: CreateProvider) -> Result<ProviderView> {
        let CreateProvider {
            name,
            vcenter,
            default,
        } = request;
        self.register_provider(vcenter.as_ref(), name, default, |this, provider| {
            this.files.create_provider(provider)
        })
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
        self.register_provider(vcenter.as_ref(), name, default, |this, provider| {
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
        Ok(BackupFile { path, bytes })
    }

    fn register_provider(
        &self,
        vcenter: Option<&Name>,
        name: Name,
        default: bool,
        make: impl FnOnce(&Self, &Provider) -> Result<()>,
    ) -> Result<ProviderView> {
        let vcenter = self.inventory.vcenter_or_only(vcenter)?;
        let provider = Provider {
            name,
            vcenter: vcenter.record.name.clone(),
            kind: ProviderKind::Native,
            created: Timestamp::now(),
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

    fn provider_view(&self, provider: Provider, vcenter: &VCenter) -> ProviderView {
        let status = match self.files.provider(&provider) {
            Ok(open) if open.is_active() => "active".to_owned(),
            Ok(_) => "not-backed-up".to_owned(),
            Err(error) => error.to_string(),
        };
        ProviderView {
            default: vcenter.default_provider.as_ref() == Some(&provider.name),
            name: provider.name,
            vcenter: provider.vcenter,
            kind: provider.kind,
            status,
            created: provider.created,
        }
    }
}
