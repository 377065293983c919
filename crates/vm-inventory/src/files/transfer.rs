//! Files of VMs that are copied or moved as a whole: disks byte for byte, settings of devices, and the key of another vCenter.

use super::{Files, file_error};
use crate::model::{Datastore, Vm};
use crate::operation::TpmBytes;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use uuid::Uuid;
use vm_store::backend::{Backend as _, BackendFile, Folder};
use vm_store::{Datastore as _, KeyId, VmDescription, key_provider};

/// What is copied at once.
const CHUNK: usize = 1 << 20;

/// Endings of files that are the VM's state or passing, not its disks.
const NOT_DISKS: [&str; 9] = [
    ".vmx", ".nvram", ".vmsn", ".vmsd", ".vmem", ".vswp", ".vmss", ".lock", ".lck",
];

/// Settings of these devices go with the disks.
const DEVICES: [&str; 10] = [
    "scsi",
    "sata",
    "nvme",
    "ide",
    "floppy",
    "ethernet",
    "usb",
    "numvcpus",
    "memSize",
    "uefi.secureBoot.",
];

/// A file of a VM that is opaque to us.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// Its name in the VM's folder.
    pub file: String,
    /// Its length.
    pub bytes: u64,
}

impl Files {
    /// The disks of a VM.
    pub(crate) fn disks(&self, vm: &Vm, datastore: &Datastore) -> Result<Vec<Disk>> {
        let folder = self.vm_folder(vm, datastore)?;
        let mut disks = Vec::new();
        for file in disk_names(&*folder)? {
            let bytes = folder
                .open_read_only(&file)
                .and_then(|open| open.size())
                .map_err(|error| file_error(&folder.path().join(&file), &error))?;
            disks.push(Disk { file, bytes });
        }
        Ok(disks)
    }

    /// Opens one of the disks of a VM for reading.
    pub(crate) fn open_disk(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        file: &str,
    ) -> Result<Box<dyn BackendFile>> {
        let folder = self.vm_folder(vm, datastore)?;
        folder
            .open_read_only(file)
            .map_err(|error| file_error(&folder.path().join(file), &error))
    }

    /// Copies the disks of `source`, and the settings of its devices, to the VM that was just made.
    pub(crate) fn copy_disks(
        &self,
        source: &Vm,
        source_datastore: &Datastore,
        vm: &Vm,
        datastore: &Datastore,
    ) -> Result<()> {
        let from = self.vm_folder(source, source_datastore)?;
        let to = self.vm_folder(vm, datastore)?;
        for file in disk_names(&*from)? {
            copy_file(&*from, &file, &*to, &file)?;
        }
        to.sync().map_err(|error| file_error(to.path(), &error))?;
        let settings = self.device_settings(source, source_datastore)?;
        let devices: Vec<(&str, Option<&str>)> = settings
            .iter()
            .map(|(key, value)| (key.as_str(), Some(value.as_str())))
            .collect();
        if !devices.is_empty() {
            self.datastore(datastore)?
                .edit(vm.folder.as_str(), &devices)?;
        }
        Ok(())
    }

    /// Copies a VM as it is, keys and all, into another datastore. Snapshots stay behind.
    pub(crate) fn carry(
        &self,
        source: &Vm,
        source_datastore: &Datastore,
        vm: &Vm,
        datastore: &Datastore,
    ) -> Result<()> {
        let description = self.description(source, source_datastore)?;
        let from = self.vm_folder(source, source_datastore)?;
        let location = self.location(datastore)?;
        // A folder of that kind is removed by the next owner of the datastore, should this process end now.
        let temporary = format!(".new-{}", Uuid::new_v4().simple());
        let to = location
            .create_folder(&temporary)
            .map_err(|error| file_error(&location.path().join(&temporary), &error))?;
        let filled = (|| {
            if let Some(binding) = &description.binding {
                copy_file(&*from, &binding.nvram, &*to, &binding.nvram)?;
            }
            for file in disk_names(&*from)? {
                copy_file(&*from, &file, &*to, &file)?;
            }
            let settings = |vm: &Vm| format!("{}.vmx", vm.folder);
            copy_file(&*from, &settings(source), &*to, &settings(vm))?;
            to.create("vm.lock")
                .and_then(|_| to.sync())
                .and_then(|()| location.rename_new(&temporary, vm.folder.as_str()))
                .and_then(|()| location.sync())
                .map_err(|error| file_error(&location.path().join(vm.folder.as_str()), &error))
        })();
        if filled.is_err() {
            // What cannot be removed now is removed by the next owner.
            let _ = empty_and_remove(&*location, &temporary);
        }
        filled
    }

    /// Removes a VM's folder with everything in it, disks included. A folder that holds another VM, or none, is not touched.
    pub(crate) fn remove_whole(&self, vm: &Vm, datastore: &Datastore) -> Result<()> {
        if !self.holds(vm, datastore)? {
            return Ok(());
        }
        let folder = self.vm_folder(vm, datastore)?;
        let path = folder.path().to_path_buf();
        let entries = folder
            .entries()
            .map_err(|error| file_error(&path, &error))?;
        if entries.iter().any(|entry| entry.is_folder) {
            // Nothing of ours makes folders there: what is not a VM's stays.
            return self.delete(vm, datastore);
        }
        let location = self.location(datastore)?;
        let hidden = format!(".deleted-{}", Uuid::new_v4().simple());
        location
            .rename_new(vm.folder.as_str(), &hidden)
            .and_then(|()| location.sync())
            .and_then(|()| empty_and_remove(&*location, &hidden))
            .map_err(|error| file_error(&path, &error))
    }

    /// Tries whether the vCenter `target` can open the VM: its provider of the same name has the same key. Writes nothing.
    pub(crate) fn trial_unwrap(&self, vm: &Vm, datastore: &Datastore, target: &Name) -> Result<()> {
        let Some(binding) = self.description(vm, datastore)?.binding else {
            return Ok(());
        };
        let mut there = vm.clone();
        there.vcenter = target.clone();
        let provider = self.provider_of(&there)?;
        key_provider::unwrap_located(&provider, &binding.locator, &binding.wrapped)?;
        Ok(())
    }

    /// Encrypts a VM for itself, under a key of its provider.
    pub(crate) fn encrypt(&self, vm: &Vm, datastore: &Datastore, key_id: &KeyId) -> Result<()> {
        let held = self.provider_of(vm)?.hold(key_id)?;
        self.datastore(datastore)?
            .encrypt(vm.folder.as_str(), &*held, key_id)?;
        Ok(())
    }

    /// Ends that.
    pub(crate) fn decrypt(&self, vm: &Vm, datastore: &Datastore) -> Result<()> {
        self.datastore(datastore)?.decrypt(vm.folder.as_str())?;
        Ok(())
    }

    /// Gives a VM that is encrypted for itself a TPM, or takes it away, under the key that it has.
    pub(crate) fn change_tpm(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        floor: u64,
        state: Option<TpmBytes>,
    ) -> Result<u64> {
        let (file, _) = self.open(vm, datastore, Some(floor))?;
        let held = self.provider_of(vm)?.hold(&file.binding().locator.key_id)?;
        let state = state.map(|state| (vm_store::TpmProvisioning::New, state));
        Ok(file.change_tpm(state, &*held)?.generation())
    }

    /// Whether the files of a VM say that it has a TPM.
    pub(crate) fn has_tpm(&self, vm: &Vm, datastore: &Datastore) -> Result<bool> {
        Ok(self.description(vm, datastore)?.tpm().is_some())
    }

    /// Gives a VM without a TPM one, under a new key of its provider.
    pub(crate) fn add_tpm(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        contents: &vm_store::Contents,
    ) -> Result<()> {
        let provider = self.provider_of(vm)?;
        let key_id = vm_store::KeyProvider::new_key(&provider)?;
        self.datastore(datastore)?.add_tpm(
            vm.folder.as_str(),
            vm_store::TpmProvisioning::New,
            contents,
            &provider,
            &key_id,
        )?;
        Ok(())
    }

    /// Takes the TPM from a VM, if its files have one.
    pub(crate) fn remove_tpm(&self, vm: &Vm, datastore: &Datastore) -> Result<()> {
        if self.description(vm, datastore)?.tpm().is_some() {
            self.datastore(datastore)?.remove_tpm(vm.folder.as_str())?;
        }
        Ok(())
    }

    /// The settings of a VM's devices.
    pub(crate) fn device_settings(
        &self,
        vm: &Vm,
        datastore: &Datastore,
    ) -> Result<BTreeMap<String, String>> {
        let description = self.description(vm, datastore)?;
        let devices = description
            .settings
            .pairs()
            .filter(|(key, _)| is_of_a_device(key));
        Ok(devices
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect())
    }

    fn description(&self, vm: &Vm, datastore: &Datastore) -> Result<VmDescription> {
        Ok(self.datastore(datastore)?.describe(vm.folder.as_str())?)
    }

    pub(super) fn location(&self, datastore: &Datastore) -> Result<Arc<dyn Folder>> {
        let path = self.datastore(datastore)?.location().to_path_buf();
        self.backend
            .open_folder(&path)
            .map_err(|error| file_error(&path, &error))
    }

    pub(super) fn vm_folder(&self, vm: &Vm, datastore: &Datastore) -> Result<Arc<dyn Folder>> {
        let location = self.location(datastore)?;
        location
            .open_folder(vm.folder.as_str())
            .map_err(|error| file_error(&location.path().join(vm.folder.as_str()), &error))
    }
}

fn is_of_a_device(key: &str) -> bool {
    DEVICES.iter().any(|device| key.starts_with(device))
}

fn disk_names(folder: &dyn Folder) -> Result<Vec<String>> {
    let entries = folder
        .entries()
        .map_err(|error| file_error(folder.path(), &error))?;
    Ok(entries
        .into_iter()
        .filter(|entry| !entry.is_folder && !entry.name.starts_with('.') && !is_state(&entry.name))
        .map(|entry| entry.name)
        .collect())
}

/// Copies one file and brings it to stable storage.
pub(super) fn copy_file(
    from: &dyn Folder,
    name: &str,
    to: &dyn Folder,
    new_name: &str,
) -> Result<()> {
    let reading = |error: io::Error| file_error(&from.path().join(name), &error);
    let writing = |error: io::Error| file_error(&to.path().join(new_name), &error);
    let source = from.open_read_only(name).map_err(reading)?;
    let size = source.size().map_err(reading)?;
    let target = to.create(new_name).map_err(writing)?;
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0u64;
    while offset < size {
        let wanted = usize::try_from(size - offset).unwrap_or(CHUNK).min(CHUNK);
        let Some(part) = buffer.get_mut(..wanted) else {
            break;
        };
        source.read_exact_at(part, offset).map_err(reading)?;
        target.write_all_at(part, offset).map_err(writing)?;
        offset += wanted as u64;
    }
    target.sync_all().map_err(writing)
}

pub(super) fn empty_and_remove(location: &dyn Folder, name: &str) -> io::Result<()> {
    let folder = location.open_folder(name)?;
    for entry in folder.entries()? {
        folder.remove_file(&entry.name)?;
    }
    location.remove_folder(name)
}

/// Whether a file is a VM's state rather than a disk, by its name.
pub(crate) fn is_state(name: &str) -> bool {
    NOT_DISKS.iter().any(|ending| name.ends_with(ending))
}

/// Whether the error says that the key behind a provider's name is another one.
pub(crate) fn is_other_key(error: &Error) -> bool {
    matches!(error, Error::KeyProvider(inner) if matches!(**inner, vm_store::KeyProviderError::OtherKey { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_locks_are_no_disks() {
        let folder = tempfile::tempdir().unwrap();
        for file in [
            "a.vmx", "a.nvram", "vm.lock", "a.vmsn", ".tmp", "a.vmdk", "seed.iso",
        ] {
            std::fs::write(folder.path().join(file), b"x").unwrap();
        }
        let open = vm_store::LinuxBackend.open_folder(folder.path()).unwrap();
        assert_eq!(disk_names(&*open).unwrap(), ["a.vmdk", "seed.iso"]);
    }

    #[test]
    fn a_file_of_several_chunks_is_copied_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..=250).cycle().take(CHUNK * 2 + 77).collect();
        std::fs::write(folder.path().join("a.vmdk"), &bytes).unwrap();
        let open = vm_store::LinuxBackend.open_folder(folder.path()).unwrap();
        copy_file(&*open, "a.vmdk", &*open, "b.vmdk").unwrap();
        assert!(std::fs::read(folder.path().join("b.vmdk")).unwrap() == bytes);
        assert!(copy_file(&*open, "a.vmdk", &*open, "b.vmdk").is_err());
    }
}
