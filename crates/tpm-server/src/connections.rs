//! A bounded number of connections: who comes too late takes the place of whoever has been silent the longest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::gate::Gate;

/// The connections of one listener.
#[derive(Debug)]
pub(crate) struct Connections {
    limit: usize,
    start: Instant,
    live: Mutex<Live>,
    crowded: Gate,
}

#[derive(Debug, Default)]
struct Live {
    next: u64,
    entries: BTreeMap<u64, Arc<Entry>>,
}

#[derive(Debug)]
struct Entry {
    last_active: AtomicU64,
    evicted: Notify,
}

impl Connections {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            start: Instant::now(),
            live: Mutex::default(),
            crowded: Gate::default(),
        })
    }

    /// Lets one more in. If that is one too many, the one that has been silent the longest has to go.
    pub(crate) fn admit(self: &Arc<Self>) -> Ticket {
        let entry = Arc::new(Entry {
            last_active: AtomicU64::new(self.now()),
            evicted: Notify::new(),
        });
        let mut live = self.live();
        while live.entries.len() >= self.limit.max(1) {
            let idle = live
                .entries
                .iter()
                .min_by_key(|(id, entry)| (entry.last_active.load(Ordering::Relaxed), **id))
                .map(|(id, _)| *id);
            if let Some(entry) = idle.and_then(|id| live.entries.remove(&id)) {
                if self.crowded.opens() {
                    tracing::warn!(
                        limit = self.limit,
                        "too many connections: the most silent ones are closed"
                    );
                }
                entry.evicted.notify_one();
            }
        }
        let id = live.next;
        live.next = live.next.wrapping_add(1);
        live.entries.insert(id, Arc::clone(&entry));
        drop(live);
        Ticket {
            id,
            entry,
            connections: Arc::clone(self),
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Nothing in here can leave the table half changed.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Ticket {
    id: u64,
    entry: Arc<Entry>,
    connections: Arc<Connections>,
}

impl Ticket {
    /// Notes that this connection is in use.
    pub(crate) fn touch(&self) {
        self.entry
            .last_active
            .store(self.connections.now(), Ordering::Relaxed);
    }

    /// Ready when this connection has to make room for another.
    pub(crate) async fn evicted(&self) {
        self.entry.evicted.notified().await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.connections.live().entries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn is_evicted(ticket: &Ticket) -> bool {
        timeout(Duration::from_millis(5), ticket.evicted())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn the_longest_silent_makes_room() {
        let connections = Connections::new(2);
        let (first, second) = (connections.admit(), connections.admit());
        std::thread::sleep(Duration::from_millis(1));
        first.touch();
        let third = connections.admit();
        assert!(is_evicted(&second).await);
        assert!(!is_evicted(&first).await);
        assert!(!is_evicted(&third).await);
    }

    #[tokio::test]
    async fn a_closed_connection_frees_its_place() {
        let connections = Connections::new(1);
        drop(connections.admit());
        let next = connections.admit();
        assert!(!is_evicted(&next).await);
        assert_eq!(connections.live().entries.len(), 1);
    }
}
