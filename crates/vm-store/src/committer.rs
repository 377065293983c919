//! The group committer: saves of many VMs leave the threads that serve sockets, and wait for the disk together.
//!
//! Any thread takes the next VM that waits, so that none waits for the disk behind another. A VM is with one thread at a time, which
//! keeps its saves in order; of several saves that came meanwhile only the last is written, since each is the whole state, and all of
//! them are told its outcome. The threads' syncs run side by side, and the kernel merges the flushes.

use crate::{contents::Contents, error::StoreError, vm_file::VmFile};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

/// A VM's files as the committer and their owner share them.
pub type SharedVmFile = Arc<Mutex<VmFile>>;

/// The generation that is now on stable storage, or why not.
pub type SaveResult = Result<u64, Arc<StoreError>>;

/// Threads that write the saves of many VMs.
pub struct Committer {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    /// Files with something to save that no thread has, by where they are in memory.
    ready: VecDeque<usize>,
    /// Files that have something to save, or that a thread has.
    files: BTreeMap<usize, Waiting>,
    stopped: bool,
}

struct Waiting {
    file: SharedVmFile,
    next: Option<Batch>,
}

/// The latest contents, and everybody who waits for them.
struct Batch {
    contents: Contents,
    done: Vec<Done>,
}

type Done = Box<dyn FnOnce(SaveResult) + Send>;

impl Committer {
    /// Starts that many threads, at least one: as many VMs wait for the disk at a time.
    pub fn start(threads: usize) -> io::Result<Self> {
        let mut committer = Self {
            queue: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&committer.queue);
            let thread = thread::Builder::new()
                .name(format!("commit-{number}"))
                .spawn(move || serve(&queue))?;
            committer.threads.push(thread);
        }
        Ok(committer)
    }

    /// Saves contents and calls `done` when they are on stable storage, or when that failed. `done` runs on the
    /// committer's thread: it hands the result on (to a channel, a oneshot) and returns.
    pub fn submit(
        &self,
        file: &SharedVmFile,
        contents: Contents,
        done: impl FnOnce(SaveResult) + Send + 'static,
    ) {
        let done: Done = Box::new(done);
        let place = Arc::as_ptr(file).addr();
        let mut state = self.queue.lock();
        let waiting = state.files.get_mut(&place);
        match waiting {
            Some(waiting) => match &mut waiting.next {
                Some(batch) => {
                    batch.contents = contents;
                    batch.done.push(done);
                }
                // The thread that has the file finds it.
                None => {
                    waiting.next = Some(Batch {
                        contents,
                        done: vec![done],
                    });
                }
            },
            None => {
                let waiting = Waiting {
                    file: Arc::clone(file),
                    next: Some(Batch {
                        contents,
                        done: vec![done],
                    }),
                };
                state.files.insert(place, waiting);
                state.ready.push_back(place);
                drop(state);
                self.queue.work.notify_one();
            }
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
        self.queue.lock().stopped = true;
        self.queue.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that may panic is done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next file and what it has to save; `None` when everything is done and nothing will come.
    fn next(&self) -> Option<(usize, SharedVmFile, Batch)> {
        let mut state = self.lock();
        loop {
            while let Some(place) = state.ready.pop_front() {
                let found = state.files.get_mut(&place);
                if let Some((waiting, batch)) =
                    found.and_then(|waiting| waiting.next.take().map(|batch| (waiting, batch)))
                {
                    return Some((place, Arc::clone(&waiting.file), batch));
                }
            }
            if state.stopped {
                return None;
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A thread is done with a file; more may have come for it.
    fn release(&self, place: usize) {
        let mut state = self.lock();
        let waits = state
            .files
            .get(&place)
            .is_some_and(|waiting| waiting.next.is_some());
        if waits {
            state.ready.push_back(place);
            drop(state);
            self.work.notify_one();
        } else {
            let gone = state.files.remove(&place);
            drop(state);
            drop(gone);
        }
    }
}

fn serve(queue: &Queue) {
    while let Some((place, file, batch)) = queue.next() {
        let Batch { contents, done } = batch;
        // A fault with one VM must not stop the saves of the others. Callbacks that are dropped uncalled tell
        // their receivers by that.
        let saved = catch_unwind(AssertUnwindSafe(|| {
            lock(&file).save(&contents).map_err(Arc::new)
        }));
        match saved {
            Ok(result) => {
                let told = catch_unwind(AssertUnwindSafe(|| {
                    for done in done {
                        done(result.clone());
                    }
                }));
                if told.is_err() {
                    tracing::error!("whoever waited for a save panicked when it was told");
                }
            }
            Err(_) => tracing::error!("a save panicked; its VM was not answered"),
        }
        // Only now, so that those who wait for a VM's saves hear of them in their order.
        drop(file);
        queue.release(place);
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
