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
use crate::stream::{Listener, after_failed_accept};
use crate::wire::Wire;

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
}

impl Simulator {
    /// A server for `device`.
    pub fn new(device: Device) -> Self {
        Self { device, stop: Arc::new(watch::Sender::new(false)) }
    }

    /// Ends [`Simulator::serve`] once the commands that run at present are answered.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Serves the command port and the platform port.
    pub async fn serve(&self, commands: Listener, platform: Listener) {
        tokio::join!(self.serve_port(commands, Port::Command), self.serve_port(platform, Port::Platform));
    }

    async fn serve_port(&self, listener: Listener, port: Port) {
        let connections = Connections::new(MOST_CONNECTIONS);
        let mut clients = JoinSet::new();
        let mut stop = self.stop.subscribe();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = clients.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(stream) => {
                        let wire = Wire::new(stream, Some(connections.admit()), self.stop.subscribe());
                        clients.spawn(self.clone().serve_client(port, wire));
                    }
                    Err(error) => after_failed_accept(&error).await,
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
                        tracing::warn!(%error, ?port, "closed a connection in the middle of a request");
                        break;
                    }
                },
                Parsed::TooLong { code, length } => {
                    tracing::warn!(code, length, ?port, "closed a connection: more bytes announced than any command has");
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
                match self.device.try_execute(request.body, Some(request.locality), &mut response).await {
                    Ok(()) | Err(Refused::Off) => {}
                    Err(Refused::Storage) => response.extend(bare_response(rc::NV_UNAVAILABLE)),
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
                tracing::warn!(code = unknown, "closed a connection: unknown code at the command port");
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
            | code::CANCEL_ON..=code::KEY_CACHE_OFF => {}
            code::TEST_FAILURE_MODE => self.device.force_failure().await,
            // No authenticated countdown timer has a line to the outside, so none is signaled.
            code::ACT_GET_SIGNALED => answer.extend([0; 4]),
            code::SESSION_END => return Next::Close,
            code::STOP => {
                self.stop();
                return Next::Close;
            }
            unknown => {
                tracing::warn!(code = unknown, "closed a connection: unknown code at the platform port");
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
    let Some(code) = word(bytes, 0) else { return Parsed::Incomplete };
    let (locality, body, length, limit) = match (port, code) {
        (Port::Command, code::SEND_COMMAND) => (bytes.get(4).copied(), 9, word(bytes, 5), longest),
        (Port::Command, code::HASH_DATA) => (Some(0), 8, word(bytes, 4), LONGEST_HASH_DATA),
        (Port::Command, code::REMOTE_HANDSHAKE | code::SET_ALTERNATIVE_RESULT) | (Port::Platform, code::ACT_GET_SIGNALED) => (Some(0), 4, Some(4), 4),
        _ => (Some(0), 4, Some(0), 0),
    };
    let (Some(locality), Some(length)) = (locality, length) else { return Parsed::Incomplete };
    let Some(taken) = usize::try_from(length).ok().filter(|length| *length <= limit).and_then(|length| length.checked_add(body)) else {
        return Parsed::TooLong { code, length };
    };
    match bytes.get(body..taken) {
        Some(body) => Parsed::Request { request: Request { code, locality, body }, taken },
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
