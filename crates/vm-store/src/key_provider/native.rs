//! The native key provider: one key-derivation key in the data folder, a key per key id derived from it
//! (`docs/vm-file-format.md`, 4).

use super::{
    KeyCheckValue, KeyId, KeyProvider, KeyProviderKind, KeyProviderStatus,
    backup::{self, Backup},
};
use crate::{
    backend::{Backend, Folder},
    error::{EntropyFailure, KeyProviderError, StoreError},
    identity,
    name::check_name,
    nvram::{self, IfPresent, Unplaced},
    seal::{self, DataKey, Key, WrappedKey},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use zeroize::Zeroizing;

/// Name of the provider that a state folder has for itself.
pub const LOCAL_PROVIDER_NAME: &str = "local";

pub(super) const KEK: &[u8] = b"vtpm.kek.v1";
const FORMAT: &str = "vtpm-native-key-provider";
const SUFFIX: &str = ".provider.json";
const MAX_FILE_LENGTH: u64 = 64 << 10;

/// Whether a provider must be backed up before use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// For VMs of a vCenter: encrypts nothing before its backup is taken.
    Native,
    /// For one state folder, kept beside the state: usable at once.
    Local,
}

/// A provider that derives its keys.
pub struct NativeKeyProvider {
    name: String,
    flavour: Flavour,
    key: Key,
    active: AtomicBool,
    folder: Arc<dyn Folder>,
}

impl NativeKeyProvider {
    /// Whether it was backed up, or needs no backup.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// The check value of the provider's own key: equal here and there means the same provider.
    pub fn provider_check_value(&self) -> KeyCheckValue {
        KeyCheckValue::of_provider(&self.key, &self.name)
    }

    /// The bytes of a PKCS#12 backup, read back once to be sure. Whoever stores them calls `mark_backed_up` after.
    pub fn export(&self, password: &str) -> Result<Vec<u8>, KeyProviderError> {
        backup::write(&self.name, &self.key, password)
    }

    /// Writes a backup to a new file, reads it back from there, and marks the provider as backed up.
    pub fn backup_to_file(
        &self,
        backend: &dyn Backend,
        path: &Path,
        password: &str,
    ) -> Result<(), KeyProviderError> {
        let bytes = self.export(password)?;
        let (folder, name) = folder_and_name(backend, path)?;
        let file = folder
            .create(&name)
            .map_err(KeyProviderError::io("create the backup", path))?;
        file.write_all_at(&bytes, 0)
            .and_then(|()| file.sync_all())
            .and_then(|()| folder.sync())
            .map_err(KeyProviderError::io("write the backup", path))?;
        drop(file);
        let again = read_backup(backend, path, password)?;
        if again.name != self.name || again.key != self.key {
            return Err(KeyProviderError::Backup {
                file: path.display().to_string(),
                reason: "it did not read back as it was written".to_owned(),
            });
        }
        self.mark_backed_up()
    }

    /// Notes durably that a backup is in safe hands.
    pub fn mark_backed_up(&self) -> Result<(), KeyProviderError> {
        self.store(true, IfPresent::Replace)?;
        self.active.store(true, Ordering::Release);
        Ok(())
    }

    fn store(&self, active: bool, if_present: IfPresent) -> Result<(), KeyProviderError> {
        let path = self.folder.path().join(file_name(&self.name));
        let text = self.to_text(active)?;
        nvram::put_file(&*self.folder, &file_name(&self.name), &text, if_present)
            .map_err(from_store(&path))
    }

    /// What stands in its file.
    fn to_text(&self, active: bool) -> Result<Zeroizing<Vec<u8>>, KeyProviderError> {
        let path = self.folder.path().join(file_name(&self.name));
        let stored = Stored {
            format: FORMAT.to_owned(),
            version: 1,
            name: self.name.clone(),
            flavour: match self.flavour {
                Flavour::Native => "native",
                Flavour::Local => "local",
            }
            .to_owned(),
            state: if active { "active" } else { "not-backed-up" }.to_owned(),
            key: Zeroizing::new(hex::encode(*self.key)),
            check: self.provider_check_value().to_string(),
        };
        let text = serde_json::to_vec_pretty(&stored).map(Zeroizing::new);
        text.map_err(|error| damaged(&path, error.to_string()))
    }

    fn load(folder: &Arc<dyn Folder>, name: &str) -> Result<Self, KeyProviderError> {
        let path = folder.path().join(file_name(name));
        let file = folder.open_read_only(&file_name(name)).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return KeyProviderError::NoSuchProvider {
                    provider: name.to_owned(),
                    folder: folder.path().to_path_buf(),
                };
            }
            KeyProviderError::io("open", &path)(error)
        })?;
        let bytes =
            nvram::read_bounded(&*file, &path, MAX_FILE_LENGTH).map_err(from_store(&path))?;
        let bytes = Zeroizing::new(bytes);
        // serde's message could quote what it read, so only the place is told.
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| {
            damaged(
                &path,
                format!("line {} is not as it was written", error.line()),
            )
        })?;
        if stored.format != FORMAT || stored.version != 1 {
            return Err(damaged(
                &path,
                format!(
                    "its format is not {FORMAT} version 1; a newer program may have written it"
                ),
            ));
        }
        let flavour = match stored.flavour.as_str() {
            "native" => Flavour::Native,
            "local" => Flavour::Local,
            _ => return Err(damaged(&path, "its flavour is unknown")),
        };
        let active = match stored.state.as_str() {
            "active" => true,
            "not-backed-up" => flavour == Flavour::Local,
            _ => return Err(damaged(&path, "its state is unknown")),
        };
        let mut key = Key::default();
        hex::decode_to_slice(stored.key.as_bytes(), key.as_mut())
            .map_err(|_| damaged(&path, "its key is not 64 hexadecimal digits"))?;
        if stored.name != name {
            return Err(damaged(
                &path,
                format!("it is of key provider {:?}", stored.name),
            ));
        }
        if KeyCheckValue::parse(&stored.check) != Some(KeyCheckValue::of_provider(&key, name)) {
            return Err(damaged(&path, "its key does not match its check value"));
        }
        Ok(Self {
            name: name.to_owned(),
            flavour,
            key,
            active: AtomicBool::new(active),
            folder: Arc::clone(folder),
        })
    }

    fn kek(&self, key_id: &KeyId) -> Key {
        seal::derive(&*self.key, None, &[KEK, key_id.as_str().as_bytes()])
    }
}

impl fmt::Debug for NativeKeyProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeKeyProvider")
            .field("name", &self.name)
            .field("flavour", &self.flavour)
            .field("active", &self.is_active())
            .finish_non_exhaustive()
    }
}

impl KeyProvider for NativeKeyProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> KeyProviderKind {
        match self.flavour {
            Flavour::Native => KeyProviderKind::Native,
            Flavour::Local => KeyProviderKind::Local,
        }
    }

    fn status(&self) -> KeyProviderStatus {
        if self.is_active() {
            KeyProviderStatus::Active
        } else {
            KeyProviderStatus::NotBackedUp
        }
    }

    fn new_key(&self) -> Result<KeyId, KeyProviderError> {
        self.check_usable()?;
        Ok(KeyId::from(identity::random_uuid()?))
    }

    fn check_value(&self, key_id: &KeyId) -> Result<KeyCheckValue, KeyProviderError> {
        Ok(KeyCheckValue::of_kek(&self.kek(key_id)))
    }

    fn wrap(&self, key_id: &KeyId, data_key: &DataKey) -> Result<WrappedKey, KeyProviderError> {
        self.check_usable()?;
        Ok(seal::wrap(&self.kek(key_id), key_id.as_str(), data_key)?)
    }

    fn unwrap(&self, key_id: &KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyProviderError> {
        seal::unwrap(&self.kek(key_id), key_id.as_str(), wrapped).ok_or_else(|| {
            KeyProviderError::DoesNotUnwrap {
                provider: self.name.clone(),
                key_id: key_id.clone(),
            }
        })
    }
}

impl NativeKeyProvider {
    fn check_usable(&self) -> Result<(), KeyProviderError> {
        if self.is_active() {
            return Ok(());
        }
        Err(KeyProviderError::NotBackedUp {
            provider: self.name.clone(),
        })
    }
}

/// The folder that native providers are kept in.
#[derive(Debug, Clone)]
pub struct ProviderFolder {
    folder: Arc<dyn Folder>,
}

impl ProviderFolder {
    /// Opens the folder, made if it is not there.
    pub fn open(backend: &dyn Backend, path: &Path) -> Result<Self, KeyProviderError> {
        let folder = backend
            .ensure_folder(path)
            .map_err(KeyProviderError::io("open the folder", path))?;
        Ok(Self { folder })
    }

    pub(crate) fn in_folder(folder: Arc<dyn Folder>) -> Self {
        Self { folder }
    }

    /// Makes a new provider with a fresh key.
    pub fn create(
        &self,
        name: &str,
        flavour: Flavour,
    ) -> Result<NativeKeyProvider, KeyProviderError> {
        self.put(
            name,
            flavour,
            seal::random_key()?,
            flavour == Flavour::Local,
        )
    }

    /// Makes the provider that is kept beside a state which does not exist yet: its file is put in place with the first files of
    /// that state.
    pub(crate) fn create_local(
        &self,
    ) -> Result<(NativeKeyProvider, Unplaced<'_>), KeyProviderError> {
        let name = super::LOCAL_PROVIDER_NAME;
        let provider = NativeKeyProvider {
            name: name.to_owned(),
            flavour: Flavour::Local,
            key: seal::random_key()?,
            active: AtomicBool::new(true),
            folder: Arc::clone(&self.folder),
        };
        let text = provider.to_text(true)?;
        let file = Unplaced::write(&*self.folder, &file_name(name), &text)
            .map_err(from_store(self.folder.path()))?;
        Ok((provider, file))
    }

    /// Loads a provider.
    pub fn load(&self, name: &str) -> Result<NativeKeyProvider, KeyProviderError> {
        valid_name(name)?;
        NativeKeyProvider::load(&self.folder, name)
    }

    /// The names of all providers here.
    pub fn list(&self) -> Result<Vec<String>, KeyProviderError> {
        let path = self.folder.path();
        let entries = self
            .folder
            .entries()
            .map_err(KeyProviderError::io("list", path))?;
        Ok(entries
            .iter()
            .filter_map(|entry| entry.name.strip_suffix(SUFFIX))
            .filter(|name| check_name(name).is_ok())
            .map(str::to_owned)
            .collect())
    }

    /// Puts the provider of a backup here. With `expected`, only if the backup is of that provider. A provider of
    /// that name with the same key is kept (and counts as backed up); with another key it is an error.
    pub fn restore(
        &self,
        backend: &dyn Backend,
        backup: &Path,
        password: &str,
        expected: Option<&str>,
    ) -> Result<NativeKeyProvider, KeyProviderError> {
        let contents = read_backup(backend, backup, password)?;
        self.restore_contents(&backup.display().to_string(), contents, expected)
    }

    /// Like `restore`, from the bytes of a backup that came over a socket.
    pub fn restore_bytes(
        &self,
        bytes: &[u8],
        password: &str,
        expected: Option<&str>,
    ) -> Result<NativeKeyProvider, KeyProviderError> {
        let contents = backup::read("given", bytes, password)?;
        self.restore_contents("given", contents, expected)
    }

    /// Removes a provider for good: what it encrypted opens only after its backup is restored.
    pub fn delete(&self, name: &str) -> Result<(), KeyProviderError> {
        valid_name(name)?;
        let path = self.folder.path().join(file_name(name));
        self.folder
            .remove_file(&file_name(name))
            .and_then(|()| self.folder.sync())
            .map_err(KeyProviderError::io("remove", &path))
    }

    fn restore_contents(
        &self,
        file: &str,
        contents: Backup,
        expected: Option<&str>,
    ) -> Result<NativeKeyProvider, KeyProviderError> {
        if let Some(wanted) = expected
            && wanted != contents.name
        {
            return Err(KeyProviderError::WrongProvider {
                file: file.to_owned(),
                found: contents.name,
                wanted: wanted.to_owned(),
            });
        }
        match self.load(&contents.name) {
            Ok(present) if seal::equal(&*present.key, &*contents.key) => {
                present.mark_backed_up()?;
                Ok(present)
            }
            Ok(_) => Err(self.exists(&contents.name)),
            Err(KeyProviderError::NoSuchProvider { .. }) => {
                self.put(&contents.name, Flavour::Native, contents.key, true)
            }
            Err(error) => Err(error),
        }
    }

    fn put(
        &self,
        name: &str,
        flavour: Flavour,
        key: Key,
        active: bool,
    ) -> Result<NativeKeyProvider, KeyProviderError> {
        valid_name(name)?;
        let provider = NativeKeyProvider {
            name: name.to_owned(),
            flavour,
            key,
            active: AtomicBool::new(active),
            folder: Arc::clone(&self.folder),
        };
        match provider.store(active, IfPresent::Refuse) {
            Ok(()) => Ok(provider),
            Err(KeyProviderError::Io { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                Err(self.exists(name))
            }
            Err(error) => Err(error),
        }
    }

    fn exists(&self, name: &str) -> KeyProviderError {
        KeyProviderError::AlreadyExists {
            provider: name.to_owned(),
            folder: self.folder.path().to_path_buf(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: String,
    version: u32,
    name: String,
    flavour: String,
    state: String,
    key: Zeroizing<String>,
    check: String,
}

fn read_backup(
    backend: &dyn Backend,
    path: &Path,
    password: &str,
) -> Result<Backup, KeyProviderError> {
    let (folder, name) = folder_and_name(backend, path)?;
    let file = folder
        .open_read_only(&name)
        .map_err(KeyProviderError::io("open the backup", path))?;
    let bytes = nvram::read_bounded(&*file, path, backup::MAX_LENGTH).map_err(from_store(path))?;
    backup::read(&path.display().to_string(), &bytes, password)
}

fn folder_and_name(
    backend: &dyn Backend,
    path: &Path,
) -> Result<(Arc<dyn Folder>, String), KeyProviderError> {
    let invalid = || KeyProviderError::Backup {
        file: path.display().to_string(),
        reason: "this is not the path of a file".to_owned(),
    };
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(invalid)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = backend
        .open_folder(parent)
        .map_err(KeyProviderError::io("open the folder", parent))?;
    Ok((folder, name.to_owned()))
}

pub(super) fn valid_name(name: &str) -> Result<(), KeyProviderError> {
    check_name(name).map_err(|rule| KeyProviderError::InvalidName {
        name: name.to_owned(),
        rule,
    })
}

fn file_name(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

fn damaged(path: &Path, reason: impl Into<String>) -> KeyProviderError {
    KeyProviderError::Damaged {
        path: path.to_path_buf(),
        reason: reason.into(),
    }
}

pub(super) fn from_store(path: &Path) -> impl FnOnce(StoreError) -> KeyProviderError {
    let path = path.to_path_buf();
    move |error| match error {
        StoreError::Io {
            action,
            path,
            source,
        } => KeyProviderError::Io {
            action,
            path,
            source,
        },
        StoreError::Entropy(EntropyFailure) => EntropyFailure.into(),
        other => damaged(&path, other.to_string()),
    }
}
