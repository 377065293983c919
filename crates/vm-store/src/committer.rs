//! The group committer: saves of many VMs leave the threads that serve sockets, and wait for the disk together.
//!
//! Each VM belongs to one thread, so its saves stay in order. A thread takes all jobs that wait for it at once; of several
//! saves of one VM only the last is written, since each is the whole state, and all of them are told its outcome. The
//! threads' syncs run side by side, and the kernel merges the flushes.

use crate::{contents::Contents, error::StoreError, vm_file::VmFile};
use std::{
    fmt, io, iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

/// A VM's files as the committer and their owner share them.
pub type SharedVmFile = Arc<Mutex<VmFile>>;

/// The generation that is now on stable storage, or why not.
pub type SaveResult = Result<u64, Arc<StoreError>>;

/// Threads that write the saves of many VMs.
pub struct Committer {
    threads: Vec<Worker>,
}

struct Worker {
    jobs: Option<Sender<Job>>,
    handle: Option<JoinHandle<()>>,
}

struct Job {
    file: SharedVmFile,
    contents: Contents,
    done: Box<dyn FnOnce(SaveResult) + Send>,
}

impl Committer {
    /// Starts that many threads, at least one. Sixteen keep a disk busy with 64 VMs.
    pub fn start(threads: usize) -> io::Result<Self> {
        let threads = (0..threads.max(1)).map(|number| {
            let (sender, receiver) = mpsc::channel();
            let handle = thread::Builder::new()
                .name(format!("commit-{number}"))
                .spawn(move || serve(&receiver))?;
            Ok(Worker {
                jobs: Some(sender),
                handle: Some(handle),
            })
        });
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
        })
    }

    /// Saves contents and calls `done` when they are on stable storage, or when that failed. `done` runs on the
    /// committer's thread: it hands the result on (to a channel, a oneshot) and returns.
    pub fn submit(
        &self,
        file: &SharedVmFile,
        contents: Contents,
        done: impl FnOnce(SaveResult) + Send + 'static,
    ) {
        let number = lock(file).number();
        let worker = number
            .checked_rem(self.threads.len())
            .and_then(|at| self.threads.get(at));
        let job = Job {
            file: Arc::clone(file),
            contents,
            done: Box::new(done),
        };
        let refused = match worker.and_then(|worker| worker.jobs.as_ref()) {
            Some(jobs) => jobs.send(job).err().map(|error| error.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            let error = stopped(&job.file);
            (job.done)(Err(Arc::new(error)));
        }
    }

    /// Saves contents and waits.
    pub fn save(&self, file: &SharedVmFile, contents: Contents) -> SaveResult {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.submit(file, contents, move |result| {
            // The receiver waits below.
            let _ = sender.send(result);
        });
        receiver
            .recv()
            .unwrap_or_else(|_| Err(Arc::new(stopped(file))))
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Committer({} threads)", self.threads.len())
    }
}

impl Drop for Committer {
    /// Finishes what was submitted.
    fn drop(&mut self) {
        for worker in &mut self.threads {
            worker.jobs = None;
        }
        for worker in &mut self.threads {
            if let Some(handle) = worker.handle.take() {
                let _ = handle.join();
            }
        }
    }
}

fn serve(jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut batches: Vec<Batch> = Vec::new();
        for job in iter::once(first).chain(jobs.try_iter()) {
            match batches
                .iter_mut()
                .find(|batch| Arc::ptr_eq(&batch.file, &job.file))
            {
                Some(batch) => {
                    batch.contents = job.contents;
                    batch.done.push(job.done);
                }
                None => batches.push(Batch {
                    file: job.file,
                    contents: job.contents,
                    done: vec![job.done],
                }),
            }
        }
        for batch in batches {
            // A fault with one VM must not stop the saves of the others. Callbacks that are dropped uncalled tell
            // their receivers by that.
            if catch_unwind(AssertUnwindSafe(|| batch.commit())).is_err() {
                tracing::error!("a save panicked; its VM was not answered");
            }
        }
    }
}

struct Batch {
    file: SharedVmFile,
    contents: Contents,
    done: Vec<Box<dyn FnOnce(SaveResult) + Send>>,
}

impl Batch {
    fn commit(self) {
        let result = lock(&self.file).save(&self.contents).map_err(Arc::new);
        for done in self.done {
            done(result.clone());
        }
    }
}

fn lock(file: &SharedVmFile) -> std::sync::MutexGuard<'_, VmFile> {
    // A panic while saving leaves the file as after a failed save: the next one writes the same slot again.
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped(file: &SharedVmFile) -> StoreError {
    StoreError::Io {
        action: "save",
        path: lock(file).path().to_path_buf(),
        source: io::Error::other("the committer has stopped"),
    }
}
