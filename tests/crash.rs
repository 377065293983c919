//! `kill -9` while writes are being acknowledged: what was acknowledged is there afterwards, what was not is whole or absent.

#![cfg(test)]

mod support;

use std::path::Path;

use support::raw::{self, NvKind, RawTpm, Response, nv_define, nv_increment, nv_read, nv_write};
use support::{Protocol, TpmServer, folder};

const DATA: u32 = 0x0150_0100;
const COUNTER: u32 = 0x0150_0101;
const SIZE: usize = 256;
/// What CI has time for; `VTPM_CRASH_ROUNDS` asks for more.
const KILLS: u32 = 100;

/// The content of write number `n`: any mixture of two writes is recognised.
fn content(n: u64) -> Vec<u8> {
    n.to_be_bytes().repeat(SIZE / 8)
}

/// The number of the write whose content this is.
fn number(content: &[u8]) -> u64 {
    let mut numbers = content
        .chunks(8)
        .map(|chunk| u64::from_be_bytes(chunk.try_into().expect("eight bytes")));
    let first = numbers.next().expect("not empty");
    assert!(
        numbers.all(|other| other == first),
        "a mixture of two writes"
    );
    first
}

fn size() -> u16 {
    u16::try_from(SIZE).expect("small")
}

/// How long after the first acknowledged write of a round the kill comes: spread over the life of a few writes.
fn pause_before_kill(round: u32) -> std::time::Duration {
    std::time::Duration::from_micros(u64::from(round * 37 % 100) * 20)
}

/// How many kills this run is to survive.
fn kills() -> u32 {
    match std::env::var("VTPM_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("VTPM_CRASH_ROUNDS is a number"),
        Err(_) => KILLS,
    }
}

struct Acknowledged {
    write: u64,
    sent: u64,
    count: u64,
    increments_sent: u64,
}

/// Writes and increments until the connection breaks; keeps what was acknowledged and what was merely sent.
fn write_until_it_breaks(
    tpm: &mut RawTpm,
    so_far: &mut Acknowledged,
    ready: &std::sync::mpsc::Sender<()>,
) {
    let succeeded = |answer: std::io::Result<Response>| match answer {
        Ok(response) => {
            assert_eq!(response.code(), 0, "refused with {:#x}", response.code());
            true
        }
        Err(_) => false,
    };
    loop {
        so_far.sent += 1;
        if !succeeded(tpm.try_execute(&nv_write(DATA, b"data", &content(so_far.sent)))) {
            return;
        }
        so_far.write = so_far.sent;
        let _ = ready.send(());
        so_far.increments_sent = so_far.count + 1;
        if !succeeded(tpm.try_execute(&nv_increment(COUNTER, b"counter"))) {
            return;
        }
        so_far.count += 1;
    }
}

fn counter(tpm: &mut RawTpm) -> u64 {
    let response = tpm.ok(&nv_read(COUNTER, b"counter", 8));
    u64::from_be_bytes(response.first_buffer().try_into().expect("eight bytes"))
}

fn connect(server: &TpmServer) -> RawTpm {
    let mut tpm = RawTpm::connect(server.address());
    // A server that starts its TPM by itself answers that it has been started.
    let code = tpm.execute(&raw::startup()).code();
    assert!(code == 0 || code == 0x100, "{code:#x}");
    tpm
}

fn start(home: &Path) -> (TpmServer, RawTpm, Acknowledged) {
    let server = TpmServer::start(Protocol::Swtpm, home);
    let mut tpm = connect(&server);
    tpm.ok(&nv_define(DATA, NvKind::Ordinary, size(), b"data"));
    tpm.ok(&nv_write(DATA, b"data", &content(0)));
    tpm.ok(&nv_define(COUNTER, NvKind::Counter, 8, b"counter"));
    tpm.ok(&nv_increment(COUNTER, b"counter"));
    let count = counter(&mut tpm);
    let acknowledged = Acknowledged {
        write: 0,
        sent: 0,
        count,
        increments_sent: count,
    };
    (server, tpm, acknowledged)
}

#[test]
fn a_hundred_kills_lose_no_acknowledged_write() {
    let kills = kills();
    let home = folder();
    let (mut server, mut tpm, mut acknowledged) = start(home.path());
    let mut written = 0;
    for round in 0..kills {
        let (ready, writing) = std::sync::mpsc::channel();
        let writer = std::thread::spawn(move || {
            write_until_it_breaks(&mut tpm, &mut acknowledged, &ready);
            acknowledged
        });
        writing.recv().expect("a first acknowledged write");
        std::thread::park_timeout(pause_before_kill(round));
        server.process().kill();
        acknowledged = writer.join().expect("the writer");
        server.start_again();
        tpm = connect(&server);

        let response = tpm.ok(&nv_read(DATA, b"data", size()));
        let found = number(response.first_buffer());
        assert!(
            (acknowledged.write..=acknowledged.sent).contains(&found),
            "round {round}: found write {found}, acknowledged {}, sent {}",
            acknowledged.write,
            acknowledged.sent
        );
        let count = counter(&mut tpm);
        assert!(
            (acknowledged.count..=acknowledged.increments_sent.max(acknowledged.count))
                .contains(&count),
            "round {round}: found count {count}, acknowledged {}, sent {}",
            acknowledged.count,
            acknowledged.increments_sent
        );
        written += acknowledged.write;
        acknowledged.write = found;
        acknowledged.sent = found;
        acknowledged.count = count;
        acknowledged.increments_sent = count;
    }
    assert!(
        written >= u64::from(kills),
        "the kills came before any write"
    );
}

#[test]
fn a_definition_is_whole_or_absent_after_a_kill() {
    let home = folder();
    let (mut server, mut tpm, _) = start(home.path());
    let mut expected = Vec::new();
    for index in 0..10_u32 {
        let handle = 0x0150_0200 + index;
        tpm.ok(&nv_define(handle, NvKind::Ordinary, size(), b"data"));
        expected.push(handle);
        if index % 3 == 2 {
            let gone = expected.remove(0);
            tpm.ok(&raw::nv_undefine(gone));
        }
        server.process().kill();
        server.start_again();
        tpm = connect(&server);
        for handle in 0x0150_0200..=handle {
            // Never written: NV_UNINITIALIZED (0x14a) says that the index is there, 0x18b that it is not.
            let code = tpm.execute(&nv_read(handle, b"data", 8)).code();
            let wanted = if expected.contains(&handle) {
                0x14a
            } else {
                0x18b
            };
            assert_eq!(code, wanted, "{handle:#x}: {code:#x}");
        }
    }
}
