//! Whatever arrives on a socket: a well-formed response, a closed connection, or patience; and a server that lives on.

#![cfg(test)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use support::raw::{Answer, Bytes, RawTpm, get_random, startup};
use support::{PATIENCE, Protocol, TpmServer, against_swtpm, folder, only_for_vtpm};

/// How long to wait for an answer that need not come.
const BRIEFLY: Duration = Duration::from_millis(300);

/// Fails unless a new client is served, within reasonable time.
fn assert_serves(server: &mut TpmServer) {
    server.assert_alive();
    let response = RawTpm::connect(server.address()).execute(&get_random(8));
    assert_eq!(response.code(), 0);
    assert_eq!(response.first_buffer().len(), 8);
    server.assert_alive();
}

/// Resident memory of the server, in KiB.
fn memory(server: &mut TpmServer) -> u64 {
    let status =
        fs::read_to_string(format!("/proc/{}/status", server.process().id())).expect("/proc");
    status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
        .expect("RssAnon")
}

fn start() -> (tempfile::TempDir, TpmServer) {
    let home = folder();
    let server = TpmServer::start(Protocol::Swtpm, home.path());
    (home, server)
}

/// A deterministic stream of bytes without a pattern.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_be_bytes()[0])
            .take(length)
            .collect()
    }
}

#[test]
fn a_length_that_lies_gets_an_error_or_the_door() {
    let (_home, mut server) = start();
    let honest = get_random(8);
    for length in [
        0_u32,
        1,
        9,
        10,
        11,
        13,
        14,
        100,
        4096,
        4097,
        8193,
        0x7fff_ffff,
        0xffff_ffff,
    ] {
        let mut lying = honest.clone();
        lying[2..6].copy_from_slice(&length.to_be_bytes());
        let mut connection = RawTpm::connect(server.address());
        // More was announced than came: the server may wait for it, but not alone for this client.
        let may_wait = length > 12 || against_swtpm();
        let wait = if may_wait { BRIEFLY } else { PATIENCE };
        match connection.provoke(&lying, wait) {
            Answer::Response(response) => assert_ne!(response.code(), 0, "length {length}"),
            Answer::Closed => {}
            Answer::Silence => assert!(may_wait, "length {length}"),
        }
        drop(connection);
        assert_serves(&mut server);
    }
}

#[test]
fn four_gigabytes_are_not_awaited_in_memory() {
    let (_home, mut server) = start();
    assert_serves(&mut server);
    let before = memory(&mut server);
    for length in [0xffff_ffff_u32, 0x1000_0000, 0x0010_0000] {
        let mut connection = RawTpm::connect(server.address());
        let header = Bytes::new().u16(0x8001).u32(length).u32(0x17b).0;
        let _ = connection.provoke(&header, BRIEFLY);
        let chunk = vec![0x41; 1 << 20];
        for _ in 0..16 {
            if connection.0.write_all(&chunk).is_err() {
                break;
            }
        }
    }
    assert_serves(&mut server);
    let after = memory(&mut server);
    assert!(
        after < before + 16 * 1024,
        "grew from {before} to {after} KiB"
    );
}

#[test]
fn truncated_commands_leave_the_server_serving() {
    let (_home, mut server) = start();
    let whole = get_random(8);
    for length in 0..whole.len() {
        // Half a request, then the end of the stream.
        let mut connection = RawTpm::connect(server.address());
        support::write_what_it_takes(&mut connection.0, &whole[..length]);
        let _ = connection.0.shutdown(Shutdown::Write);
        match connection.answer(PATIENCE) {
            Answer::Response(response) => assert_ne!(response.code(), 0),
            Answer::Closed => {}
            Answer::Silence => panic!("neither answer nor end after {length} bytes"),
        }
        // Half a request, then a reset.
        let mut connection = RawTpm::connect(server.address());
        support::write_what_it_takes(&mut connection.0, &whole[..length]);
        drop(connection);
    }
    assert_serves(&mut server);
}

#[test]
fn a_command_in_single_bytes_is_a_command() {
    let (_home, mut server) = start();
    if only_for_vtpm("it takes what one read gives for the whole command") {
        return;
    }
    let mut connection = RawTpm::connect(server.address());
    for byte in get_random(8) {
        connection.0.write_all(&[byte]).expect("the server reads");
    }
    let Answer::Response(response) = connection.answer(PATIENCE) else {
        panic!("no response");
    };
    assert_eq!(response.code(), 0);
    assert_serves(&mut server);
}

#[test]
fn several_commands_in_one_write_get_several_responses() {
    if only_for_vtpm("it takes what one read gives for one command") {
        return;
    }
    let (_home, mut server) = start();
    let mut connection = RawTpm::connect(server.address());
    let many = [get_random(8), get_random(16), get_random(4)].concat();
    connection.0.write_all(&many).expect("the server reads");
    for length in [8, 16, 4] {
        let Answer::Response(response) = connection.answer(PATIENCE) else {
            panic!("no response");
        };
        assert_eq!(response.first_buffer().len(), length);
    }
    assert_serves(&mut server);
}

#[test]
fn noise_with_an_honest_length_is_always_answered() {
    let (_home, mut server) = start();
    let mut noise = Noise(0x5eed_5eed_5eed_5eed);
    let mut connection = RawTpm::connect(server.address());
    for _ in 0..3000 {
        let length = usize::try_from(noise.next() % 300).expect("small");
        let tag = if noise.next().is_multiple_of(2) {
            0x8001
        } else {
            0x8002
        };
        let code = 0x11f + u32::try_from(noise.next() % 0x90).expect("small");
        let body = noise.bytes(length);
        // Not the ones that would make every later command fail by right.
        if [0x126, 0x144, 0x145].contains(&code) {
            continue;
        }
        let frame = support::raw::frame(tag, code, &body);
        connection
            .try_execute(&frame)
            .unwrap_or_else(|error| panic!("{error} to {}", hex::encode(&frame)));
    }
    drop(connection);
    assert_serves(&mut server);
}

#[test]
fn commands_with_every_byte_changed_are_always_answered() {
    let (_home, mut server) = start();
    let mut connection = RawTpm::connect(server.address());
    let commands = [
        startup(),
        get_random(8),
        support::raw::nv_define(0x0150_0300, support::raw::NvKind::Ordinary, 8, b"auth"),
        support::raw::nv_write(0x0150_0300, b"auth", b"12345678"),
        support::raw::nv_read(0x0150_0300, b"auth", 8),
        support::raw::nv_undefine(0x0150_0300),
    ];
    for command in commands {
        for position in (0..command.len()).filter(|position| !(2..6).contains(position)) {
            for bit in [0x01, 0x80, 0xff] {
                let mut changed = command.clone();
                changed[position] ^= bit;
                connection
                    .try_execute(&changed)
                    .unwrap_or_else(|error| panic!("{error} to {}", hex::encode(&changed)));
            }
        }
    }
    drop(connection);
    server.assert_alive();
}

#[test]
fn noise_without_any_frame_does_no_harm() {
    let (_home, mut server) = start();
    let mut noise = Noise(0xdead_beef_dead_beef);
    for length in [1, 9, 10, 11, 100, 5000, 100_000] {
        let mut connection = RawTpm::connect(server.address());
        support::write_what_it_takes(&mut connection.0, &noise.bytes(length));
        let _ = connection.0.shutdown(Shutdown::Write);
        // Until the server closes: each thing it says is a response.
        while let Answer::Response(_) = connection.answer(PATIENCE) {}
    }
    assert_serves(&mut server);
}

fn idle(address: SocketAddr) -> Option<TcpStream> {
    TcpStream::connect_timeout(&address, PATIENCE).ok()
}

#[test]
fn many_idle_connections_keep_nobody_out_for_ever() {
    if only_for_vtpm("it serves one client at a time") {
        return;
    }
    let (_home, mut server) = start();
    let connections: Vec<_> = (0..300).filter_map(|_| idle(server.address())).collect();
    server.assert_alive();
    // Served, or turned away at once; never left waiting.
    let mut connection = RawTpm::connect(server.address());
    if let Answer::Silence = connection.provoke(&get_random(8), PATIENCE) {
        panic!("left waiting");
    }
    drop(connection);
    drop(connections);
    // Those that were turned away are forgotten as soon as the others are gone.
    support::wait_for("service after the crowd", || {
        let mut connection = RawTpm::connect(server.address());
        match connection.provoke(&get_random(8), BRIEFLY) {
            Answer::Response(response) if response.code() == 0 => Some(()),
            _ => None,
        }
    });
    assert_serves(&mut server);
}

#[test]
fn a_reader_that_does_not_read_blocks_nobody() {
    let (_home, mut server) = start();
    if only_for_vtpm("it serves one client at a time") {
        return;
    }
    let mut lazy = RawTpm::connect(server.address());
    lazy.0
        .set_write_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout");
    let many = get_random(64).repeat(5000);
    support::write_what_it_takes(&mut lazy.0, &many);
    assert_serves(&mut server);
    drop(lazy);
    assert_serves(&mut server);
}

#[test]
fn thousands_of_short_connections_are_served() {
    let (_home, mut server) = start();
    for _ in 0..2000 {
        let response = RawTpm::connect(server.address()).execute(&get_random(1));
        assert_eq!(response.code(), 0);
    }
    assert_serves(&mut server);
}

#[test]
fn the_control_channel_survives_nonsense() {
    let (_home, mut server) = start();
    let mut noise = Noise(0x0bad_cafe_0bad_cafe);
    let mut requests = vec![
        Vec::new(),
        vec![0],
        vec![0, 0, 0],
        0_u32.to_be_bytes().to_vec(),
        999_u32.to_be_bytes().to_vec(),
        u32::MAX.to_be_bytes().to_vec(),
        // A state blob of 4 GiB, hash data of 4 GiB, and half a buffer size.
        Bytes::new().u32(13).u32(0).u32(1).u32(u32::MAX).0,
        Bytes::new().u32(7).u32(u32::MAX).0,
        Bytes::new().u32(17).u16(0).0,
        Bytes::new().u32(5).u8(200).0,
    ];
    requests.extend((1..50).map(|length| noise.bytes(length)));
    for request in requests {
        // Codes that stop the server or its TPM by right.
        let code = request.first_chunk().map(|code| u32::from_be_bytes(*code));
        if matches!(code, Some(2 | 3 | 14)) {
            continue;
        }
        let mut control = TcpStream::connect(server.control_address()).expect("accepted");
        control.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        support::write_what_it_takes(&mut control, &request);
        let _ = control.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = control.take(1 << 20).read_to_end(&mut answer);
        assert!(answer.len() < 1 << 16, "{} bytes", answer.len());
        server.assert_alive();
    }
    assert_serves(&mut server);
}

#[test]
fn the_simulators_ports_survive_nonsense() {
    if only_for_vtpm("it speaks no simulator protocol") {
        return;
    }
    let home = folder();
    let mut server = TpmServer::start(Protocol::Mssim, home.path());
    let mut noise = Noise(0x1234_5678_9abc_def1);
    let mut requests = vec![
        vec![0],
        0_u32.to_be_bytes().to_vec(),
        // Send a command: of 4 GiB, of no byte, of fewer bytes than announced, with an unknown locality.
        Bytes::new().u32(8).u8(0).u32(u32::MAX).0,
        Bytes::new().u32(8).u8(0).u32(0).0,
        Bytes::new().u32(8).u8(0).u32(12).raw(b"short").0,
        Bytes::new().u32(8).u8(99).u32(12).raw(&get_random(8)).0,
    ];
    requests.extend((1..50).map(|length| {
        let mut request = noise.bytes(length);
        // Never STOP (21), which ends a simulator by right.
        request[0] |= 0x80;
        request
    }));
    for request in requests {
        for address in [server.address(), server.control_address()] {
            let mut connection = TcpStream::connect(address).expect("accepted");
            connection
                .set_read_timeout(Some(PATIENCE))
                .expect("a timeout");
            support::write_what_it_takes(&mut connection, &request);
            let _ = connection.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            let _ = connection.take(1 << 20).read_to_end(&mut answer);
            server.assert_alive();
        }
    }
    let work = folder();
    support::Client::new(server.tcti(), work.path()).flow("random.sh");
}
