//! The group committer: saves of many VMs leave the threads that serve sockets, and wait for the disk together.
//!
//! Any thread takes the next VM that waits, seals its state and writes it. Where a write comes as far as the device before it returns
//! (`BackendFile::write_to_device`), one sync makes all of them durable that came there before it: the thread that finds nobody syncing
//! does it, once for everything that waits, again for what came meanwhile, and the others go on writing. Elsewhere each thread syncs
//! the file that it wrote, side by side, and the kernel merges the flushes.
//!
//! A VM is with the committer once at a time, which keeps its saves in order; of several saves that came meanwhile only the last is
//! written, since each is the whole state, and all of them are told its outcome.

use crate::{
    backend::Device,
    contents::Contents,
    error::StoreError,
    nvram::{Progress, Unflushed},
    vm_file::VmFile,
};
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
    /// Files that have something to save, or that a thread has, or that wait for a sync.
    files: BTreeMap<usize, Waiting>,
    /// Devices that a thread is syncing, and what came to them since it began.
    syncing: BTreeMap<Device, Vec<Written>>,
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

/// A save that waits for the sync of its device.
struct Written {
    place: usize,
    file: SharedVmFile,
    save: Unflushed,
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

    /// Leaves a save to the thread that syncs its device; gives it back if there is none, and the caller is that thread now.
    fn hand_over(&self, written: Written) -> Option<Written> {
        let mut state = self.lock();
        match state.syncing.get_mut(&written.save.device) {
            Some(waiting) => {
                waiting.push(written);
                None
            }
            None => {
                state.syncing.insert(written.save.device, Vec::new());
                Some(written)
            }
        }
    }

    /// What came to a device since its sync began; if nothing, the caller is no longer the thread that syncs it.
    fn came_meanwhile(&self, device: Device) -> Vec<Written> {
        let mut state = self.lock();
        let waiting = state.syncing.get_mut(&device);
        let waiting = waiting.map(std::mem::take).unwrap_or_default();
        if waiting.is_empty() {
            state.syncing.remove(&device);
        }
        waiting
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
        let begun = catch_unwind(AssertUnwindSafe(|| lock(&file).begin_save(&contents)));
        // Wiped before anybody is told.
        drop(contents);
        match begun {
            Ok(Ok(Progress::Unflushed(save))) => {
                let written = Written {
                    place,
                    file,
                    save,
                    done,
                };
                if let Some(first) = queue.hand_over(written) {
                    sync_device(queue, first);
                }
                continue;
            }
            Ok(Ok(Progress::Durable(generation))) => tell(done, &Ok(generation)),
            Ok(Err(error)) => tell(done, &Err(Arc::new(error))),
            Err(_) => tracing::error!("a save panicked; its VM was not answered"),
        }
        // Only now, so that those who wait for a VM's saves hear of them in their order.
        drop(file);
        queue.release(place);
    }
}

/// Syncs a device for one save, and for all that come to it until nothing waits any more.
fn sync_device(queue: &Queue, first: Written) {
    let device = first.save.device;
    let mut waiting = vec![first];
    while !waiting.is_empty() {
        let synced = flush_any(&waiting).map_err(Arc::new);
        // A VM whose file is used for something else now does not hold the others up.
        let (free, busy): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|written| written.file.try_lock().is_ok());
        for written in free.into_iter().chain(busy) {
            finish(queue, written, &synced);
        }
        waiting = queue.came_meanwhile(device);
    }
}

/// Syncs one of the files, and with it their device.
fn flush_any(waiting: &[Written]) -> Result<(), StoreError> {
    let free = waiting
        .iter()
        .find_map(|written| written.file.try_lock().ok());
    match (free, waiting.first()) {
        (Some(file), _) => file.flush(),
        (None, Some(written)) => lock(&written.file).flush(),
        (None, None) => Ok(()),
    }
}

/// Ends a save as its sync ended, and lets its VM have the next one.
fn finish(queue: &Queue, written: Written, synced: &Result<(), Arc<StoreError>>) {
    let Written {
        place,
        file,
        save,
        done,
    } = written;
    let mut open = lock(&file);
    let result = match synced {
        Ok(()) => open.complete_save(save).map_err(Arc::new),
        Err(error) => {
            open.abandon_save(save);
            Err(Arc::clone(error))
        }
    };
    drop(open);
    tell(done, &result);
    drop(file);
    queue.release(place);
}

fn tell(done: Vec<Done>, result: &SaveResult) {
    let told = catch_unwind(AssertUnwindSafe(|| {
        for done in done {
            done(result.clone());
        }
    }));
    if told.is_err() {
        tracing::error!("whoever waited for a save panicked when it was told");
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
