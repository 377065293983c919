//! Whatever clients do on either channel: the TPM stays up for the others, memory is bounded, and the log says it once.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::place::Place;
use crate::support;
use crate::support::raw::{Bytes, get_random};

/// How long to wait for an answer that need not come.
const BRIEFLY: Duration = Duration::from_millis(300);

#[test]
fn five_hundred_clients_of_each_channel_keep_nobody_out() {
    let place = Place::new();
    let mut served = place.serve("a", &["--flags", "startup-clear"]);
    served.assert_serves();
    let before = served.memory();
    let mut crowd = Vec::new();
    for _ in 0..500 {
        crowd.push(UnixStream::connect(&served.data).expect("accepted"));
        crowd.push(UnixStream::connect(&served.control).expect("accepted"));
        // Each says a little, so that there is something to wait for.
        for stream in crowd.iter_mut().rev().take(2) {
            support::write_what_it_takes(stream, &[0, 0]);
        }
    }
    served.assert_serves();
    assert_eq!(
        place.ioctl_ok(&served, &["-c"]),
        "ptm capability is 0x1ffff\n"
    );
    drop(crowd);
    served.assert_serves();
    let after = served.memory();
    assert!(
        after < before + 16 * 1024,
        "grew from {before} to {after} KiB"
    );
    let log = served.log();
    for line in ["too many connections", "closed a control connection"] {
        assert!(log.matches(line).count() <= 2, "{log}");
    }
    assert!(log.contains("too many connections"), "{log}");
    assert!(log.lines().count() < 20, "{log}");
}

#[test]
fn lies_about_lengths_on_the_control_channel_cost_nothing() {
    let place = Place::new();
    let mut served = place.serve("a", &["--flags", "startup-clear"]);
    served.assert_serves();
    let before = served.memory();
    for _ in 0..50 {
        // State of 4 GiB, hash data of 4 GiB, and half a request.
        for request in [
            Bytes::new().u32(13).u32(0).u32(1).u32(u32::MAX).0,
            Bytes::new().u32(13).u32(0).u32(1).u32(512 * 1024).0,
            Bytes::new().u32(7).u32(u32::MAX).0,
            Bytes::new().u32(12).u32(1).u16(0).0,
        ] {
            let mut control = served.control();
            support::write_what_it_takes(&mut control, &request);
            support::write_what_it_takes(&mut control, &vec![0x41; 64 * 1024]);
        }
    }
    served.assert_serves();
    let after = served.memory();
    assert!(
        after < before + 16 * 1024,
        "grew from {before} to {after} KiB"
    );
    assert!(served.log().lines().count() < 20, "{}", served.log());
    // In the wrong order: state for a TPM that runs, its end without its start.
    let mut control = served.control();
    for (request, result) in [
        (Bytes::new().u32(13).u32(0).u32(1).u32(0).0, 0x0a),
        (Bytes::new().u32(17).u32(4096).0, 0x0a),
        (Bytes::new().u32(16).0, 3),
        (Bytes::new().u32(8).0, 0),
        (Bytes::new().u32(99).0, 0x0a),
    ] {
        control.write_all(&request).expect("sent");
        let mut answer = [0; 4];
        control.read_exact(&mut answer).expect("answered");
        assert_eq!(u32::from_be_bytes(answer), result, "{request:?}");
    }
    served.assert_serves();
}

#[test]
fn clients_that_never_read_keep_nobody_waiting() {
    let place = Place::new();
    let mut served = place.serve("a", &["--flags", "startup-clear"]);
    let before = served.memory();
    let mut lazy = Vec::new();
    for _ in 0..20 {
        let mut control = served.control();
        control.set_write_timeout(Some(BRIEFLY)).expect("a timeout");
        // The volatile state is the longest answer there is.
        let request = Bytes::new().u32(12).u32(1).u32(2).u32(0).0;
        for _ in 0..40 {
            support::write_what_it_takes(&mut control, &request);
        }
        lazy.push(control);
    }
    let mut tpm = served.tpm();
    tpm.ok(&get_random(8));
    assert_eq!(
        place.ioctl_ok(&served, &["-c"]),
        "ptm capability is 0x1ffff\n"
    );
    let after = served.memory();
    assert!(
        after < before + 32 * 1024,
        "grew from {before} to {after} KiB"
    );
    drop(lazy);
    served.assert_serves();
}
