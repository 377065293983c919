//! The TCG simulator's protocol: a command port, and a platform port for what a mainboard would do.
//!
//! Integers are big-endian. A request is a code and what belongs to it; each is acknowledged by a zero word after what it returns.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::DeviceError;
use crate::connections::Connections;
use crate::device::{Device, Refused};
use crate::frame::{bare_response, rc, word};
use crate::gate::Gate;
#[cfg(any(test, feature = "testing"))]
use crate::stream::Stream;
use crate::stream::{Listener, after_failed_accept};
use crate::wire::{Wire, stopped};

mod code {
    pub(super) const POWER_ON: u32 = 1;
    pub(super) const POWER_OFF: u32 = 2;
    pub(super) const PHYSICAL_PRESENCE_ON: u32 = 3;
    pub(super) const PHYSICAL_PRESENCE_OFF: u32 = 4;
    pub(super) const HASH_START: u32 = 5;
    pub(super) const HASH_DATA: u32 = 6;
    pub(super) const HASH_END: u32 = 7;
    pub(super) const SEND_COMMAND: u32 = 8;
    pub(super) const CANCEL_ON: u32 = 9;
    pub(super) const CANCEL_OFF: u32 = 10;
    pub(super) const NV_ON: u32 = 11;
    pub(super) const NV_OFF: u32 = 12;
    pub(super) const KEY_CACHE_ON: u32 = 13;
    pub(super) const KEY_CACHE_OFF: u32 = 14;
    pub(super) const REMOTE_HANDSHAKE: u32 = 15;
    pub(super) const SET_ALTERNATIVE_RESULT: u32 = 16;
    pub(super) const RESET: u32 = 17;
    pub(super) const RESTART: u32 = 18;
    pub(super) const SESSION_END: u32 = 20;
    pub(super) const STOP: u32 = 21;
    pub(super) const ACT_GET_SIGNALED: u32 = 26;
    pub(super) const TEST_FAILURE_MODE: u32 = 30;
}

/// The version of the protocol, and what this end of it offers: a platform port, raw commands, physical presence.
const SERVER_VERSION: u32 = 1;
const ENDPOINT: u32 = 0x01 | 0x04 | 0x08;
/// Connections to one port at a time; whoever is silent the longest gives way.
const MOST_CONNECTIONS: usize = 64;
/// The largest piece that one HASH_DATA may carry.
const LONGEST_HASH_DATA: usize = 4096;

/// Serves one device at both ports until a client or the program asks for the end.
#[derive(Clone)]
pub struct Simulator {
    device: Device,
    stop: Arc<watch::Sender<bool>>,
    no_accept: Arc<Gate>,
    nonsense: Arc<Gate>,
}

impl Simulator {
    /// A server for `device`.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            stop: Arc::new(watch::Sender::new(false)),
            no_accept: Arc::default(),
            nonsense: Arc::default(),
        }
    }

    /// Ends [`Simulator::serve`] once the commands that run at present are answered.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Serves the command port and the platform port.
    pub async fn serve(&self, commands: Listener, platform: Listener) {
        tokio::join!(
            self.serve_port(commands, Port::Command),
            self.serve_port(platform, Port::Platform)
        );
    }

    /// Serves one client of the command port, in a task of its own.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn serve_command_stream(&self, stream: Stream) -> tokio::task::JoinHandle<()> {
        let wire = Wire::new(stream, None, self.stop.subscribe());
        tokio::spawn(self.clone().serve_client(Port::Command, wire))
    }

    /// Serves one client of the platform port, in a task of its own.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn serve_platform_stream(&self, stream: Stream) -> tokio::task::JoinHandle<()> {
        let wire = Wire::new(stream, None, self.stop.subscribe());
        tokio::spawn(self.clone().serve_client(Port::Platform, wire))
    }

    async fn serve_port(&self, listener: Listener, port: Port) {
        let connections = Connections::new(MOST_CONNECTIONS);
        let mut clients = JoinSet::new();
        let mut stop = self.stop.subscribe();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = clients.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(stream) => {
                        let wire = Wire::new(stream, Some(connections.admit()), self.stop.subscribe());
                        clients.spawn(self.clone().serve_client(port, wire));
                    }
                    Err(error) => after_failed_accept(&error, &self.no_accept).await,
                },
            }
        }
        while clients.join_next().await.is_some() {}
    }

    async fn serve_client(self, port: Port, mut wire: Wire) {
        let mut answer = Zeroizing::new(Vec::new());
        loop {
            let longest = self.device.signals().longest_command();
            match parse(port, wire.waiting(), longest) {
                Parsed::Incomplete => match wire.more().await {
                    Ok(true) => {}
                    // The end of the stream between two requests is how many clients say goodbye.
                    Ok(false) => break,
                    Err(error) => {
                        if self.nonsense.opens() {
                            tracing::warn!(%error, ?port, "closed a connection in the middle of a request");
                        }
                        break;
                    }
                },
                Parsed::TooLong { code, length } => {
                    if self.nonsense.opens() {
                        tracing::warn!(
                            code,
                            length,
                            ?port,
                            "closed a connection: more bytes announced than any command has"
                        );
                    }
                    if code == code::SEND_COMMAND {
                        answer_command(&mut answer, &bare_response(rc::COMMAND_SIZE));
                        acknowledge(&mut answer);
                        // What comes next is unknown; nothing more is read, and whether the client hears why is its own affair.
                        let _ = wire.send(&answer).await;
                    }
                    break;
                }
                Parsed::Request { request, taken } => {
                    answer.clear();
                    let next = match port {
                        Port::Command => self.handle_command_port(&request, &mut answer).await,
                        Port::Platform => self.handle_platform_port(&request, &mut answer).await,
                    };
                    wire.take(taken);
                    if let Err(error) = wire.send(&answer).await {
                        tracing::debug!(%error, ?port, "a client left before its answer");
                        break;
                    }
                    if next == Next::Close {
                        break;
                    }
                }
            }
        }
    }

    async fn handle_command_port(&self, request: &Request<'_>, answer: &mut Vec<u8>) -> Next {
        match request.code {
            code::SEND_COMMAND => {
                let mut response = Zeroizing::new(Vec::new());
                // A TPM without power does not answer: an empty response says so.
                match self
                    .device
                    .try_execute(request.body, Some(request.locality), &mut response)
                    .await
                {
                    Ok(()) | Err(Refused::Off) => {}
                    Err(Refused::Storage) => response.extend(bare_response(rc::NV_UNAVAILABLE)),
                    Err(Refused::PowerCut) => return Next::Close,
                }
                answer_command(answer, &response);
            }
            // What a mainboard does is for a TPM with power; without, it is acknowledged and forgotten.
            code::HASH_START => note(self.device.hash_start().await),
            code::HASH_DATA => note(self.device.hash_data(request.body).await),
            code::HASH_END => note(self.device.hash_end().await),
            code::REMOTE_HANDSHAKE => {
                if request.body == [0; 4] {
                    return Next::Close;
                }
                answer.extend(SERVER_VERSION.to_be_bytes());
                answer.extend(ENDPOINT.to_be_bytes());
            }
            code::SET_ALTERNATIVE_RESULT => {}
            code::SESSION_END => return Next::Close,
            code::STOP => {
                self.stop();
                return Next::Close;
            }
            unknown => {
                if self.nonsense.opens() {
                    tracing::warn!(
                        code = unknown,
                        "closed a connection: unknown code at the command port"
                    );
                }
                return Next::Close;
            }
        }
        acknowledge(answer);
        Next::Continue
    }

    async fn handle_platform_port(&self, request: &Request<'_>, answer: &mut Vec<u8>) -> Next {
        let signals = self.device.signals();
        let powered = signals.powered();
        match request.code {
            // Each client sends it when it connects: a TPM that is on must not notice.
            code::POWER_ON if powered => {}
            code::POWER_ON => {
                signals.hold_cancel(false);
                signals.set_storage_available(true);
                signals.set_locality(0);
                note(self.device.ensure_power().await);
            }
            code::POWER_OFF => self.device.power_off().await,
            code::RESET if powered => note(self.device.power_on().await),
            code::PHYSICAL_PRESENCE_ON if powered => signals.set_physical_presence(true),
            code::PHYSICAL_PRESENCE_OFF if powered => signals.set_physical_presence(false),
            code::CANCEL_ON if powered => signals.hold_cancel(true),
            code::CANCEL_OFF if powered => signals.hold_cancel(false),
            code::NV_ON if powered => signals.set_storage_available(true),
            code::NV_OFF if powered => signals.set_storage_available(false),
            // A TPM without power ignores the lines above. The clock needs no restart, and there is no cache of keys.
            code::RESET..=code::RESTART
            | code::PHYSICAL_PRESENCE_ON..=code::PHYSICAL_PRESENCE_OFF
            | code::CANCEL_ON..=code::NV_OFF
            | code::KEY_CACHE_ON..=code::KEY_CACHE_OFF => {}
            code::TEST_FAILURE_MODE => self.device.force_failure().await,
            // No authenticated countdown timer has a line to the outside, so none is signaled.
            code::ACT_GET_SIGNALED => answer.extend([0; 4]),
            code::SESSION_END => return Next::Close,
            code::STOP => {
                self.stop();
                return Next::Close;
            }
            unknown => {
                if self.nonsense.opens() {
                    tracing::warn!(
                        code = unknown,
                        "closed a connection: unknown code at the platform port"
                    );
                }
                answer.extend(1_u32.to_be_bytes());
                return Next::Close;
            }
        }
        acknowledge(answer);
        Next::Continue
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Command,
    Platform,
}

/// What to do with a connection after a request.
#[derive(PartialEq, Eq)]
enum Next {
    Continue,
    Close,
}

#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    code: u32,
    locality: u8,
    body: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    Incomplete,
    Request { request: Request<'a>, taken: usize },
    TooLong { code: u32, length: u32 },
}

/// Cuts the first request off `bytes`; no command in it is longer than `longest`.
fn parse(port: Port, bytes: &[u8], longest: usize) -> Parsed<'_> {
    let Some(code) = word(bytes, 0) else {
        return Parsed::Incomplete;
    };
    let (locality, body, length, limit) = match (port, code) {
        (Port::Command, code::SEND_COMMAND) => (bytes.get(4).copied(), 9, word(bytes, 5), longest),
        (Port::Command, code::HASH_DATA) => (Some(0), 8, word(bytes, 4), LONGEST_HASH_DATA),
        (Port::Command, code::REMOTE_HANDSHAKE | code::SET_ALTERNATIVE_RESULT)
        | (Port::Platform, code::ACT_GET_SIGNALED) => (Some(0), 4, Some(4), 4),
        _ => (Some(0), 4, Some(0), 0),
    };
    let (Some(locality), Some(length)) = (locality, length) else {
        return Parsed::Incomplete;
    };
    let Some(taken) = usize::try_from(length)
        .ok()
        .filter(|length| *length <= limit)
        .and_then(|length| length.checked_add(body))
    else {
        return Parsed::TooLong { code, length };
    };
    match bytes.get(body..taken) {
        Some(body) => Parsed::Request {
            request: Request {
                code,
                locality,
                body,
            },
            taken,
        },
        None => Parsed::Incomplete,
    }
}

fn answer_command(answer: &mut Vec<u8>, response: &[u8]) {
    answer.clear();
    answer.extend(u32::try_from(response.len()).unwrap_or(0).to_be_bytes());
    answer.extend(response);
}

fn acknowledge(answer: &mut Vec<u8>) {
    answer.extend([0; 4]);
}

fn note(outcome: Result<(), DeviceError>) {
    match outcome {
        Ok(()) | Err(DeviceError::NotRunning) => {}
        Err(error) => tracing::error!(%error, "the TPM did not follow its platform"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        COMMAND_SIZE, GET_RANDOM, INITIALIZE, STARTUP, SUCCESS, World, expect, is_closed, read,
    };
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    const OK: [u8; 4] = [0; 4];

    fn connect(simulator: &Simulator, port: Port) -> UnixStream {
        let (client, server) = UnixStream::pair().unwrap();
        let wire = Wire::new(Stream::Unix(server), None, simulator.stop.subscribe());
        tokio::spawn(simulator.clone().serve_client(port, wire));
        client
    }

    fn send_command(locality: u8, command: &[u8]) -> Vec<u8> {
        let length = u32::try_from(command.len()).unwrap().to_be_bytes();
        [&[0, 0, 0, 8, locality][..], &length, command].concat()
    }

    fn answer(response: &[u8]) -> Vec<u8> {
        [
            &u32::try_from(response.len()).unwrap().to_be_bytes(),
            response,
            &OK,
        ]
        .concat()
    }

    #[tokio::test]
    async fn power_comes_once_and_is_not_taken_by_a_second_client() {
        let simulator = Simulator::new(World::default().device());
        let (mut command, mut platform) = (
            connect(&simulator, Port::Command),
            connect(&simulator, Port::Platform),
        );
        expect(&mut command, &send_command(0, &STARTUP), &answer(&[])).await;
        expect(&mut platform, &[0, 0, 0, 1], &OK).await;
        expect(&mut platform, &[0, 0, 0, 11], &OK).await;
        expect(&mut command, &send_command(0, &STARTUP), &answer(&SUCCESS)).await;
        let mut second = connect(&simulator, Port::Platform);
        expect(&mut second, &[0, 0, 0, 1], &OK).await;
        expect(
            &mut command,
            &send_command(0, &STARTUP),
            &answer(&INITIALIZE),
        )
        .await;
        expect(&mut second, &[0, 0, 0, 17], &OK).await;
        expect(&mut command, &send_command(0, &STARTUP), &answer(&SUCCESS)).await;
        expect(&mut second, &[0, 0, 0, 2], &OK).await;
        expect(&mut command, &send_command(0, &STARTUP), &answer(&[])).await;
    }

    #[tokio::test]
    async fn requests_arrive_in_any_pieces() {
        let simulator = Simulator::new(World::default().started().await);
        let mut client = connect(&simulator, Port::Command);
        for byte in send_command(3, &GET_RANDOM) {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(read(&mut client, 4).await, [0, 0, 0, 20]);
        assert_eq!(read(&mut client, 24).await[20..], OK);
        assert_eq!(simulator.device.signals().locality(), 3);
        let two = [send_command(0, &STARTUP), send_command(0, &STARTUP)].concat();
        expect(
            &mut client,
            &two,
            &[answer(&INITIALIZE), answer(&INITIALIZE)].concat(),
        )
        .await;
    }

    #[tokio::test]
    async fn a_session_ends_with_its_code_or_without() {
        let simulator = Simulator::new(World::default().started().await);
        for port in [Port::Command, Port::Platform] {
            let mut client = connect(&simulator, port);
            client.write_all(&[0, 0, 0, 20]).await.unwrap();
            assert!(is_closed(&mut client).await);
            drop(connect(&simulator, port));
        }
        let mut client = connect(&simulator, Port::Command);
        expect(
            &mut client,
            &send_command(0, &STARTUP),
            &answer(&INITIALIZE),
        )
        .await;
    }

    #[tokio::test]
    async fn lies_about_length_get_an_answer_and_no_memory() {
        let simulator = Simulator::new(World::default().started().await);
        let mut client = connect(&simulator, Port::Command);
        expect(
            &mut client,
            &[0, 0, 0, 8, 0, 0xff, 0xff, 0xff, 0xff],
            &answer(&COMMAND_SIZE),
        )
        .await;
        assert!(is_closed(&mut client).await);
        let mut client = connect(&simulator, Port::Command);
        client
            .write_all(&[0, 0, 0, 6, 0x7f, 0xff, 0xff, 0xff])
            .await
            .unwrap();
        assert!(is_closed(&mut client).await);
    }

    #[tokio::test]
    async fn the_handshake_names_version_and_abilities() {
        let simulator = Simulator::new(World::default().device());
        let mut client = connect(&simulator, Port::Command);
        expect(
            &mut client,
            &[0, 0, 0, 15, 0, 0, 0, 1],
            &[0, 0, 0, 1, 0, 0, 0, 13, 0, 0, 0, 0],
        )
        .await;
        client.write_all(&[0, 0, 0, 15, 0, 0, 0, 0]).await.unwrap();
        assert!(is_closed(&mut client).await);
    }

    #[tokio::test]
    async fn unknown_codes_close_the_connection() {
        let simulator = Simulator::new(World::default().device());
        let mut client = connect(&simulator, Port::Platform);
        expect(&mut client, &[0, 0, 0, 99], &[0, 0, 0, 1]).await;
        assert!(is_closed(&mut client).await);
    }

    #[tokio::test]
    async fn platform_wires_reach_the_tpm() {
        let simulator = Simulator::new(World::default().started().await);
        let signals = Arc::clone(simulator.device.signals());
        let mut client = connect(&simulator, Port::Platform);
        expect(
            &mut client,
            &[0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 12],
            &[0; 12],
        )
        .await;
        assert!(signals.physical_presence() && signals.canceled() && !signals.storage_available());
        expect(
            &mut client,
            &[0, 0, 0, 4, 0, 0, 0, 10, 0, 0, 0, 11],
            &[0; 12],
        )
        .await;
        assert!(!signals.physical_presence() && !signals.canceled() && signals.storage_available());
    }
}
