//! The storage of a running VM's TPM: its encrypted file, written by the group committer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tpm_server::{SaveFuture, StateStore, StoreError, Stored};
use vm_inventory::GenerationNote;
use vm_store::{Committer, Contents, SaveResult, SectionKind, SharedVmFile, VmFile};

/// What a running VM has on stable storage, as its owner, its TPM and the committer share it.
pub(crate) struct Saved {
    file: SharedVmFile,
    contents: Mutex<Contents>,
    generation: AtomicU64,
    note: GenerationNote,
    failure: Mutex<Option<String>>,
}

impl Saved {
    pub(crate) fn new(file: VmFile, contents: Contents, note: GenerationNote) -> Self {
        Self {
            note,
            generation: AtomicU64::new(file.generation()),
            file: Arc::new(Mutex::new(file)),
            contents: Mutex::new(contents),
            failure: Mutex::new(None),
        }
    }

    /// The generation on stable storage.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What is on stable storage.
    pub(crate) fn contents(&self) -> Contents {
        lock(&self.contents).clone()
    }

    /// Lets `work` use the file between two saves.
    pub(crate) fn with_file(&self, work: &mut dyn FnMut(&mut VmFile)) {
        work(&mut lock(&self.file));
    }

    /// Why the latest save failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Closes the file in good order. Its TPM must be gone, so that nobody saves any more.
    pub(crate) fn close(self) -> Result<(), vm_store::StoreError> {
        let mut shared = self.file;
        loop {
            match Arc::try_unwrap(shared) {
                Ok(file) => {
                    return file
                        .into_inner()
                        .unwrap_or_else(PoisonError::into_inner)
                        .close();
                }
                // The committer has told the outcome of the last save and is about to let go.
                Err(busy) => shared = busy,
            }
            std::thread::yield_now();
        }
    }

    fn settle(&self, result: &SaveResult, contents: Contents) {
        match result {
            Ok(generation) => {
                *lock(&self.contents) = contents;
                if let Err(error) = self.note.note(*generation) {
                    // The floor is raised every few seconds all the same.
                    tracing::warn!("a generation was not noted: {error}");
                }
                self.generation.store(*generation, Ordering::Release);
                *lock(&self.failure) = None;
            }
            Err(error) => *lock(&self.failure) = Some(error.to_string()),
        }
    }
}

/// The [`StateStore`] of a running VM.
pub(crate) struct SealedStore {
    saved: Arc<Saved>,
    committer: Arc<Committer>,
}

impl SealedStore {
    pub(crate) fn new(saved: Arc<Saved>, committer: Arc<Committer>) -> Self {
        Self { saved, committer }
    }
}

impl StateStore for SealedStore {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        let contents = self.saved.contents();
        let section = |kind| contents.get(kind).map(|bytes| bytes.to_vec().into());
        // An empty TPM is never made in the place of one that is lost.
        let permanent = section(SectionKind::TPM_PERMANENT).ok_or_else(|| {
            StoreError::new("the VM's file holds no TPM state; restore the VM from a backup")
        })?;
        Ok(Some(Stored {
            permanent,
            volatile: section(SectionKind::TPM_VOLATILE),
        }))
    }

    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        let mut contents = self.saved.contents();
        contents.set(SectionKind::TPM_PERMANENT, state.permanent.clone());
        match &state.volatile {
            Some(volatile) => contents.set(SectionKind::TPM_VOLATILE, volatile.clone()),
            None => {
                contents.remove(SectionKind::TPM_VOLATILE);
            }
        }
        let (sender, receiver) = oneshot::channel();
        let saved = Arc::clone(&self.saved);
        let kept = contents.clone();
        self.committer
            .submit(&self.saved.file, contents, move |result| {
                // Settled on the committer's thread: what is stored counts even if nobody waits for it any more.
                saved.settle(&result, kept);
                // Before the answer, so that the owner finds itself alone when it closes the file.
                drop(saved);
                let _ = sender.send(result);
            });
        Box::pin(async move {
            match receiver.await {
                Ok(Ok(_generation)) => Ok(()),
                Ok(Err(error)) => Err(StoreError::new(error)),
                Err(_dropped) => Err(StoreError::new("the save was given up half-way")),
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
