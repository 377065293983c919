//! The files of VMs and of key providers, by the inventory's records: the one place that calls the store.

mod settings;
mod staging;
mod transfer;

pub(crate) use staging::{StagedFile, Staging};
pub use transfer::Disk;
pub(crate) use transfer::{is_other_key, is_state};

use crate::inventory::Inventory;
use crate::key_server::{AttestedKeys, KeyServers, OpenProvider};
use crate::model::{Datastore, Provider, ProviderKind, Vm};
use crate::operation::TpmBytes;
use crate::provisioning::TpmAction;
use crate::{Error, Name, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;
use vm_store::key_provider::{Flavour, NativeKeyProvider, ProviderFolder, unwrap_located};
use vm_store::{
    Contents, Datastore as _, Encryption, FolderDatastore, Identity, KeyId, KeyLocator,
    KeyProvider, KeyProviderError, KeyProviderLookup, LinuxBackend, NewVm, OpenOptions,
    SectionKind, SnapshotId, StoreError, TpmBinding, TpmProvisioning, VmFile,
};

/// The data folder, with its datastores open.
pub(crate) struct Files {
    data: PathBuf,
    backend: LinuxBackend,
    datastores: Mutex<BTreeMap<Name, Arc<FolderDatastore>>>,
    /// Tells what kind of provider a name stands for.
    inventory: Inventory,
    /// Providers whose keys are at key servers.
    pub(crate) key_servers: KeyServers,
}

/// The one provider that a VM may use: that of its record, on its vCenter.
struct Registered<'a> {
    files: &'a Files,
    vm: &'a Vm,
}

impl KeyProviderLookup for Registered<'_> {
    fn find(&self, name: &str) -> Option<Arc<dyn KeyProvider>> {
        let recorded = self.vm.provider.as_ref()?;
        if recorded.as_str() != name {
            return None;
        }
        let provider = self.files.load_provider(&self.vm.vcenter, recorded).ok()?;
        Some(Arc::new(provider))
    }

    fn names(&self) -> Vec<String> {
        self.vm.provider.iter().map(ToString::to_string).collect()
    }
}

impl Files {
    pub(crate) fn new(
        data: &Path,
        inventory: Inventory,
        attested: Option<Arc<dyn AttestedKeys>>,
    ) -> Self {
        Self {
            inventory,
            key_servers: KeyServers::new(data, attested),
            data: data.to_path_buf(),
            backend: LinuxBackend,
            datastores: Mutex::new(BTreeMap::new()),
        }
    }

    /// Takes a datastore for this process, and removes what interrupted operations left half-made in it.
    pub(crate) fn add_datastore(&self, datastore: &Datastore) -> Result<()> {
        let mut open = self
            .datastores
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !open.contains_key(&datastore.name) {
            let claimed =
                FolderDatastore::claim(&self.backend, &self.data.join(&datastore.folder))?;
            open.insert(datastore.name.clone(), Arc::new(claimed));
        }
        Ok(())
    }

    fn datastore(&self, datastore: &Datastore) -> Result<Arc<FolderDatastore>> {
        self.add_datastore(datastore)?;
        let open = self
            .datastores
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.get(&datastore.name)
            .cloned()
            .ok_or_else(|| Error::Internal(format!("the datastore {} is not open", datastore.name)))
    }

    /// Whether a folder (or anything else) of that name is there.
    pub(crate) fn is_taken(&self, datastore: &Datastore, folder: &Name) -> Result<bool> {
        let path = self.datastore(datastore)?.location().join(folder.as_str());
        Ok(path.symlink_metadata().is_ok())
    }

    /// Makes the files of a VM with a TPM, under a new key of its provider.
    pub(crate) fn create(&self, vm: &Vm, datastore: &Datastore, contents: &Contents) -> Result<()> {
        let provider = self.provider_of(vm)?;
        let key_id = provider.new_key()?;
        let held = provider.hold(&key_id)?;
        self.create_under(vm, datastore, contents, &*held, &key_id)
    }

    /// Makes the files of a clone, under the key of its source.
    pub(crate) fn create_like(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        contents: &Contents,
        source: &Vm,
        source_datastore: &Datastore,
    ) -> Result<()> {
        let provider = self.provider_of(vm)?;
        let description = self
            .datastore(source_datastore)?
            .describe(source.folder.as_str())?;
        let key_id = match description.locator() {
            Some(locator) => locator.key_id.clone(),
            None => provider.new_key()?,
        };
        let held = provider.hold(&key_id)?;
        if let Some(locator) = description.locator() {
            check_key(&*held, locator)?;
        }
        self.create_under(vm, datastore, contents, &*held, &key_id)
    }

    fn create_under(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        contents: &Contents,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<()> {
        let origin = vm.tpm.as_ref().map_or(TpmAction::New, |tpm| tpm.origin);
        let new = new_vm(vm)?.provisioned_by(match origin {
            TpmAction::Copy => TpmProvisioning::Copy,
            TpmAction::Replace => TpmProvisioning::Replace,
            TpmAction::New | TpmAction::Remove => TpmProvisioning::New,
        });
        let new = new.encrypted(match vm.encrypted {
            true => Encryption::OfVm {
                tpm: vm.tpm.is_some(),
            },
            false => Encryption::ForTpm,
        });
        self.datastore(datastore)?
            .create(&new, contents, provider, key_id)?;
        Ok(())
    }

    /// Makes the files of a VM without a TPM.
    pub(crate) fn create_plain(&self, vm: &Vm, datastore: &Datastore) -> Result<()> {
        self.datastore(datastore)?.create_plain(&new_vm(vm)?)?;
        Ok(())
    }

    /// Opens the files of a VM with a TPM; with a floor, files that are older are refused.
    pub(crate) fn open(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        floor: Option<u64>,
    ) -> Result<(VmFile, Contents)> {
        let options = OpenOptions {
            minimum_generation: floor,
            accept_rollback: floor.is_none(),
            ..OpenOptions::default()
        };
        // A provider that cannot be loaded says more by itself than by its absence.
        if let Err(error) = self.provider_of(vm) {
            return Err(match &error {
                Error::KeyProvider(reason) if reason.locks() => {
                    self.key_required(vm, datastore, reason.to_string())
                }
                _ => error,
            });
        }
        let lookup = Registered { files: self, vm };
        let opened = self
            .datastore(datastore)?
            .open(vm.folder.as_str(), &lookup, &options);
        let (file, contents) = opened.map_err(|error| match error {
            StoreError::Provider { source, .. } if source.locks() => {
                if let KeyProviderError::OtherKey { key_id, .. } = &source {
                    self.forget_key(vm, key_id);
                }
                self.key_required(vm, datastore, source.to_string())
            }
            error @ StoreError::NoSuchProvider { .. } => {
                self.key_required(vm, datastore, error.to_string())
            }
            StoreError::RolledBack {
                found, expected, ..
            } => Error::Rollback {
                vm: vm.name.clone(),
                found,
                floor: expected,
            },
            other => other.into(),
        })?;
        if file.identity().vm_id != vm.id.0 || file.identity().instance_id != vm.instance_id {
            return Err(Error::File {
                path: file.path().display().to_string(),
                reason: format!(
                    "it holds {}, not {} as the inventory says; put this VM's own files back",
                    file.identity(),
                    identity(vm)
                ),
            });
        }
        Ok((file, contents))
    }

    /// Removes the file of a snapshot; one that is gone already is no error.
    pub(crate) fn remove_snapshot(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        snapshot: SnapshotId,
    ) -> Result<()> {
        if self.holds(vm, datastore)? {
            self.datastore(datastore)?
                .remove_snapshot(vm.folder.as_str(), snapshot)?;
        }
        Ok(())
    }

    /// The instance that the files of a VM are of.
    pub(crate) fn instance(&self, vm: &Vm, datastore: &Datastore) -> Result<Uuid> {
        let description = self.datastore(datastore)?.describe(vm.folder.as_str())?;
        Ok(description.identity.instance_id)
    }

    /// Checks that the key of a VM can be had, without opening the VM.
    pub(crate) fn check_key(&self, vm: &Vm, datastore: &Datastore) -> Result<()> {
        let provider = self.provider_of(vm)?;
        let description = self.datastore(datastore)?.describe(vm.folder.as_str())?;
        if let Some(binding) = &description.binding {
            vm_store::key_provider::unwrap_located(&provider, &binding.locator, &binding.wrapped)?;
        }
        Ok(())
    }

    /// Whether the VM's settings are in their folder.
    pub(crate) fn holds(&self, vm: &Vm, datastore: &Datastore) -> Result<bool> {
        match self.datastore(datastore)?.describe(vm.folder.as_str()) {
            Ok(description) => Ok(description.identity.vm_id == vm.id.0),
            Err(StoreError::NoSuchVm { .. }) => Ok(false),
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Removes the files of a VM that is not, or not yet, in use. A folder of that name which holds another VM, or none, is not touched.
    pub(crate) fn undo(&self, vm: &Vm, datastore: &Datastore) -> Result<()> {
        if self.holds(vm, datastore)? {
            self.datastore(datastore)?.delete(vm.folder.as_str())?;
        }
        Ok(())
    }

    /// Removes the files of a VM; what is gone already is no error, so that a deletion can be taken up again.
    pub(crate) fn delete(&self, vm: &Vm, datastore: &Datastore) -> Result<()> {
        let datastore = self.datastore(datastore)?;
        if let Ok(description) = datastore.describe(vm.folder.as_str())
            && description.identity.vm_id != vm.id.0
        {
            return Err(Error::File {
                path: datastore
                    .location()
                    .join(vm.folder.as_str())
                    .display()
                    .to_string(),
                reason: format!(
                    "it holds {}, not VM {}; nothing was removed",
                    description.identity, vm.id
                ),
            });
        }
        match datastore.delete(vm.folder.as_str()) {
            Ok(deleted) if !deleted.left.is_empty() => {
                tracing::info!(vm = %vm.name, left = ?deleted.left, "files that are not ours stay");
                Ok(())
            }
            Ok(_) | Err(StoreError::NoSuchVm { .. }) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// What ties a VM to its data key, as its settings say; not verified. `None` for a VM that is not encrypted.
    pub(crate) fn binding(&self, vm: &Vm, datastore: &Datastore) -> Result<Option<TpmBinding>> {
        let description = self.datastore(datastore)?.describe(vm.folder.as_str())?;
        Ok(description.binding)
    }

    /// Tries whether a key opens what it is to open, and writes nothing.
    pub(crate) fn try_key(&self, provider: &dyn KeyProvider, binding: &TpmBinding) -> Result<()> {
        unwrap_located(provider, &binding.locator, &binding.wrapped)?;
        Ok(())
    }

    /// What was kept of this key is not what the VM needs: next time its server is asked.
    fn forget_key(&self, vm: &Vm, key_id: &KeyId) {
        if let Ok(OpenProvider::Server(provider)) = self.provider_of(vm) {
            provider.forget(key_id);
        }
    }

    /// The error that the key of a VM cannot be had.
    pub(crate) fn key_required(&self, vm: &Vm, datastore: &Datastore, reason: String) -> Error {
        let binding = self.binding(vm, datastore).ok().flatten();
        let (provider, key_id) = match binding {
            Some(binding) => (
                binding.locator.provider,
                binding.locator.key_id.as_str().to_owned(),
            ),
            None => (
                vm.provider
                    .as_ref()
                    .map_or_else(String::new, Name::to_string),
                "unknown".to_owned(),
            ),
        };
        Error::KeyRequired {
            vm: vm.name.clone(),
            file: self
                .data
                .join(&datastore.folder)
                .join(vm.folder.as_str())
                .join(format!("{}.vmx", vm.folder)),
            provider,
            key_id,
            reason,
        }
    }

    /// A native key provider, from its file.
    pub(crate) fn native(&self, provider: &Provider) -> Result<NativeKeyProvider> {
        if provider.kind != ProviderKind::Native {
            return Err(Error::BadValue(format!(
                "the key provider {} is a {} one, whose keys are at its servers: there is nothing to back up or restore here",
                provider.name, provider.kind
            )));
        }
        Ok(self
            .providers(&provider.vcenter)?
            .load(provider.name.as_str())?)
    }

    /// A key provider, open. No key server is asked yet.
    pub(crate) fn provider(&self, provider: &Provider) -> Result<OpenProvider> {
        Ok(match provider.kind {
            ProviderKind::Native => OpenProvider::Native(Arc::new(self.native(provider)?)),
            ProviderKind::Standard | ProviderKind::Trusted => {
                OpenProvider::Server(self.key_servers.open(provider)?)
            }
        })
    }

    /// Makes the key of a provider. One that was made but never registered is taken up.
    pub(crate) fn create_provider(&self, provider: &Provider) -> Result<()> {
        let folder = self.providers(&provider.vcenter)?;
        match folder.create(provider.name.as_str(), Flavour::Native) {
            Err(KeyProviderError::AlreadyExists { .. }) => {
                folder.load(provider.name.as_str())?;
                Ok(())
            }
            other => {
                other?;
                Ok(())
            }
        }
    }

    /// Puts the provider of a backup in place.
    pub(crate) fn restore_provider(
        &self,
        provider: &Provider,
        backup: &[u8],
        password: &str,
    ) -> Result<()> {
        let folder = self.providers(&provider.vcenter)?;
        folder.restore_bytes(backup, password, Some(provider.name.as_str()))?;
        Ok(())
    }

    /// Removes the key of a native provider that nothing needs any more. Its backups stay.
    pub(crate) fn delete_provider(&self, provider: &Provider) -> Result<()> {
        let folder = self.providers(&provider.vcenter)?;
        folder.delete(provider.name.as_str())?;
        Ok(())
    }

    /// Writes a backup of a provider into the data folder and marks it as backed up.
    pub(crate) fn back_up_provider(
        &self,
        provider: &Provider,
        password: &str,
    ) -> Result<(PathBuf, Vec<u8>)> {
        let open = self.native(provider)?;
        let folder = self.data.join("backups");
        vm_store::backend::Backend::ensure_folder(&self.backend, &folder)
            .map_err(|error| file_error(&folder, &error))?;
        let mut number = 1u32;
        let path = loop {
            let suffix = if number == 1 {
                String::new()
            } else {
                format!("-{number}")
            };
            let path = folder.join(format!(
                "{}-{}{suffix}.p12",
                provider.vcenter, provider.name
            ));
            if path.symlink_metadata().is_err() {
                break path;
            }
            number += 1;
        };
        open.backup_to_file(&self.backend, &path, password)?;
        let bytes = std::fs::read(&path).map_err(|error| file_error(&path, &error))?;
        Ok((path, bytes))
    }

    fn providers(&self, vcenter: &Name) -> Result<ProviderFolder> {
        let path = self.data.join("providers").join(vcenter.as_str());
        Ok(ProviderFolder::open(&self.backend, &path)?)
    }

    fn load_provider(&self, vcenter: &Name, name: &Name) -> Result<OpenProvider> {
        let provider = self.inventory.provider(vcenter.as_str(), name.as_str())?;
        self.provider(&provider.record)
    }

    /// The provider of a VM's key, open.
    pub(crate) fn provider_of(&self, vm: &Vm) -> Result<OpenProvider> {
        let name = vm.provider.as_ref().ok_or_else(|| Error::Tpm {
            vm: vm.name.clone(),
            reason: "the inventory names no key provider for it".to_owned(),
        })?;
        self.load_provider(&vm.vcenter, name)
    }
}

/// Checks that a provider has the very key that a file names, not another one under the same name.
fn check_key(provider: &dyn KeyProvider, locator: &KeyLocator) -> Result<()> {
    let found = provider.check_value(&locator.key_id)?;
    if found == locator.check {
        return Ok(());
    }
    Err(KeyProviderError::OtherKey {
        provider: locator.provider.clone(),
        key_id: locator.key_id.clone(),
        expected: locator.check.to_string(),
        found: found.to_string(),
    }
    .into())
}

/// The contents for a TPM's file; what else the source's file holds (the firmware's variables) comes along.
pub(crate) fn contents(tpm: TpmBytes, source: Option<&Contents>) -> Contents {
    let mut contents = Contents::of_tpm(tpm);
    if let Some(variables) = source.and_then(|source| source.get(SectionKind::UEFI_VARIABLES)) {
        contents.set(SectionKind::UEFI_VARIABLES, variables.to_vec());
    }
    contents
}

fn identity(vm: &Vm) -> Identity {
    Identity {
        vm_id: vm.id.0,
        instance_id: vm.instance_id,
    }
}

fn new_vm(vm: &Vm) -> Result<NewVm> {
    let mut new = NewVm::new(vm.folder.as_str()).map_err(StoreError::from)?;
    new.identity = identity(vm);
    for (key, value) in [
        ("displayName", vm.name.as_str()),
        ("firmware", vm.firmware.as_str()),
        (
            "virtualHW.version",
            vm.hardware_version.to_string().as_str(),
        ),
        ("guestOS", vm.guest.as_str()),
    ] {
        new = new.with(key, value)?;
    }
    Ok(new)
}

fn file_error(path: &Path, error: &std::io::Error) -> Error {
    Error::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
