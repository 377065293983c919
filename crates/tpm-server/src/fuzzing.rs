//! Any bytes on the channels of one TPM in memory: what fuzz targets call.
//!
//! The bytes are cut into pieces, each with the channel that it is sent on and its length in front. Time passes only when
//! nobody has anything to do, so that a request that stays incomplete costs nothing.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::deterministic::Deterministic;
use crate::device::{Device, Settings};
use crate::simulator::Simulator;
use crate::store::{SaveFuture, StateStore, StoreError, Stored};
use crate::stream::Stream;
use crate::swtpm::{Endpoints, Options, Server};

const STARTUP: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
/// How long a client waits for what the server may still say to a piece.
const PATIENCE: Duration = Duration::from_millis(20);

/// Any bytes on swtpm's data and control channel. The first byte chooses how the server was started.
///
/// # Panics
/// If a rule is broken.
pub fn swtpm_channels(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let options = Options {
        reject_locality_4: kind & 1 != 0,
        allow_set_locality: kind & 2 != 0,
        release_lock_outgoing: kind & 4 != 0,
        ..Options::default()
    };
    let incoming = kind & 8 != 0;
    run(incoming, async |device| {
        if kind & 16 != 0 {
            start(&device).await;
        }
        let [(data_ours, data_theirs), (control_ours, control_theirs)] = pairs();
        let server = Server::new(device, options);
        let endpoints = Endpoints {
            data_client: Some(Stream::Unix(data_theirs)),
            control_client: Some(Stream::Unix(control_theirs)),
            ..Endpoints::default()
        };
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(endpoints).await }
        });
        send([data_ours, control_ours], data).await;
        server.stop();
        let served = serving.await;
        assert!(served.is_ok(), "the server ended by a panic");
    });
}

/// Any bytes on the command port and the platform port of the simulator.
///
/// # Panics
/// If a rule is broken.
pub fn simulator_ports(data: &[u8]) {
    run(false, async |device| {
        start(&device).await;
        let [
            (command_ours, command_theirs),
            (platform_ours, platform_theirs),
        ] = pairs();
        let simulator = Simulator::new(device);
        let serving = [
            simulator.serve_command_stream(Stream::Unix(command_theirs)),
            simulator.serve_platform_stream(Stream::Unix(platform_theirs)),
        ];
        send([command_ours, platform_ours], data).await;
        simulator.stop();
        for serving in serving {
            assert!(serving.await.is_ok(), "the server ended by a panic");
        }
    });
}

/// Runs clients and server of a new TPM. Afterwards what was stored is a TPM that starts.
#[expect(clippy::expect_used, reason = "without a runtime there is no test")]
fn run(incoming: bool, clients: impl AsyncFnOnce(Device)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = Memory::default();
        clients(device(&store, incoming)).await;
        if store.stored().is_some() {
            let device = device(&store, false);
            let on = device.power_on().await;
            assert!(on.is_ok(), "what was stored is no TPM: {on:?}");
        }
    });
}

async fn start(device: &Device) {
    let on = device.power_on().await;
    assert!(on.is_ok(), "a new TPM takes power: {on:?}");
    let mut response = Vec::new();
    device.execute(&STARTUP, None, &mut response).await;
}

#[expect(clippy::expect_used, reason = "without sockets there is no test")]
fn pairs() -> [(UnixStream, UnixStream); 2] {
    [(); 2].map(|()| UnixStream::pair().expect("sockets"))
}

/// Sends the pieces and takes what comes back. What a server says on a channel of TPM responses is whole.
async fn send(mut channels: [UnixStream; 2], mut data: &[u8]) {
    let mut answer = vec![0; 1 << 16];
    while let Some((head, rest)) = data.split_first_chunk::<2>() {
        let [head, low] = *head;
        let length = usize::from(u16::from_be_bytes([head & 0x0F, low])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        data = rest;
        let [first, second] = &mut channels;
        let channel = if head & 0x80 == 0 { first } else { second };
        // A channel that the server has closed takes nothing more; the other goes on.
        if channel.write_all(piece).await.is_err() {
            continue;
        }
        if head & 0x40 != 0 {
            // The next piece follows at once.
            continue;
        }
        for channel in &mut channels {
            while let Ok(Ok(1..)) = tokio::time::timeout(PATIENCE, channel.read(&mut answer)).await
            {
            }
        }
    }
}

fn device(store: &Memory, incoming: bool) -> Device {
    let settings = Settings {
        profile: None,
        platform: Box::new(|signals| Box::new(Deterministic::new(signals, &[]))),
        auto_shutdown: true,
        incoming,
    };
    Device::new(Box::new(store.clone()), settings)
}

/// A store that two devices, one after the other, can look into.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Option<Stored>>>);

impl Memory {
    fn stored(&self) -> Option<Stored> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl StateStore for Memory {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        Ok(self.stored())
    }

    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
        Box::pin(ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece for a channel.
    fn piece(channel: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[channel << 7, length], bytes].concat()
    }

    #[test]
    fn any_bytes_on_the_channels_leave_a_tpm_that_starts() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut byte = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            u8::try_from(state >> 56).unwrap()
        };
        for kind in 0..32 {
            // A machine starts its TPM, and then anything follows.
            let mut data = vec![kind];
            data.extend(piece(1, &[0, 0, 0, 2, 0, 0, 0, 0]));
            data.extend(piece(0, &STARTUP));
            let mut ports = piece(0, &[&[0, 0, 0, 8, 0, 0, 0, 0, 12], &STARTUP[..]].concat());
            for _ in 0..8 {
                let mut bytes = vec![0, 0, 0, byte() % 32];
                bytes.extend((0..byte() % 16).map(|_| byte() & 3));
                data.extend(piece(byte() >> 7, &bytes));
                ports.extend(piece(byte() >> 7, &bytes));
            }
            swtpm_channels(&data);
            simulator_ports(&ports);
        }
    }
}
