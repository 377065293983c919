//! Ports for servers of tests, which nothing else takes between two of their starts.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

/// Two neighbouring TCP ports of the loopback interface, ours until the value is dropped.
///
/// They lie below the range that outgoing connections take theirs from: a port of that range that was free a moment ago may be the
/// client's own when it looks for the server. A locked file per pair keeps other tests away from them even between two runs of a server.
#[derive(Debug)]
pub(crate) struct PortPair {
    pub(crate) first: u16,
    _lock: File,
}

impl PortPair {
    /// Claims a free pair.
    pub(crate) fn claim() -> Self {
        const FIRST: u32 = 12_000;
        const PAIRS: u32 = 4_000;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let locks = std::env::temp_dir().join("vtpm-test-ports");
        fs::create_dir_all(&locks).expect("a folder for the port locks");
        for _ in 0..PAIRS {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let pair = (std::process::id().wrapping_mul(61).wrapping_add(step)) % PAIRS;
            let first = u16::try_from(FIRST + 2 * pair).expect("below 65536");
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(locks.join(first.to_string()))
                .expect("a port lock");
            // Not by listening there: a process that another thread is just starting would have the listener for a while, too.
            let free = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
            if lock.try_lock().is_ok() && free(first) && free(first + 1) {
                return PortPair { first, _lock: lock };
            }
        }
        panic!("no two neighbouring free ports");
    }
}
