//! Where jobs of the inventory run.

use std::sync::Arc;
use tokio::sync::Semaphore;
use vm_inventory::{Job, Task};

/// How many jobs run at once: making a TPM keeps a core busy, the rest waits for disks, and those that wait together share a sync.
const AT_ONCE: u32 = 16;

/// Runs jobs on threads that may block, a few at a time.
#[derive(Clone)]
pub struct Jobs {
    permits: Arc<Semaphore>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE as usize)),
        }
    }
}

impl Jobs {
    /// Starts a job as soon as there is room; returns its task as accepted.
    pub fn start(&self, job: Job) -> Task {
        let accepted = job.task().clone();
        let permits = Arc::clone(&self.permits);
        tokio::spawn(async move {
            // A closed semaphore means that the daemon stops: the journal undoes what was only accepted.
            if let Ok(permit) = permits.acquire_owned().await {
                tokio::task::spawn_blocking(move || {
                    let _ended = job.run();
                    drop(permit);
                });
            }
        });
        accepted
    }

    /// Starts work of several jobs after another as soon as there is room.
    pub fn run(&self, work: impl FnOnce() + Send + 'static) {
        let permits = Arc::clone(&self.permits);
        tokio::spawn(async move {
            if let Ok(permit) = permits.acquire_owned().await {
                tokio::task::spawn_blocking(move || {
                    work();
                    drop(permit);
                });
            }
        });
    }

    /// Waits for the running jobs and starts no others.
    pub async fn finish(&self) {
        if let Ok(all) = self.permits.acquire_many(AT_ONCE).await {
            self.permits.close();
            drop(all);
        }
    }
}
