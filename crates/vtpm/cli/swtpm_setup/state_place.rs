//! Where the state of the TPM is put, and that it is put there whole or not at all.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use vm_store::{
    Contents, LinuxBackend, OpenOptions, STATE_NAME, SectionKind, StateFolder, StateKey,
};
use zeroize::Zeroizing;

use crate::import::STATE_FILE;

/// The folder of `--tpm-state`.
#[derive(Clone, Debug)]
pub(super) struct StatePlace(PathBuf);

impl FromStr for StatePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let folder = text.strip_prefix("dir://").unwrap_or(text);
        if folder.starts_with("file://") {
            return Err(format!(
                "'{text}': the state lives in a folder, so this must be a folder or dir://<folder>"
            ));
        }
        if folder.is_empty() {
            return Err("the name of the state folder is empty".into());
        }
        Ok(Self(folder.into()))
    }
}

impl fmt::Display for StatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl StatePlace {
    /// Takes the folder for this process alone.
    pub(super) fn open(&self, key: StateKey) -> anyhow::Result<Storage> {
        let folder = StateFolder::open(&LinuxBackend, &self.0, key)
            .with_context(|| format!("the state folder {self}"))?;
        Ok(Storage {
            path: self.0.clone(),
            folder,
            file: None,
        })
    }
}

/// A state folder that nobody else uses.
#[derive(Debug)]
pub(super) struct Storage {
    path: PathBuf,
    folder: StateFolder,
    file: Option<vm_store::VmFile>,
}

impl Storage {
    /// Whether a TPM is there that would be lost.
    pub(super) fn holds_tpm(&self) -> anyhow::Result<bool> {
        Ok(self.folder.exists()? || self.holds_tpm_of_swtpm())
    }

    /// Whether there is one of swtpm's, which this program does not run as it is.
    pub(super) fn holds_tpm_of_swtpm(&self) -> bool {
        self.path.join(STATE_FILE).symlink_metadata().is_ok()
    }

    /// The permanent state that is there.
    pub(super) fn load(&mut self) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        self.file = None;
        let Some((file, contents)) = self.folder.load(&OpenOptions::default())? else {
            return Ok(None);
        };
        self.file = Some(file);
        let permanent = contents
            .get(SectionKind::TPM_PERMANENT)
            .with_context(|| format!("{}: the files hold no TPM state", self.path.display()))?;
        Ok(Some(Zeroizing::new(permanent.to_vec())))
    }

    /// Puts the state in the place of what is there.
    pub(super) fn save(&mut self, permanent: &Zeroizing<Vec<u8>>) -> anyhow::Result<()> {
        let contents = Contents::of_tpm(permanent.clone());
        if let Some(file) = &mut self.file {
            file.save(&contents)?;
            return Ok(());
        }
        if self.folder.exists()? {
            let old = self.path.join(STATE_NAME);
            std::fs::remove_dir_all(&old)
                .with_context(|| format!("the old state in {}", old.display()))?;
        }
        self.folder.create(&contents)?;
        if self.holds_tpm_of_swtpm() {
            let old = self.path.join(STATE_FILE);
            std::fs::remove_file(&old)
                .with_context(|| format!("the old state in {}", old.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_in_two_ways() {
        for text in ["/a b", "dir:///a b"] {
            assert_eq!(text.parse::<StatePlace>().unwrap().to_string(), "/a b");
        }
        for text in ["", "dir://", "file:///a"] {
            assert!(text.parse::<StatePlace>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_saved_takes_the_place_of_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let place: StatePlace = folder.path().to_str().unwrap().parse().unwrap();
        for byte in [1, 2] {
            let mut storage = place.open(StateKey::Beside).unwrap();
            assert_eq!(storage.holds_tpm().unwrap(), byte == 2);
            storage.save(&Zeroizing::new(vec![byte; 9])).unwrap();
            assert_eq!(*storage.load().unwrap().unwrap(), vec![byte; 9]);
            storage.save(&Zeroizing::new(vec![byte + 10; 9])).unwrap();
            assert_eq!(*storage.load().unwrap().unwrap(), vec![byte + 10; 9]);
        }
    }
}
