//! Secrets of providers on disk, such as the private key of a KMIP client, sealed under a key of the data folder.
//!
//! That key lies in the same folder, in a file of its own: a provider's file that gets about alone (a copy, a support bundle, a
//! backup of some of the folder) tells nothing. Whoever has the whole folder has what is in it, as with native providers.

use crate::{
    backend::{Backend, Folder},
    error::{KeyProviderError, StoreError},
    nvram::{self, IfPresent},
    seal::{self, Key, TAG_LENGTH},
};
use std::{fmt, io, path::Path, sync::Arc};
use zeroize::Zeroizing;

const KEY_FILE: &str = "host.key";
const SUFFIX: &str = ".secret";
const LABEL: &[u8] = b"vtpm.provider.secret.v1";
const VERSION: u8 = 1;
const MAX_FILE_LENGTH: u64 = 64 << 10;

/// A folder of sealed secrets.
pub struct SecretFolder {
    folder: Arc<dyn Folder>,
    key: Key,
}

/// A sealed secret that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongSecret;

impl SecretFolder {
    /// Opens the folder, made if it is not there, with its key, made likewise.
    pub fn open(backend: &dyn Backend, path: &Path) -> Result<Self, KeyProviderError> {
        Self::open_under(backend, path, &path.join(KEY_FILE))
    }

    /// The same with a key that lies elsewhere; it is made if it is not there, the folder that holds it is not.
    pub fn open_under(
        backend: &dyn Backend,
        path: &Path,
        file: &Path,
    ) -> Result<Self, KeyProviderError> {
        let folder = backend
            .ensure_folder(path)
            .map_err(KeyProviderError::io("open the folder", path))?;
        let file = file.to_path_buf();
        let place = file
            .parent()
            .filter(|place| !place.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."));
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| KeyProviderError::Damaged {
                path: file.clone(),
                reason: "it is no name of a file".to_owned(),
            })?;
        let place = backend
            .open_folder(place)
            .map_err(KeyProviderError::io("open the folder", place))?;
        let bytes = match read(&*place, name)? {
            Some(bytes) => bytes,
            None => {
                let fresh = seal::random_key()?;
                match nvram::put_file(&*place, name, &*fresh, IfPresent::Refuse) {
                    // Somebody was faster; that key counts.
                    Err(StoreError::Io { source, .. })
                        if source.kind() == io::ErrorKind::AlreadyExists => {}
                    other => other.map_err(from_store(&file))?,
                }
                read(&*place, name)?.unwrap_or_default()
            }
        };
        let mut key = Key::default();
        if bytes.len() != key.len() {
            return Err(KeyProviderError::Damaged {
                path: file,
                reason: "it has not 32 bytes".to_owned(),
            });
        }
        key.copy_from_slice(&bytes);
        Ok(Self { folder, key })
    }

    /// Puts a secret in place, in the place of one of that name.
    pub fn put(&self, name: &str, secret: &[u8]) -> Result<(), KeyProviderError> {
        let file = file_name(name)?;
        let sealed = self.seal(name, secret)?;
        nvram::put_file(&*self.folder, &file, &sealed, IfPresent::Replace)
            .map_err(from_store(&self.folder.path().join(&file)))
    }

    /// The secret of that name, if there is one.
    pub fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyProviderError> {
        let file = file_name(name)?;
        let Some(sealed) = read(&*self.folder, &file)? else {
            return Ok(None);
        };
        self.open_sealed(name, &sealed)
            .map(Some)
            .map_err(|WrongSecret| KeyProviderError::Damaged {
                path: self.folder.path().join(&file),
                reason: format!(
                    "it does not open under the key that was given, by default {KEY_FILE} of its folder; restore both together from a backup, or make it anew"
                ),
            })
    }

    /// The names of all secrets, sorted.
    pub fn names(&self) -> Result<Vec<String>, KeyProviderError> {
        let entries = self
            .folder
            .entries()
            .map_err(KeyProviderError::io("list", self.folder.path()))?;
        Ok(entries
            .into_iter()
            .filter(|entry| !entry.is_folder && !entry.name.starts_with('.'))
            .filter_map(|entry| Some(entry.name.strip_suffix(SUFFIX)?.to_owned()))
            .collect())
    }

    /// Removes a secret; one that is not there is as good as removed.
    pub fn remove(&self, name: &str) -> Result<(), KeyProviderError> {
        let file = file_name(name)?;
        match self.folder.remove_file(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other,
        }
        .and_then(|()| self.folder.sync())
        .map_err(KeyProviderError::io(
            "remove",
            &self.folder.path().join(&file),
        ))
    }

    fn seal(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>, KeyProviderError> {
        let salt: [u8; 32] = seal::random()?;
        let key = seal::derive(&*self.key, Some(&salt), &[LABEL]);
        let mut sealed = Vec::with_capacity(1 + salt.len() + secret.len() + TAG_LENGTH);
        sealed.push(VERSION);
        sealed.extend_from_slice(&salt);
        let mut inside = Zeroizing::new(secret.to_vec());
        let aad = [LABEL, name.as_bytes()].concat();
        let tag = seal::seal_in_place(&key, [0; 12], &aad, &mut inside);
        sealed.extend_from_slice(&inside);
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    fn open_sealed(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrongSecret> {
        let (version, rest) = sealed.split_first().ok_or(WrongSecret)?;
        let (salt, rest) = rest.split_first_chunk::<32>().ok_or(WrongSecret)?;
        let (inside, tag) = rest.split_last_chunk::<TAG_LENGTH>().ok_or(WrongSecret)?;
        if *version != VERSION {
            return Err(WrongSecret);
        }
        let key = seal::derive(&*self.key, Some(salt), &[LABEL]);
        let mut inside = Zeroizing::new(inside.to_vec());
        let aad = [LABEL, name.as_bytes()].concat();
        match seal::open_in_place(&key, [0; 12], &aad, &mut inside, *tag) {
            true => Ok(inside),
            false => Err(WrongSecret),
        }
    }
}

impl fmt::Debug for SecretFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFolder")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

fn file_name(name: &str) -> Result<String, KeyProviderError> {
    super::native::valid_name(name)?;
    Ok(format!("{name}{SUFFIX}"))
}

fn read(folder: &dyn Folder, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyProviderError> {
    let path = folder.path().join(name);
    match folder.open_read_only(name) {
        Ok(file) => nvram::read_bounded(&*file, &path, MAX_FILE_LENGTH)
            .map(|bytes| Some(Zeroizing::new(bytes)))
            .map_err(from_store(&path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KeyProviderError::io("open", &path)(error)),
    }
}

fn from_store(path: &Path) -> impl FnOnce(StoreError) -> KeyProviderError {
    super::native::from_store(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LinuxBackend;

    #[test]
    fn a_secret_comes_back_and_the_folder_shows_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = SecretFolder::open(&LinuxBackend, folder.path()).unwrap();
        secrets.put("kp 1", b"-----BEGIN PRIVATE KEY-----").unwrap();
        let again = SecretFolder::open(&LinuxBackend, folder.path()).unwrap();
        let secret = again.get("kp 1").unwrap().unwrap();
        assert_eq!(secret.as_slice(), b"-----BEGIN PRIVATE KEY-----");
        assert!(again.get("other").unwrap().is_none());
        let bytes = std::fs::read(folder.path().join("kp 1.secret")).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"PRIVATE"));
        again.remove("kp 1").unwrap();
        again.remove("kp 1").unwrap();
        assert!(again.get("kp 1").unwrap().is_none());
    }

    #[test]
    fn every_changed_byte_another_name_and_another_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = SecretFolder::open(&LinuxBackend, folder.path()).unwrap();
        let sealed = secrets.seal("kp", b"secret").unwrap();
        assert!(secrets.open_sealed("kp", &sealed).is_ok());
        assert!(secrets.open_sealed("kp2", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(secrets.open_sealed("kp", &changed).is_err());
            assert!(secrets.open_sealed("kp", &sealed[..at]).is_err());
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let other = SecretFolder::open(&LinuxBackend, elsewhere.path()).unwrap();
        assert!(other.open_sealed("kp", &sealed).is_err());
        let text = format!("{secrets:?}");
        assert!(!text.contains("key:"), "{text}");
    }

    #[test]
    fn a_damaged_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(KEY_FILE), b"short").unwrap();
        let error = SecretFolder::open(&LinuxBackend, folder.path()).unwrap_err();
        assert!(error.to_string().contains(KEY_FILE), "{error}");
    }
}
