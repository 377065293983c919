//! What a datastore is: a place that keeps VMs. Behind a trait, so that another kind than a folder can follow.

use crate::{
    binding::{Encryption, TpmBinding, TpmProvisioning},
    contents::Contents,
    error::{EntropyFailure, StoreError},
    identity::Identity,
    key_provider::{KeyId, KeyLocator, KeyProvider, KeyProviderLookup},
    snapshots::{SnapshotId, SnapshotInfo},
    vm_file::{self, OpenOptions, VmFile, vmx_name},
    vmx::Vmx,
};
use std::{
    fmt::Debug,
    path::{Path, PathBuf},
};

/// What a VM is to be made of.
#[derive(Debug, Clone)]
pub struct NewVm {
    /// Name in the datastore.
    pub name: String,
    /// Who it is.
    pub identity: Identity,
    /// How its TPM comes to be; for a template, what its instances get.
    pub provisioning: TpmProvisioning,
    /// What it is encrypted for.
    pub encryption: Encryption,
    settings: Vmx,
}

impl NewVm {
    /// An EFI VM with a fresh identity.
    pub fn new(name: &str) -> Result<Self, EntropyFailure> {
        let mut settings = Vmx::new();
        for (key, value) in [
            (".encoding", "UTF-8"),
            ("displayName", name),
            ("firmware", "efi"),
            ("virtualHW.version", "21"),
            ("guestOS", "other-64"),
        ] {
            settings.set(key, value);
        }
        Ok(Self {
            name: name.to_owned(),
            identity: Identity::random()?,
            provisioning: TpmProvisioning::New,
            encryption: Encryption::ForTpm,
            settings,
        })
    }

    /// A VM with the ordinary settings of another, a name and a fresh identity of its own.
    pub fn like(name: &str, source: &Vmx) -> Result<Self, EntropyFailure> {
        let mut settings = source.clone();
        TpmBinding::clear(&mut settings);
        settings.set("displayName", name);
        Ok(Self {
            name: name.to_owned(),
            identity: Identity::random()?,
            provisioning: TpmProvisioning::New,
            encryption: Encryption::ForTpm,
            settings,
        })
    }

    /// Sets an ordinary setting. Keys that are ours, or that would break the file, are refused.
    pub fn with(mut self, key: &str, value: &str) -> Result<Self, StoreError> {
        let path = PathBuf::from(vmx_name(&self.name));
        vm_file::check_changes(&path, &[(key, Some(value))])?;
        self.settings.set(key, value);
        Ok(self)
    }

    /// The ordinary settings.
    pub fn settings(&self) -> &Vmx {
        &self.settings
    }

    /// What it is encrypted for.
    #[must_use]
    pub fn encrypted(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// How its TPM comes to be.
    #[must_use]
    pub fn provisioned_by(mut self, provisioning: TpmProvisioning) -> Self {
        self.provisioning = provisioning;
        self
    }
}

/// What a VM's settings say, read without its key and so not verified.
#[derive(Debug, Clone)]
pub struct VmDescription {
    /// Name in the datastore.
    pub name: String,
    /// Who it is.
    pub identity: Identity,
    /// What ties it to its data key, if it is encrypted.
    pub binding: Option<TpmBinding>,
    /// All settings.
    pub settings: Vmx,
}

impl VmDescription {
    /// The key that the VM needs.
    pub fn locator(&self) -> Option<&KeyLocator> {
        self.binding.as_ref().map(|binding| &binding.locator)
    }

    /// What ties it to its TPM, if it has one.
    pub fn tpm(&self) -> Option<&TpmBinding> {
        self.binding
            .as_ref()
            .filter(|binding| binding.encryption.has_tpm())
    }
}

/// What deleting left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Names in the VM's folder that are not ours (disks), still there; empty if the folder is gone.
    pub left: Vec<String>,
}

/// A place that keeps VMs.
pub trait Datastore: Debug + Send + Sync {
    /// Where it is, for messages.
    fn location(&self) -> &Path;

    /// The names of all VMs, sorted.
    fn list(&self) -> Result<Vec<String>, StoreError>;

    /// Whether there is a VM of that name.
    fn contains(&self, name: &str) -> Result<bool, StoreError>;

    /// What the VM's settings say. Needs no key and no lock.
    fn describe(&self, name: &str) -> Result<VmDescription, StoreError>;

    /// Makes an encrypted VM, usually with a TPM: fresh data key, wrapped by `provider` under `key_id`. All of it is there, or nothing.
    fn create(
        &self,
        vm: &NewVm,
        contents: &Contents,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<VmFile, StoreError>;

    /// Makes a VM without a TPM: settings only, nothing encrypted.
    fn create_plain(&self, vm: &NewVm) -> Result<(), StoreError>;

    /// Opens a VM and gives what its `.nvram` holds.
    fn open(
        &self,
        name: &str,
        providers: &dyn KeyProviderLookup,
        options: &OpenOptions,
    ) -> Result<(VmFile, Contents), StoreError>;

    /// Gives a VM that is not encrypted, and has no snapshots, a TPM. One that is encrypted for itself gets it while it is open
    /// ([`VmFile::change_tpm`]).
    fn add_tpm(
        &self,
        name: &str,
        provisioning: TpmProvisioning,
        contents: &Contents,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<VmFile, StoreError>;

    /// Encrypts a VM that has no TPM and no snapshots.
    fn encrypt(
        &self,
        name: &str,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<(), StoreError>;

    /// Ends the encryption of a VM that has no TPM and no snapshots.
    fn decrypt(&self, name: &str) -> Result<(), StoreError>;

    /// What the files of a VM's snapshots say, read without its key and so not verified.
    fn snapshots(&self, name: &str) -> Result<Vec<SnapshotInfo>, StoreError>;

    /// Removes the file of a snapshot, whether the VM is open or not; false if there is none.
    fn remove_snapshot(&self, name: &str, id: SnapshotId) -> Result<bool, StoreError>;

    /// Takes the TPM, and with it the encryption, from a VM without snapshots; what it held is gone for good. One that is encrypted
    /// for itself loses it while it is open ([`VmFile::change_tpm`]).
    fn remove_tpm(&self, name: &str) -> Result<(), StoreError>;

    /// Changes ordinary settings of a VM that is not open. `None` removes a key.
    fn edit(&self, name: &str, changes: &[(&str, Option<&str>)]) -> Result<(), StoreError>;

    /// Removes a VM that is not open. Files that are not ours stay.
    fn delete(&self, name: &str) -> Result<Deleted, StoreError>;

    /// Copies a VM that is not open, TPM and all, to a new VM here: other ids, another data key, wrapped under the same
    /// key of the same provider. For a running VM: `create` with its contents.
    fn copy(
        &self,
        source: &str,
        vm: &NewVm,
        providers: &dyn KeyProviderLookup,
        options: &OpenOptions,
    ) -> Result<VmFile, StoreError> {
        let (file, contents) = self.open(source, providers, options)?;
        let locator = &file.binding().locator;
        let path = file.path().join(vmx_name(source));
        let provider =
            providers
                .find(&locator.provider)
                .ok_or_else(|| StoreError::NoSuchProvider {
                    path,
                    provider: locator.provider.clone(),
                    key_id: locator.key_id.clone(),
                    registered: providers.names().join(", "),
                })?;
        self.create(vm, &contents, &*provider, &locator.key_id)
    }
}
