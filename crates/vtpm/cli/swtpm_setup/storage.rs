//! The state of the TPM is put into its place whole or not at all.

use anyhow::Context;
use vm_store::{Contents, OpenOptions, SectionKind, StateFolder, StateKey};
use vtpm_host::StatePlace;
use zeroize::Zeroizing;

use crate::import::STATE_FILE;

/// A state folder or file that nobody else uses.
#[derive(Debug)]
pub(super) struct Storage {
    place: StatePlace,
    folder: StateFolder,
    file: Option<vm_store::VmFile>,
}

impl Storage {
    /// Takes the place for this process alone.
    pub(super) fn open(place: &StatePlace, key: StateKey) -> anyhow::Result<Self> {
        let folder = place.open(key).with_context(|| {
            let what = if place.is_one_file() {
                "file"
            } else {
                "folder"
            };
            format!("the state {what} {place}")
        })?;
        Ok(Self {
            place: place.clone(),
            folder,
            file: None,
        })
    }

    /// Whether a TPM is there that would be lost.
    pub(super) fn holds_tpm(&self) -> anyhow::Result<bool> {
        Ok(self.folder.exists()? || self.holds_tpm_of_swtpm())
    }

    /// Whether there is one of swtpm's, which this program does not run as it is.
    pub(super) fn holds_tpm_of_swtpm(&self) -> bool {
        let theirs = self.place.path().join(STATE_FILE);
        theirs.symlink_metadata().is_ok()
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
            .with_context(|| format!("{}: the files hold no TPM state", self.place))?;
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
            self.folder
                .remove()
                .with_context(|| format!("the old state in {}", self.place))?;
        }
        self.folder.create(&contents)?;
        if self.holds_tpm_of_swtpm() {
            let old = self.place.path().join(STATE_FILE);
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
    fn what_is_saved_takes_the_place_of_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        for place in [format!("{path}/folder"), format!("file://{path}/file")] {
            let place: StatePlace = place.parse().unwrap();
            for byte in [1, 2] {
                let mut storage = Storage::open(&place, StateKey::Beside).unwrap();
                assert_eq!(storage.holds_tpm().unwrap(), byte == 2);
                storage.save(&Zeroizing::new(vec![byte; 9])).unwrap();
                assert_eq!(*storage.load().unwrap().unwrap(), vec![byte; 9]);
                storage.save(&Zeroizing::new(vec![byte + 10; 9])).unwrap();
                assert_eq!(*storage.load().unwrap().unwrap(), vec![byte + 10; 9]);
            }
        }
    }
}
