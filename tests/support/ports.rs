//! Ports for servers of tests, which nothing else takes between two of their starts.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Two neighbouring TCP ports of the loopback interface, ours until the value is dropped.
///
/// They lie outside the range that outgoing connections take theirs from: a port of that range that was free a moment ago may be the
/// client's own when it looks for the server. A name per pair, which only one process can have, keeps other tests away from them even
/// between two runs of a server. Names of that kind are known wherever the ports are, whoever runs the tests and in whichever folder.
#[derive(Debug)]
pub(crate) struct PortPair {
    pub(crate) first: u16,
    _name: UnixListener,
}

impl PortPair {
    /// Claims a free pair.
    pub(crate) fn claim() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (start, pairs) = beside(outgoing());
        for _ in 0..pairs {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let pair = (std::process::id().wrapping_mul(61).wrapping_add(step)) % pairs;
            let first = u16::try_from(start + 2 * pair).expect("below 65536");
            let name = SocketAddr::from_abstract_name(format!("vtpm-test-port-{first}"));
            let name = UnixListener::bind_addr(&name.expect("a short name"));
            // Not by listening there: a process that another thread is just starting would have the listener for a while, too.
            let free = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
            if let Ok(name) = name
                && free(first)
                && free(first + 1)
            {
                return PortPair { first, _name: name };
            }
        }
        panic!("no two neighbouring free ports");
    }
}

/// The range that outgoing connections take their ports from, as this machine has it.
fn outgoing() -> (u32, u32) {
    const USUAL: (u32, u32) = (32_768, 60_999);
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_whitespace().map(str::parse);
    match (bounds.next(), bounds.next()) {
        (Some(Ok(low)), Some(Ok(high))) => (low, high),
        _ => USUAL,
    }
}

/// The first port and the number of pairs beside that range; where it leaves nothing, within it.
fn beside((low, high): (u32, u32)) -> (u32, u32) {
    const ENOUGH: u32 = 500;
    const PREFERRED: (u32, u32) = (12_000, 20_000);
    let places = [
        (PREFERRED.0, PREFERRED.1.min(low)),
        (2_048, low),
        (high + 1, 65_536),
    ];
    let pairs = |(start, end): (u32, u32)| end.saturating_sub(start) / 2;
    let place = places.into_iter().find(|place| pairs(*place) >= ENOUGH);
    let place = place.unwrap_or(PREFERRED);
    (place.0, pairs(place))
}
