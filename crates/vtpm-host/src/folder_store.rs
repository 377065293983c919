//! The state of a TPM that belongs to one process: a folder with the encrypted files of `vm-store`, and the key that opens them.

use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tpm_server::{SaveFuture, StateStore, StoreError, Stored};
use vm_store::backend::Backend;
use vm_store::offline::{Place, examine};
use vm_store::{Contents, OpenOptions, STATE_NAME, SectionKind, StateFolder, StateKey, VmFile};

use crate::StatePlace;

/// A state folder as the storage of one TPM.
#[derive(Debug)]
pub struct FolderStore {
    backend: Arc<dyn Backend>,
    path: PathBuf,
    key: StateKey,
    folder: Option<StateFolder>,
    file: Option<VmFile>,
    patience: Duration,
}

/// swtpm's names of the two kinds of state.
const PERMANENT: &str = "permall";
const VOLATILE: &str = "volatilestate";
/// How often it is looked whether a folder is free.
const INTERVAL: Duration = Duration::from_millis(5);

impl FolderStore {
    /// The folder at `path`, which is not touched until its state is loaded.
    pub fn new(path: PathBuf, key: StateKey) -> Self {
        Self::at(StatePlace::folder(path), key)
    }

    /// The folder or file at `place`, which is not touched until its state is loaded.
    pub fn at(place: StatePlace, key: StateKey) -> Self {
        Self::on(place.backend(), place.path().to_owned(), key)
    }

    /// A folder on a backend of the caller's choice.
    pub fn on(backend: Arc<dyn Backend>, path: PathBuf, key: StateKey) -> Self {
        Self {
            backend,
            path,
            key,
            folder: None,
            file: None,
            patience: Duration::ZERO,
        }
    }

    /// Waits that long for another process that has the folder. Until then the thread does nothing else.
    #[must_use]
    pub fn waiting_for_others(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn claim(&self) -> Result<StateFolder, vm_store::StoreError> {
        let start = Instant::now();
        loop {
            match StateFolder::open(&*self.backend, &self.path, self.key.clone()) {
                Err(vm_store::StoreError::Locked { .. }) if start.elapsed() < self.patience => {
                    std::thread::sleep(INTERVAL);
                }
                outcome => return outcome,
            }
        }
    }

    /// The kinds, by swtpm's names, and the sizes of the state that is there. A folder is only looked at: that takes neither its key
    /// nor the lock that a running TPM has, and makes nothing.
    pub fn sizes(&mut self) -> Result<Vec<(&'static str, usize)>, StoreError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        if self.path.is_dir() {
            return self.sizes_in_folder();
        }
        let stored = self.load()?;
        let volatile = stored
            .as_ref()
            .and_then(|stored| stored.volatile.as_ref())
            .map(|bytes| (VOLATILE, bytes.len()));
        Ok(stored
            .map(|stored| (PERMANENT, stored.permanent.len()))
            .into_iter()
            .chain(volatile)
            .collect())
    }

    fn sizes_in_folder(&self) -> Result<Vec<(&'static str, usize)>, StoreError> {
        let state = self.path.join(STATE_NAME);
        if !state.exists() {
            return Ok(Vec::new());
        }
        let place = Place::find(&*self.backend, &state).map_err(StoreError::new)?;
        let found = examine(&place, None).map_err(StoreError::new)?;
        let sections = found.nvram.map(|nvram| nvram.sections).unwrap_or_default();
        let size = |name, kind: SectionKind| {
            let section = sections.iter().find(|section| section.kind == kind.0);
            section.map(|section| (name, section.length))
        };
        let Some(permanent) = size(PERMANENT, SectionKind::TPM_PERMANENT) else {
            let finding = found.findings.into_iter().next();
            let why = finding.map(|finding| format!("{}: {}", finding.file, finding.text));
            return Err(StoreError::new(format!(
                "{}: no state can be read: {}",
                state.display(),
                why.unwrap_or_else(|| "the files hold no TPM state".to_owned())
            )));
        };
        Ok([permanent]
            .into_iter()
            .chain(size(VOLATILE, SectionKind::TPM_VOLATILE))
            .collect())
    }

    fn save_now(&mut self, state: &Stored) -> Result<(), StoreError> {
        let mut contents = Contents::of_tpm(state.permanent.clone());
        if let Some(volatile) = &state.volatile {
            contents.set(SectionKind::TPM_VOLATILE, volatile.clone());
        }
        if let Some(file) = &mut self.file {
            file.save(&contents).map_err(StoreError::new)?;
        } else {
            let folder = self
                .folder
                .as_ref()
                .ok_or_else(|| StoreError::new("the state folder was given up"))?;
            self.file = Some(folder.create(&contents).map_err(StoreError::new)?);
        }
        Ok(())
    }
}

impl StateStore for FolderStore {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        self.release();
        let folder = self.claim().map_err(StoreError::new)?;
        let found = folder
            .load(&OpenOptions::default())
            .map_err(StoreError::new)?;
        self.folder = Some(folder);
        let Some((file, contents)) = found else {
            return Ok(None);
        };
        self.file = Some(file);
        let section = |kind| contents.get(kind).map(|bytes| bytes.to_vec().into());
        let permanent = section(SectionKind::TPM_PERMANENT);
        let missing = || {
            StoreError::new(format!(
                "{}: the files hold no TPM state",
                self.path.display()
            ))
        };
        Ok(Some(Stored {
            permanent: permanent.ok_or_else(missing)?,
            volatile: section(SectionKind::TPM_VOLATILE),
        }))
    }

    /// The process has one TPM and nothing better to do than to wait: a thread of its own would only make it wait longer.
    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        Box::pin(ready(self.save_now(state)))
    }

    fn release(&mut self) {
        self.file = None;
        self.folder = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn state(byte: u8, volatile: Option<u8>) -> Stored {
        let bytes = |byte| Zeroizing::new(vec![byte; 1000]);
        Stored {
            permanent: bytes(byte),
            volatile: volatile.map(bytes),
        }
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut store = FolderStore::new(path.clone(), StateKey::Beside);
        assert_eq!(store.load().unwrap(), None);
        for state in [state(1, None), state(2, Some(3)), state(4, None)] {
            store.save(&state).await.unwrap();
            store.release();
            assert_eq!(
                FolderStore::new(path.clone(), StateKey::Beside)
                    .load()
                    .unwrap(),
                Some(state)
            );
            store.load().unwrap();
        }
    }

    #[tokio::test]
    async fn one_file_can_hold_it_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tpm");
        let place: StatePlace = format!("file://{}", path.display()).parse().unwrap();
        for byte in 0..4 {
            let mut store = FolderStore::at(place.clone(), StateKey::Beside);
            let before = (byte > 0).then(|| state(byte - 1, Some(byte + 99)));
            assert_eq!(store.load().unwrap(), before);
            let mut other = FolderStore::at(place.clone(), StateKey::Beside);
            assert!(other.load().is_err(), "it has a user");
            for volatile in [None, Some(byte + 100)] {
                store.save(&state(byte, volatile)).await.unwrap();
            }
        }
        assert!(path.is_file());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(100).any(|part| part == [3; 100]), "sealed");
        assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    }

    #[tokio::test]
    async fn a_folder_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FolderStore::new(folder.path().join("state"), StateKey::Beside);
        store.load().unwrap();
        store.save(&state(1, None)).await.unwrap();
        let mut other = FolderStore::new(folder.path().join("state"), StateKey::Beside);
        assert!(other.load().is_err());
        store.release();
        assert!(other.load().is_ok());
    }

    #[tokio::test]
    async fn sizes_are_told_without_the_lock_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let look = || FolderStore::new(path.clone(), StateKey::Beside).sizes();
        assert_eq!(look().unwrap(), []);
        assert!(!path.exists(), "nothing was made");
        let mut store = FolderStore::new(path.clone(), StateKey::Beside);
        store.load().unwrap();
        assert_eq!(look().unwrap(), []);
        store.save(&state(1, None)).await.unwrap();
        assert_eq!(look().unwrap(), [("permall", 1000)]);
        store.save(&state(2, Some(3))).await.unwrap();
        let both = [("permall", 1000), ("volatilestate", 1000)];
        assert_eq!(look().unwrap(), both);
        let nvram = path.join(STATE_NAME).join("tpm.nvram");
        std::fs::write(&nvram, b"no state").unwrap();
        assert!(look().unwrap_err().to_string().contains("tpm.nvram"));
    }

    #[tokio::test]
    async fn another_user_can_be_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut store = FolderStore::new(path.clone(), StateKey::Beside);
        store.load().unwrap();
        store.save(&state(1, None)).await.unwrap();
        let waiting = std::thread::spawn(move || {
            FolderStore::new(path, StateKey::Beside)
                .waiting_for_others(Duration::from_secs(60))
                .load()
        });
        store.release();
        assert_eq!(waiting.join().unwrap().unwrap(), Some(state(1, None)));
    }
}
