//! The seeds of the fuzz targets are replayed, and recorded from real clients.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use support::{Client, PortPair, Protocol, TpmServer, against_swtpm, data, folder};

fn seeds() -> PathBuf {
    corpus("command_bytes")
}

fn corpus(target: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    folder.join(target)
}

/// Runs a target on its seeds, and tells how many they are.
fn replay(target: &str, run: impl Fn(&[u8])) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(corpus(target)).expect("the corpus") {
        let path = entry.expect("an entry").path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("seed-"))
        {
            run(&fs::read(&path).expect("a seed"));
            count += 1;
        }
    }
    count
}

#[test]
fn every_seed_is_answered() {
    let count = replay("command_bytes", tpm_engine::testing::execute_command_bytes);
    assert!(count >= 80, "only {count} seeds");
}

#[test]
fn every_seed_of_a_sequence_keeps_the_rules() {
    let sequences = tpm_engine::testing::Sequences::new();
    let count = replay("command_sequence", |bytes| {
        sequences.execute(bytes);
    });
    assert!(count > 0, "no seeds");
}

#[test]
fn every_seed_of_a_package_is_taken_or_refused() {
    let count = replay("ovf", vm_inventory::ovf::fuzzing::package);
    assert!(count >= 8, "only {count} seeds");
}

#[test]
fn every_seed_is_written_as_it_was_read() {
    let count = replay("wire_round_trip", tpm_engine::testing::wire_round_trip);
    assert!(count > 0, "no seeds");
}

#[test]
fn every_seed_on_swtpms_channels_leaves_a_tpm_that_starts() {
    let count = replay("swtpm_control", tpm_server::fuzzing::swtpm_channels);
    assert!(count > 0, "no seeds");
}

#[test]
fn every_seed_on_the_simulators_ports_leaves_a_tpm_that_starts() {
    let count = replay("simulator", tpm_server::fuzzing::simulator_ports);
    assert!(count > 0, "no seeds");
}

#[test]
fn every_seed_as_a_vms_files_opens_or_is_refused() {
    let count = replay("vm_file", vm_store::fuzzing::vm_file);
    assert!(count > 0, "no seeds");
}

/// Commands by code: the shortest and the longest of each that a client sent.
type Recorded = Arc<Mutex<BTreeMap<u32, [Vec<u8>; 2]>>>;

fn record(commands: &Recorded, bytes: &[u8]) {
    let Some(code) = bytes.get(6..10) else { return };
    let code = u32::from_be_bytes(code.try_into().expect("four bytes"));
    let mut commands = commands.lock().expect("not poisoned");
    let [shortest, longest] = commands
        .entry(code)
        .or_insert_with(|| [bytes.to_vec(), bytes.to_vec()]);
    if bytes.len() < shortest.len() {
        *shortest = bytes.to_vec();
    }
    if bytes.len() > longest.len() {
        *longest = bytes.to_vec();
    }
}

/// Passes connections on to `to`; what clients say is recorded when `commands` is given.
fn listen_in(from: u16, to: u16, commands: Option<Recorded>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, from)).expect("a free port");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else {
                return;
            };
            let (mut back, mut forth) = (
                client.try_clone().expect("a descriptor"),
                server.try_clone().expect("a descriptor"),
            );
            let commands = commands.clone();
            std::thread::spawn(move || {
                let mut bytes = vec![0; 65536];
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    if let Some(commands) = &commands {
                        record(commands, &bytes[..count]);
                    }
                    if forth.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = forth.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut server, &mut back);
                let _ = back.shutdown(Shutdown::Write);
            });
        }
    });
}

/// `VTPM_UPDATE_DATA=1 VTPM_TESTS_AGAINST=swtpm cargo test --test corpus` writes the seeds again: what tpm2-tools sent in
/// all flows, the shortest and the longest command of each kind.
#[test]
fn seeds_are_recorded_from_the_flows() {
    if !against_swtpm() || std::env::var_os("VTPM_UPDATE_DATA").is_none() {
        return;
    }
    let commands = Recorded::default();
    let mut flows: Vec<String> = fs::read_dir(data("flows"))
        .expect("the flows")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name != "lib.sh" && !name.contains("after-restart"))
        .collect();
    flows.sort();
    for flow in flows {
        let (home, work) = (folder(), folder());
        let mut server = TpmServer::start(Protocol::Swtpm, home.path());
        let ports = PortPair::claim();
        let to = server.address().port();
        listen_in(ports.first, to, Some(commands.clone()));
        listen_in(ports.first + 1, to + 1, None);
        let tcti = format!("swtpm:host=127.0.0.1,port={}", ports.first);
        Client::new(tcti, work.path()).flow(&flow);
        server.assert_alive();
    }
    for (code, [shortest, longest]) in commands.lock().expect("not poisoned").iter() {
        fs::write(seeds().join(format!("seed-{code:08x}-shortest")), shortest).expect("a seed");
        if shortest.len() != longest.len() {
            fs::write(seeds().join(format!("seed-{code:08x}-longest")), longest).expect("a seed");
        }
    }
}
