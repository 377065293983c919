//! A VM's files while it is open: settings, data key and `.nvram` under one lock.

use crate::{
    backend::{BackendFile, Folder},
    binding::{self, Encryption, TpmBinding, TpmProvisioning},
    contents::{Contents, SectionKind},
    directory,
    error::StoreError,
    identity::Identity,
    key_provider::{self, KeyId, KeyProvider, KeyProviderLookup},
    nvram::{self, IfPresent, Nvram, OpenReport, Progress, Unflushed},
    seal::DataKey,
    snapshots::{self, NewSnapshot, SnapshotId, SnapshotInfo},
    vmx::{self, Vmx},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// File whose lock says that a VM is open.
pub(crate) const LOCK_NAME: &str = "vm.lock";

/// How strictly to open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// The highest generation that the caller knows to be acknowledged; an older state is refused.
    pub minimum_generation: Option<u64>,
    /// Take an older state all the same. The floor in `.vmx` is lowered to it.
    pub accept_rollback: bool,
    /// Take the best complete state although a newer one may be lost to damage.
    pub rescue_older_slot: bool,
}

/// An open VM that is encrypted, usually for its TPM. Dropping it gives the lock back.
#[derive(Debug)]
pub struct VmFile {
    name: String,
    folder: Arc<dyn Folder>,
    settings: Vmx,
    binding: TpmBinding,
    key: DataKey,
    nvram: Nvram,
    report: OpenReport,
    _lock: Box<dyn BackendFile>,
}

impl VmFile {
    /// The VM's name in its datastore.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The VM's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Who the VM is.
    pub fn identity(&self) -> Identity {
        self.binding.identity
    }

    /// The generation of the last acknowledged save; for the inventory to keep.
    pub fn generation(&self) -> u64 {
        self.nvram.acknowledged()
    }

    /// The authenticated settings.
    pub fn binding(&self) -> &TpmBinding {
        &self.binding
    }

    /// All settings, as they were when last read or written.
    pub fn settings(&self) -> &Vmx {
        &self.settings
    }

    /// What opening found out.
    pub fn report(&self) -> OpenReport {
        self.report
    }

    /// Saves the whole contents. When this returns a generation, it is on stable storage; on an error the state before
    /// stays, in the file and for the next try.
    pub fn save(&mut self, contents: &Contents) -> Result<u64, StoreError> {
        self.nvram.save(contents)
    }

    /// Saves the whole contents as far as can be done without a sync that other VMs could share.
    pub(crate) fn begin_save(&mut self, contents: &Contents) -> Result<Progress, StoreError> {
        self.nvram.begin_save(contents)
    }

    /// The sync that a save and others waited for.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        self.nvram.flush()
    }

    /// What the sync of this or another file brought to stable storage counts.
    pub(crate) fn complete_save(&mut self, save: Unflushed) -> Result<u64, StoreError> {
        self.nvram.complete(save)
    }

    /// The sync failed: the state before stays.
    pub(crate) fn abandon_save(&mut self, save: Unflushed) {
        self.nvram.abandon(save);
    }

    /// Changes ordinary settings, and keeps what others edited meanwhile. `None` removes a key.
    pub fn edit(&mut self, changes: &[(&str, Option<&str>)]) -> Result<(), StoreError> {
        let path = self.vmx_path();
        check_changes(&path, changes)?;
        self.rewrite(|settings| apply(settings, changes))
    }

    /// Wraps the data key under another key (shallow re-key). The TPM's state is not touched.
    pub fn rewrap(&mut self, provider: &dyn KeyProvider, key_id: &KeyId) -> Result<(), StoreError> {
        let path = self.vmx_path();
        let (locator, wrapped) = key_provider::wrap_located(provider, key_id, &self.key)
            .map_err(StoreError::provider(&path))?;
        let before = self.binding.clone();
        self.binding.locator = locator;
        self.binding.wrapped = wrapped;
        let result = self.raise_floor();
        if result.is_err() {
            self.binding = before;
        }
        result
    }

    /// Keeps contents, those of this generation, as a snapshot, which is on stable storage when this returns. The state of the VM
    /// itself is not touched.
    pub fn take_snapshot(
        &self,
        snapshot: NewSnapshot,
        contents: &Contents,
        generation: u64,
    ) -> Result<SnapshotInfo, StoreError> {
        let info = SnapshotInfo {
            snapshot,
            identity: self.binding.identity,
            generation,
            powered_on: contents.get(SectionKind::TPM_VOLATILE).is_some(),
        };
        snapshots::put(&*self.folder, &info, contents, &self.key)?;
        Ok(info)
    }

    /// What a snapshot of this VM holds.
    pub fn snapshot(&self, id: SnapshotId) -> Result<(SnapshotInfo, Contents), StoreError> {
        let name = snapshots::file_name(id);
        let bytes = snapshots::read_file(&*self.folder, &name)?;
        let path = self.folder.path().join(name);
        snapshots::open(&path, &bytes, &self.key, self.binding.identity.vm_id, id)
    }

    /// Gives the state up and goes on from `contents`, those of a snapshot, as another instance of the VM. If this fails, what is
    /// stored is the state before or the new one: the instance id in `.vmx` tells which, and opening the VM cleans up.
    pub fn revert(self, contents: &Contents, instance_id: Uuid) -> Result<Self, StoreError> {
        let mut binding = self.binding.clone();
        binding.identity.instance_id = instance_id;
        let key = self.key.clone();
        self.switch_over(contents, binding, key, &[])
    }

    /// Replaces the data key, that of the snapshots included, and wraps the new one under a key of `provider` (deep re-key). If this
    /// fails, everything is under the old data key or everything under the new one, and opening the VM cleans up.
    pub fn reseal(self, provider: &dyn KeyProvider, key_id: &KeyId) -> Result<Self, StoreError> {
        let path = self.vmx_path();
        let key = DataKey::generate()?;
        let mut binding = self.binding.clone();
        (binding.locator, binding.wrapped) = key_provider::wrap_located(provider, key_id, &key)
            .map_err(StoreError::provider(&path))?;
        let identity = self.binding.identity;
        let (_, contents, _) = Nvram::open(
            &self.folder,
            &self.binding.nvram,
            &self.key,
            &identity,
            false,
        )?;
        let ids = snapshots::ids(&*self.folder)?;
        self.switch_over(&contents, binding, key, &ids)
    }

    /// Gives a VM that is encrypted for itself a TPM, another one, or none, and the data key anew: of a TPM that goes nothing can be
    /// read any more. What else the `.nvram` holds stays. If this fails, everything is as before or as asked for, and opening the VM
    /// cleans up. A VM with snapshots is refused, since they need the data key.
    pub fn change_tpm(
        self,
        tpm: Option<(TpmProvisioning, Zeroizing<Vec<u8>>)>,
        provider: &dyn KeyProvider,
    ) -> Result<Self, StoreError> {
        let path = self.vmx_path();
        if !self.binding.encryption.is_of_vm() {
            return Err(match tpm {
                Some(_) => StoreError::HasTpm { path },
                None => StoreError::NoTpm { path },
            });
        }
        directory::refuse_with_snapshots(&*self.folder)?;
        let key = DataKey::generate()?;
        let mut binding = self.binding.clone();
        binding.encryption = Encryption::OfVm { tpm: tpm.is_some() };
        (binding.locator, binding.wrapped) =
            key_provider::wrap_located(provider, &self.binding.locator.key_id, &key)
                .map_err(StoreError::provider(&path))?;
        let (_, mut contents, _) = Nvram::open(
            &self.folder,
            &self.binding.nvram,
            &self.key,
            &self.binding.identity,
            false,
        )?;
        contents.remove(SectionKind::TPM_PERMANENT);
        contents.remove(SectionKind::TPM_VOLATILE);
        if let Some((provisioning, state)) = tpm {
            binding.provisioning = provisioning;
            contents.set(SectionKind::TPM_PERMANENT, state);
        }
        self.switch_over(&contents, binding, key, &[])
    }

    /// Replaces `.nvram`, and the files of `snapshots` sealed anew, together with `.vmx` (`docs/vm-file-format.md`, 1.1).
    fn switch_over(
        mut self,
        contents: &Contents,
        mut binding: TpmBinding,
        key: DataKey,
        resealed: &[SnapshotId],
    ) -> Result<Self, StoreError> {
        let generation = self.nvram.newest().checked_add(1).ok_or_else(|| {
            StoreError::damaged(
                &self.nvram.path(),
                "its generation is at the end of its range",
            )
        })?;
        binding.generation_floor = generation;
        let next = nvram::next_name(&binding.nvram);
        let mut made = Vec::new();
        let prepared = (|| {
            made.push(next.clone());
            let nvram = Nvram::create(
                &self.folder,
                &next,
                &key,
                &binding.identity,
                contents,
                generation,
            )?;
            for id in resealed {
                let (info, contents) = self.snapshot(*id)?;
                let name = nvram::next_name(&snapshots::file_name(*id));
                let bytes =
                    snapshots::seal(&self.folder.path().join(&name), &info, &contents, &key)?;
                made.push(name.clone());
                write_new(&*self.folder, &name, &bytes)?;
            }
            let folder = &self.folder;
            folder
                .sync()
                .map_err(StoreError::io("sync", folder.path()))?;
            Ok(nvram)
        })();
        let nvram = match prepared {
            Ok(nvram) => nvram,
            Err(error) => {
                // What cannot be removed now is removed when the VM is opened the next time.
                for name in made {
                    let _ = self.folder.remove_file(&name);
                }
                return Err(error);
            }
        };
        let (mut settings, _) = read_settings(&*self.folder, &self.name)?;
        binding.write(&mut settings, &key);
        // If this fails, it may have happened all the same: from here on what lies beside is for the next one who opens the VM.
        write_settings(&*self.folder, &self.name, &settings)?;
        self.nvram = nvram.renamed(&binding.nvram)?;
        for id in resealed {
            let name = snapshots::file_name(*id);
            let path = self.folder.path().join(&name);
            self.folder
                .rename(&nvram::next_name(&name), &name)
                .map_err(StoreError::io("replace", &path))?;
        }
        let folder = &self.folder;
        folder
            .sync()
            .map_err(StoreError::io("sync", folder.path()))?;
        self.binding = binding;
        self.key = key;
        self.settings = settings;
        Ok(self)
    }

    /// Ends the work with this VM: notes the generation in `.vmx`, so that an older `.nvram` put back alone is found.
    pub fn close(mut self) -> Result<(), StoreError> {
        if self.binding.generation_floor == self.generation() {
            return Ok(());
        }
        self.raise_floor()
    }

    /// Opens a VM in its folder.
    pub(crate) fn open(
        folder: Arc<dyn Folder>,
        name: &str,
        providers: &dyn KeyProviderLookup,
        options: &OpenOptions,
    ) -> Result<(Self, Contents), StoreError> {
        let parts = Parts::unlock(&*folder, name, providers)?;
        Self::assemble(folder, name, parts, options, false)
    }

    /// Opens a VM whose files were just made and synced, so that its data key is at hand.
    pub(crate) fn open_with_key(
        folder: Arc<dyn Folder>,
        name: &str,
        key: DataKey,
    ) -> Result<Self, StoreError> {
        let lock = take_lock(&*folder)?;
        let (settings, path) = read_settings(&*folder, name)?;
        let binding = TpmBinding::read(&settings, &path)?
            .ok_or_else(|| StoreError::NoTpm { path: path.clone() })?;
        TpmBinding::verify(&settings, &path, &key)?;
        let parts = Parts {
            lock,
            settings,
            binding,
            key,
        };
        let (file, _) = Self::assemble(folder, name, parts, &OpenOptions::default(), true)?;
        Ok(file)
    }

    /// A VM whose files were just made and synced.
    pub(crate) fn just_made(
        folder: Arc<dyn Folder>,
        name: &str,
        parts: Parts,
        nvram: Nvram,
    ) -> Self {
        let Parts {
            lock,
            settings,
            binding,
            key,
        } = parts;
        Self {
            name: name.to_owned(),
            folder,
            settings,
            binding,
            key,
            nvram,
            report: OpenReport::default(),
            _lock: lock,
        }
    }

    fn assemble(
        folder: Arc<dyn Folder>,
        name: &str,
        parts: Parts,
        options: &OpenOptions,
        just_made: bool,
    ) -> Result<(Self, Contents), StoreError> {
        remove_temporaries(&*folder)?;
        let Parts {
            lock,
            settings,
            binding,
            key,
        } = parts;
        settle_switch(&folder, &binding, &key)?;
        let open = if just_made {
            Nvram::open_synced
        } else {
            Nvram::open
        };
        let opened = open(
            &folder,
            &binding.nvram,
            &key,
            &binding.identity,
            options.rescue_older_slot,
        );
        let (nvram, contents, report) = opened.map_err(|error| match error {
            StoreError::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                StoreError::MissingNvram {
                    path,
                    vmx: vmx_name(name),
                }
            }
            other => other,
        })?;
        let floor = (Some(binding.generation_floor), "noted in its .vmx");
        let minimum = (options.minimum_generation, "noted in the inventory");
        for (expected, source_of_expectation) in [floor, minimum] {
            if let Some(expected) = expected
                && nvram.acknowledged() < expected
                && !options.accept_rollback
            {
                return Err(StoreError::RolledBack {
                    path: nvram.path(),
                    found: nvram.acknowledged(),
                    expected,
                    source_of_expectation,
                });
            }
        }
        let mut file = Self {
            name: name.to_owned(),
            folder,
            settings,
            binding,
            key,
            nvram,
            report,
            _lock: lock,
        };
        if file.generation() < file.binding.generation_floor {
            file.raise_floor()?;
        }
        Ok((file, contents))
    }

    fn raise_floor(&mut self) -> Result<(), StoreError> {
        let before = self.binding.generation_floor;
        self.binding.generation_floor = self.generation();
        let result = self.rewrite(|_| {});
        if result.is_err() {
            self.binding.generation_floor = before;
        }
        result
    }

    /// Reads the settings anew, changes them, and puts them in place with our keys authenticated.
    fn rewrite(&mut self, change: impl FnOnce(&mut Vmx)) -> Result<(), StoreError> {
        let (mut settings, _) = read_settings(&*self.folder, &self.name)?;
        change(&mut settings);
        self.binding.write(&mut settings, &self.key);
        write_settings(&*self.folder, &self.name, &settings)?;
        self.settings = settings;
        Ok(())
    }

    fn vmx_path(&self) -> PathBuf {
        self.folder.path().join(vmx_name(&self.name))
    }
}

/// A VM that is locked for us, with its settings read and its data key unwrapped.
pub(crate) struct Parts {
    pub(crate) lock: Box<dyn BackendFile>,
    pub(crate) settings: Vmx,
    pub(crate) binding: TpmBinding,
    pub(crate) key: DataKey,
}

impl Parts {
    /// Takes the lock and asks the VM's key provider for the data key.
    pub(crate) fn unlock(
        folder: &dyn Folder,
        name: &str,
        providers: &dyn KeyProviderLookup,
    ) -> Result<Self, StoreError> {
        let lock = take_lock(folder)?;
        let (settings, path) = read_settings(folder, name)?;
        let (binding, key) = unwrap_binding(&settings, &path, providers)?;
        Ok(Self {
            lock,
            settings,
            binding,
            key,
        })
    }
}

/// The authenticated settings and the data key.
pub(crate) fn unwrap_binding(
    settings: &Vmx,
    path: &Path,
    providers: &dyn KeyProviderLookup,
) -> Result<(TpmBinding, DataKey), StoreError> {
    let binding = TpmBinding::read(settings, path)?.ok_or_else(|| StoreError::NoTpm {
        path: path.to_path_buf(),
    })?;
    let locator = &binding.locator;
    let provider = providers
        .find(&locator.provider)
        .ok_or_else(|| no_such_provider(path, &binding, providers))?;
    let key = key_provider::unwrap_located(&*provider, locator, &binding.wrapped)
        .map_err(StoreError::provider(path))?;
    TpmBinding::verify(settings, path, &key)?;
    Ok((binding, key))
}

/// Name of the settings file of a VM.
pub(crate) fn vmx_name(name: &str) -> String {
    format!("{name}.vmx")
}

/// Takes the VM's lock.
pub(crate) fn take_lock(folder: &dyn Folder) -> Result<Box<dyn BackendFile>, StoreError> {
    lock_file(folder, LOCK_NAME)
}

/// Takes the lock of a file, which is made if it is not there and never removed while the folder lives.
pub(crate) fn lock_file(
    folder: &dyn Folder,
    name: &str,
) -> Result<Box<dyn BackendFile>, StoreError> {
    let path = folder.path().join(name);
    let opened = match folder.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match folder.create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => folder.open(name),
            other => other,
        },
        other => other,
    };
    let file = opened.map_err(StoreError::io("open", &path))?;
    if file.try_lock().map_err(StoreError::io("lock", &path))? {
        return Ok(file);
    }
    Err(StoreError::Locked {
        path: folder.path().to_path_buf(),
        lock: name.to_owned(),
    })
}

/// Reads a VM's settings.
pub(crate) fn read_settings(folder: &dyn Folder, name: &str) -> Result<(Vmx, PathBuf), StoreError> {
    let file_name = vmx_name(name);
    let path = folder.path().join(&file_name);
    let file = folder
        .open_read_only(&file_name)
        .map_err(StoreError::io("open", &path))?;
    let bytes = nvram::read_bounded(&*file, &path, vmx::MAX_FILE_LENGTH)?;
    let settings = Vmx::parse(&bytes).map_err(|fault| fault.at(&path))?;
    Ok((settings, path))
}

/// Puts a VM's settings in place.
pub(crate) fn write_settings(
    folder: &dyn Folder,
    name: &str,
    settings: &Vmx,
) -> Result<(), StoreError> {
    let text = bounded_text(folder, name, settings)?;
    nvram::put_file(folder, &vmx_name(name), text.as_bytes(), IfPresent::Replace)
}

/// Writes the settings of a VM whose folder nobody sees yet. The file and the folder are the caller's to sync.
pub(crate) fn begin_first_settings(
    folder: &dyn Folder,
    name: &str,
    settings: &Vmx,
) -> Result<Box<dyn BackendFile>, StoreError> {
    let text = bounded_text(folder, name, settings)?;
    let name = vmx_name(name);
    folder
        .create(&name)
        .and_then(|file| file.write_all_at(text.as_bytes(), 0).map(|()| file))
        .map_err(StoreError::io("write", &folder.path().join(&name)))
}

fn bounded_text(folder: &dyn Folder, name: &str, settings: &Vmx) -> Result<String, StoreError> {
    let text = settings.to_text();
    let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if size > vmx::MAX_FILE_LENGTH {
        return Err(StoreError::TooLarge {
            path: folder.path().join(vmx_name(name)),
            size,
            limit: vmx::MAX_FILE_LENGTH,
        });
    }
    Ok(text)
}

/// Refuses changes of keys that are not free to edit.
pub(crate) fn check_changes(
    path: &Path,
    changes: &[(&str, Option<&str>)],
) -> Result<(), StoreError> {
    for (key, _) in changes {
        let reason = if binding::is_authenticated(key) {
            "is one that the TPM depends on; it changes only by an operation on the VM"
        } else if !Vmx::new().set(key, "") {
            "is not made of letters, digits and . : _ -"
        } else {
            continue;
        };
        return Err(StoreError::Setting {
            path: path.to_path_buf(),
            key: (*key).to_owned(),
            reason,
        });
    }
    Ok(())
}

/// Applies checked changes.
pub(crate) fn apply(settings: &mut Vmx, changes: &[(&str, Option<&str>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => {
                settings.set(key, value);
            }
            None => settings.remove(key),
        }
    }
}

/// Removes what an interrupted operation left. The caller has the lock.
pub(crate) fn remove_temporaries(folder: &dyn Folder) -> Result<(), StoreError> {
    let entries = folder
        .entries()
        .map_err(StoreError::io("list", folder.path()))?;
    for entry in entries {
        if !entry.is_folder && nvram::is_temporary(&entry.name) {
            let path = folder.path().join(&entry.name);
            folder
                .remove_file(&entry.name)
                .map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Finishes or undoes a switch-over that was interrupted (`docs/vm-file-format.md`, 1.1). The caller has the lock.
fn settle_switch(
    folder: &Arc<dyn Folder>,
    binding: &TpmBinding,
    key: &DataKey,
) -> Result<(), StoreError> {
    let entries = folder
        .entries()
        .map_err(StoreError::io("list", folder.path()))?;
    let mut changed = false;
    for entry in entries {
        let Some(target) = nvram::next_of(&entry.name) else {
            continue;
        };
        let fits = if target == binding.nvram {
            Nvram::open(folder, &entry.name, key, &binding.identity, false)
                .map(|(nvram, ..)| nvram.acknowledged() >= binding.generation_floor)
        } else if let Some(id) = snapshots::id_of_file(target) {
            let path = folder.path().join(&entry.name);
            snapshots::read_file(&**folder, &entry.name).and_then(|bytes| {
                snapshots::open(&path, &bytes, key, binding.identity.vm_id, id).map(|_| true)
            })
        } else {
            continue;
        };
        let path = folder.path().join(target);
        let settled = match fits {
            Ok(true) => folder.rename(&entry.name, target),
            // What could not be read may be the only good one.
            Err(error @ (StoreError::Io { .. } | StoreError::NotRegular { .. })) => {
                return Err(error);
            }
            Ok(false) | Err(_) => folder.remove_file(&entry.name),
        };
        settled.map_err(StoreError::io("replace", &path))?;
        changed = true;
    }
    if changed {
        folder
            .sync()
            .map_err(StoreError::io("sync", folder.path()))?;
    }
    Ok(())
}

/// Writes a file that must not exist, and syncs it; the folder is the caller's to sync.
pub(crate) fn write_new(folder: &dyn Folder, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = folder.path().join(name);
    folder
        .create(name)
        .and_then(|file| {
            file.write_all_at(bytes, 0)?;
            file.sync_all()
        })
        .map_err(StoreError::io("write", &path))
}

fn no_such_provider(
    path: &Path,
    binding: &TpmBinding,
    providers: &dyn KeyProviderLookup,
) -> StoreError {
    let names = providers.names();
    StoreError::NoSuchProvider {
        path: path.to_path_buf(),
        provider: binding.locator.provider.clone(),
        key_id: binding.locator.key_id.clone(),
        registered: if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        },
    }
}
