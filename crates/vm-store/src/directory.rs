//! The datastore in a folder: a folder for each VM.

use crate::{
    backend::{Backend, BackendFile, Folder},
    binding::{self, Encryption, TpmBinding, TpmProvisioning},
    contents::Contents,
    datastore::{Datastore, Deleted, NewVm, VmDescription},
    error::StoreError,
    identity::Identity,
    key_provider::{self, KeyId, KeyProvider, KeyProviderLookup},
    name::check_name,
    nvram::{self, IfPresent, Nvram, Unplaced},
    offline,
    seal::{self, DataKey},
    snapshots::{self, SnapshotId, SnapshotInfo},
    vm_file::{self, LOCK_NAME, OpenOptions, Parts, VmFile, vmx_name},
};
use std::{io, path::Path, sync::Arc};

/// A datastore in a folder.
#[derive(Debug)]
pub struct FolderDatastore {
    folder: Arc<dyn Folder>,
    claim: Option<Box<dyn BackendFile>>,
}

impl FolderDatastore {
    /// Opens a datastore beside others that may use it: each VM has its own lock.
    pub fn open(backend: &dyn Backend, path: &Path) -> Result<Self, StoreError> {
        let folder = backend
            .ensure_folder(path)
            .map_err(StoreError::io("open the datastore", path))?;
        Ok(Self {
            folder,
            claim: None,
        })
    }

    /// Opens a datastore for this process alone, and removes what interrupted operations left in it.
    pub fn claim(backend: &dyn Backend, path: &Path) -> Result<Self, StoreError> {
        let mut datastore = Self::open(backend, path)?;
        datastore.claim = Some(vm_file::lock_file(&*datastore.folder, DATASTORE_LOCK)?);
        datastore.remove_leftovers()?;
        Ok(datastore)
    }

    /// Whether this process has the datastore for itself.
    pub fn is_claimed(&self) -> bool {
        self.claim.is_some()
    }

    pub(crate) fn folder(&self) -> &Arc<dyn Folder> {
        &self.folder
    }

    fn remove_leftovers(&self) -> Result<(), StoreError> {
        let entries = self
            .folder
            .entries()
            .map_err(StoreError::io("list", self.location()))?;
        for entry in entries {
            let ours = entry.name.starts_with(NEW) || entry.name.starts_with(DELETED);
            if ours && entry.is_folder {
                self.remove_folder(&entry.name)?;
            } else if !entry.is_folder && nvram::is_temporary(&entry.name) {
                let path = self.location().join(&entry.name);
                self.folder
                    .remove_file(&entry.name)
                    .map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes a folder of ours and the files in it.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<(), StoreError> {
        let path = self.location().join(name);
        let folder = self
            .folder
            .open_folder(name)
            .map_err(StoreError::io("open", &path))?;
        for entry in folder.entries().map_err(StoreError::io("list", &path))? {
            folder
                .remove_file(&entry.name)
                .map_err(StoreError::io("remove", &path.join(&entry.name)))?;
        }
        self.folder
            .remove_folder(name)
            .map_err(StoreError::io("remove", &path))
    }

    fn vm_folder(&self, name: &str) -> Result<Arc<dyn Folder>, StoreError> {
        check_vm_name(name)?;
        self.folder.open_folder(name).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return StoreError::NoSuchVm {
                    name: name.to_owned(),
                    datastore: self.location().to_path_buf(),
                };
            }
            StoreError::io("open", &self.location().join(name))(error)
        })
    }

    /// Makes a VM's folder under a temporary name, lets `fill` put synced files in, and gives it its name. The lock of the VM is
    /// taken before anybody can see it.
    ///
    /// A file system makes the names of files durable together: those that are new come first, then the syncs, the first of which
    /// does the work of all.
    fn build<T>(
        &self,
        name: &str,
        fill: impl FnOnce(&Arc<dyn Folder>) -> Result<T, StoreError>,
    ) -> Result<Built<T>, StoreError> {
        check_vm_name(name)?;
        let path = self.location().join(name);
        // Looked at first only to spare the work; the rename decides.
        if self.folder.open_folder(name).is_ok() {
            return Err(StoreError::AlreadyExists { path });
        }
        let random: [u8; 8] = seal::random()?;
        let temporary = format!("{NEW}{}", hex::encode(random));
        let folder = self
            .folder
            .create_folder(&temporary)
            .map_err(StoreError::io("create", &self.location().join(&temporary)))?;
        let filled = vm_file::take_lock(&*folder).and_then(|lock| {
            let filled = fill(&folder)?;
            folder
                .sync()
                .map_err(StoreError::io("write", folder.path()))?;
            self.folder
                .rename_new(&temporary, name)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                        StoreError::AlreadyExists { path: path.clone() }
                    }
                    _ => StoreError::io("create", &path)(error),
                })?;
            Ok((lock, filled))
        });
        let (lock, filled) = filled.inspect_err(|_| {
            // What cannot be removed now is removed by the next owner of the datastore.
            let _ = self.remove_folder(&temporary);
        })?;
        self.folder
            .sync()
            .map_err(StoreError::io("sync", self.location()))?;
        Ok(Built {
            folder: self.vm_folder(name)?,
            lock,
            filled,
        })
    }

    /// Makes a VM; the file of its key provider, if that is as new, is in place when the VM is.
    pub(crate) fn create_with(
        &self,
        vm: &NewVm,
        contents: &Contents,
        (provider, key_id): (&dyn KeyProvider, &KeyId),
        beside: Option<Unplaced<'_>>,
    ) -> Result<VmFile, StoreError> {
        check_vm_name(&vm.name)?;
        let (binding, key) = self.bind(
            &vm.name,
            (vm.identity, vm.encryption),
            vm.provisioning,
            nvram_name(&vm.name, 0),
            provider,
            key_id,
        )?;
        let mut settings = vm.settings().clone();
        binding.write(&mut settings, &key);
        let built = self.build(&vm.name, |folder| {
            let settings = vm_file::begin_first_settings(&**folder, &vm.name, &settings)?;
            let nvram = Nvram::write(
                folder,
                &binding.nvram,
                &key,
                &vm.identity,
                contents,
                FIRST_GENERATION,
            )?;
            nvram.sync_new()?;
            settings
                .sync_all()
                .map_err(StoreError::io("write", folder.path()))?;
            if let Some(file) = beside {
                // Names in one folder become durable in their order, and that of the VM comes last.
                file.sync()?;
                file.place(IfPresent::Refuse)?;
            }
            Ok(nvram)
        })?;
        let Built {
            folder,
            lock,
            filled,
        } = built;
        let parts = Parts {
            lock,
            settings,
            binding,
            key,
        };
        let nvram = filled.moved_to(Arc::clone(&folder));
        Ok(VmFile::just_made(folder, &vm.name, parts, nvram))
    }

    /// A data key, wrapped, and the binding that goes with it.
    fn bind(
        &self,
        name: &str,
        (identity, encryption): (Identity, Encryption),
        provisioning: TpmProvisioning,
        nvram: String,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<(TpmBinding, DataKey), StoreError> {
        let path = self.location().join(name).join(vmx_name(name));
        let key = DataKey::generate()?;
        let (locator, wrapped) = key_provider::wrap_located(provider, key_id, &key)
            .map_err(StoreError::provider(&path))?;
        let binding = TpmBinding {
            encryption,
            identity,
            nvram,
            provisioning,
            generation_floor: FIRST_GENERATION,
            locator,
            wrapped,
        };
        Ok((binding, key))
    }

    /// Gives a VM that is not encrypted a data key and an `.nvram`.
    fn bind_plain(
        &self,
        name: &str,
        (encryption, provisioning): (Encryption, TpmProvisioning),
        contents: &Contents,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<DataKey, StoreError> {
        let folder = self.vm_folder(name)?;
        let _lock = vm_file::take_lock(&*folder)?;
        let description = self.describe(name)?;
        if description.binding.is_some() {
            return Err(StoreError::HasTpm {
                path: folder.path().join(vmx_name(name)),
            });
        }
        // A file that has the name already is never written over, whatever it is.
        let entries = folder
            .entries()
            .map_err(StoreError::io("list", folder.path()))?;
        let free = (0u32..)
            .map(|number| nvram_name(name, number))
            .find(|candidate| entries.iter().all(|entry| entry.name != *candidate));
        let nvram = free.unwrap_or_else(|| nvram_name(name, 0));
        refuse_with_snapshots(&*folder)?;
        let (binding, key) = self.bind(
            name,
            (description.identity, encryption),
            provisioning,
            nvram,
            provider,
            key_id,
        )?;
        Nvram::create(
            &folder,
            &binding.nvram,
            &key,
            &binding.identity,
            contents,
            FIRST_GENERATION,
        )?;
        folder
            .sync()
            .map_err(StoreError::io("sync", folder.path()))?;
        let mut settings = description.settings;
        binding.write(&mut settings, &key);
        vm_file::write_settings(&*folder, name, &settings)?;
        Ok(key)
    }

    /// Ends the encryption of a VM that is encrypted for this; what its `.nvram` held is gone for good.
    fn unbind(&self, name: &str, encryption: Encryption) -> Result<(), StoreError> {
        let folder = self.vm_folder(name)?;
        let _lock = vm_file::take_lock(&*folder)?;
        let description = self.describe(name)?;
        let binding = description
            .binding
            .filter(|binding| binding.encryption == encryption)
            .ok_or_else(|| StoreError::NoTpm {
                path: folder.path().join(vmx_name(name)),
            })?;
        refuse_with_snapshots(&*folder)?;
        let mut settings = description.settings;
        TpmBinding::clear(&mut settings);
        vm_file::write_settings(&*folder, name, &settings)?;
        let path = folder.path().join(&binding.nvram);
        match folder
            .remove_file(&binding.nvram)
            .and_then(|()| folder.sync())
        {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }
}

impl Datastore for FolderDatastore {
    fn location(&self) -> &Path {
        self.folder.path()
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let entries = self
            .folder
            .entries()
            .map_err(StoreError::io("list", self.location()))?;
        let mut names = Vec::new();
        for entry in entries {
            if entry.is_folder && check_name(&entry.name).is_ok() && self.contains(&entry.name)? {
                names.push(entry.name);
            }
        }
        Ok(names)
    }

    fn contains(&self, name: &str) -> Result<bool, StoreError> {
        let folder = match self.vm_folder(name) {
            Ok(folder) => folder,
            Err(StoreError::NoSuchVm { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match folder.open_read_only(&vmx_name(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // Settings that cannot be opened are those of a VM in trouble, which has to be listed.
            _ => Ok(true),
        }
    }

    fn describe(&self, name: &str) -> Result<VmDescription, StoreError> {
        let folder = self.vm_folder(name)?;
        let (settings, path) = vm_file::read_settings(&*folder, name)?;
        let binding = TpmBinding::read(&settings, &path)?;
        let identity = binding::read_identity(&settings).map_err(|key| {
            StoreError::damaged(&path, format!("the key {key} is missing or not a UUID"))
        })?;
        Ok(VmDescription {
            name: name.to_owned(),
            identity,
            binding,
            settings,
        })
    }

    fn create(
        &self,
        vm: &NewVm,
        contents: &Contents,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<VmFile, StoreError> {
        self.create_with(vm, contents, (provider, key_id), None)
    }

    fn create_plain(&self, vm: &NewVm) -> Result<(), StoreError> {
        self.build(&vm.name, |folder| {
            let mut settings = vm.settings().clone();
            binding::write_identity(&mut settings, &vm.identity);
            TpmBinding::clear(&mut settings);
            vm_file::begin_first_settings(&**folder, &vm.name, &settings)?
                .sync_all()
                .map_err(StoreError::io("write", folder.path()))
        })?;
        Ok(())
    }

    fn open(
        &self,
        name: &str,
        providers: &dyn KeyProviderLookup,
        options: &OpenOptions,
    ) -> Result<(VmFile, Contents), StoreError> {
        VmFile::open(self.vm_folder(name)?, name, providers, options)
    }

    fn add_tpm(
        &self,
        name: &str,
        provisioning: TpmProvisioning,
        contents: &Contents,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<VmFile, StoreError> {
        let folder = self.vm_folder(name)?;
        let key = self.bind_plain(
            name,
            (Encryption::ForTpm, provisioning),
            contents,
            provider,
            key_id,
        )?;
        VmFile::open_with_key(folder, name, key)
    }

    fn remove_tpm(&self, name: &str) -> Result<(), StoreError> {
        self.unbind(name, Encryption::ForTpm)
    }

    fn encrypt(
        &self,
        name: &str,
        provider: &dyn KeyProvider,
        key_id: &KeyId,
    ) -> Result<(), StoreError> {
        let encryption = Encryption::OfVm { tpm: false };
        self.bind_plain(
            name,
            (encryption, TpmProvisioning::New),
            &Contents::new(),
            provider,
            key_id,
        )?;
        Ok(())
    }

    fn decrypt(&self, name: &str) -> Result<(), StoreError> {
        self.unbind(name, Encryption::OfVm { tpm: false })
    }

    fn snapshots(&self, name: &str) -> Result<Vec<SnapshotInfo>, StoreError> {
        let folder = self.vm_folder(name)?;
        snapshots::ids(&*folder)?
            .into_iter()
            .map(|id| {
                let file = snapshots::file_name(id);
                let bytes = snapshots::read_file(&*folder, &file)?;
                Ok(snapshots::glance(&folder.path().join(file), &bytes)?.info)
            })
            .collect()
    }

    fn remove_snapshot(&self, name: &str, id: SnapshotId) -> Result<bool, StoreError> {
        let folder = self.vm_folder(name)?;
        let file = snapshots::file_name(id);
        let path = folder.path().join(&file);
        match folder.remove_file(&file).and_then(|()| folder.sync()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", &path)(error)),
        }
    }

    fn edit(&self, name: &str, changes: &[(&str, Option<&str>)]) -> Result<(), StoreError> {
        let folder = self.vm_folder(name)?;
        let _lock = vm_file::take_lock(&*folder)?;
        let (mut settings, path) = vm_file::read_settings(&*folder, name)?;
        vm_file::check_changes(&path, changes)?;
        vm_file::apply(&mut settings, changes);
        vm_file::write_settings(&*folder, name, &settings)
    }

    fn delete(&self, name: &str) -> Result<Deleted, StoreError> {
        let folder = self.vm_folder(name)?;
        let lock = vm_file::take_lock(&*folder)?;
        let path = folder.path().to_path_buf();
        let entries = folder.entries().map_err(StoreError::io("list", &path))?;
        let (ours, foreign): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| !entry.is_folder && is_ours(name, &entry.name));
        if foreign.is_empty() {
            let random: [u8; 8] = seal::random()?;
            let hidden = format!("{DELETED}{}", hex::encode(random));
            self.folder
                .rename_new(name, &hidden)
                .and_then(|()| self.folder.sync())
                .map_err(StoreError::io("remove", &path))?;
            drop(lock);
            self.remove_folder(&hidden)?;
            return Ok(Deleted::default());
        }
        // Without its settings it is no VM any more, so they go first.
        let settings = vmx_name(name);
        let rest = ours.iter().filter(|entry| entry.name != settings);
        for victim in
            std::iter::once(settings.as_str()).chain(rest.map(|entry| entry.name.as_str()))
        {
            match folder.remove_file(victim).and_then(|()| folder.sync()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("remove", &path.join(victim))(error));
                }
                _ => {}
            }
        }
        Ok(Deleted {
            left: foreign.into_iter().map(|entry| entry.name).collect(),
        })
    }
}

/// The folder of a new VM, which is locked.
struct Built<T> {
    folder: Arc<dyn Folder>,
    lock: Box<dyn BackendFile>,
    filled: T,
}

fn check_vm_name(name: &str) -> Result<(), StoreError> {
    check_name(name).map_err(|rule| StoreError::InvalidName {
        what: "VM",
        name: name.to_owned(),
        rule,
    })
}

fn nvram_name(name: &str, number: u32) -> String {
    match number {
        0 => format!("{name}.nvram"),
        _ => format!("{name}-{number}.nvram"),
    }
}

/// Whether a file in a VM's folder is one that we made.
fn is_ours(vm: &str, file: &str) -> bool {
    let numbered_nvram = || {
        let number = file
            .strip_prefix(vm)?
            .strip_prefix('-')?
            .strip_suffix(".nvram")?;
        number.parse::<u32>().ok()
    };
    let file = nvram::next_of(file).unwrap_or(file);
    let rescued_from = |nvram: &str| offline::is_kept_copy(nvram, file);
    file == vmx_name(vm)
        || file == nvram_name(vm, 0)
        || file == LOCK_NAME
        || nvram::is_temporary(file)
        || numbered_nvram().is_some()
        || snapshots::id_of_file(file).is_some()
        || rescued_from(&nvram_name(vm, 0))
}

/// Snapshots need the VM's data key, so that no TPM comes or goes while there are any.
pub(crate) fn refuse_with_snapshots(folder: &dyn Folder) -> Result<(), StoreError> {
    match snapshots::ids(folder)?.len() {
        0 => Ok(()),
        count => Err(StoreError::HasSnapshots {
            path: folder.path().to_path_buf(),
            count,
        }),
    }
}

const FIRST_GENERATION: u64 = 1;
pub(crate) const DATASTORE_LOCK: &str = ".lock";
const NEW: &str = ".new-";
const DELETED: &str = ".deleted-";
