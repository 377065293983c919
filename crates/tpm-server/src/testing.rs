//! What the tests of several modules need: a scripted platform and store, commands as bytes, and clients.

use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tpm_engine::Platform;

use crate::device::{Device, Settings};
use crate::signals::Signals;
use crate::store::{SaveFuture, StateStore, StoreError, Stored};

pub(crate) const STARTUP: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
pub(crate) const GET_RANDOM: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
/// The bare command by which QEMU finds out whether there is a TPM 2.0.
pub(crate) const READ_CLOCK: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 0x81];
pub(crate) const SUCCESS: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0];
pub(crate) const FAILURE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 1];
pub(crate) const COMMAND_SIZE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 0x42];
pub(crate) const NV_UNAVAILABLE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 9, 0x23];
pub(crate) const INITIALIZE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 0];
/// Startup with the state of a Shutdown that did not happen: `TPM_RC_VALUE` at parameter 1.
pub(crate) const NO_SAVED_STATE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 0xc4];
pub(crate) const STARTUP_STATE: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 1];
/// Its answer promises that the state is stored: what a Startup finds later shows whether it was.
pub(crate) const SHUTDOWN_STATE: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 1];

/// Extends PCR 16 of the SHA-256 bank.
pub(crate) fn pcr_extend() -> Vec<u8> {
    let mut command = hex("80020000004100000182000000100000000940000009000000000000000001000b");
    command.extend([7; 32]);
    sized(command)
}

/// Reads PCR 16 of the SHA-256 bank.
pub(crate) fn pcr_read() -> Vec<u8> {
    sized(hex("8001000000140000017e00000001000b03000001"))
}

/// Creates an RSA 2048 storage key under the owner: the slowest thing that a TPM does every day.
pub(crate) fn create_primary_rsa() -> Vec<u8> {
    let mut command = hex("80020000004300000131");
    command.extend(hex("40000001"));
    command.extend(hex("00000009400000090000000000"));
    command.extend(hex("000400000000"));
    command.extend(hex(
        "001a0001000b00030472000000060080004300100800000000000000",
    ));
    command.extend(hex("000000000000"));
    sized(command)
}

/// Writes the true size into the header.
fn sized(mut command: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(command.len()).unwrap();
    command[2..6].copy_from_slice(&size.to_be_bytes());
    command
}

pub(crate) fn hex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// What a test can do to the world around a TPM.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) storage: Arc<Mutex<Option<Stored>>>,
    pub(crate) saves: Arc<AtomicU64>,
    pub(crate) saving_fails: Arc<AtomicBool>,
    pub(crate) locked_by_another: Arc<AtomicBool>,
    pub(crate) platform_panics: Arc<AtomicBool>,
    /// Time stands still until the running command is canceled.
    pub(crate) time_waits_for_cancel: Arc<AtomicBool>,
    pub(crate) entropy: Arc<AtomicU64>,
}

impl World {
    /// A TPM on the storage of this world.
    pub(crate) fn device(&self) -> Device {
        self.device_with(|_| {})
    }

    pub(crate) fn device_with(&self, change: impl FnOnce(&mut Settings)) -> Device {
        let world = self.clone();
        let mut settings = Settings {
            profile: None,
            platform: Box::new(move |signals| {
                Box::new(Scripted {
                    world: world.clone(),
                    signals: Arc::clone(signals),
                    milliseconds: 0,
                })
            }),
            auto_shutdown: true,
            incoming: false,
        };
        change(&mut settings);
        Device::new(Box::new(self.clone()), settings)
    }

    /// A TPM that has had its Startup.
    pub(crate) async fn started(&self) -> Device {
        let device = self.device();
        device.power_on().await.unwrap();
        assert_eq!(execute(&device, &STARTUP).await, SUCCESS);
        device
    }

    pub(crate) fn saves(&self) -> u64 {
        self.saves.load(Ordering::SeqCst)
    }

    pub(crate) fn stored(&self) -> Option<Stored> {
        self.storage.lock().unwrap().clone()
    }
}

pub(crate) async fn execute(device: &Device, command: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    device.execute(command, None, &mut response).await;
    response
}

impl StateStore for World {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        if self.locked_by_another.load(Ordering::SeqCst) {
            return Err(StoreError::new("another process has it"));
        }
        Ok(self.stored())
    }

    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        if self.saving_fails.load(Ordering::SeqCst) {
            return Box::pin(ready(Err(StoreError::new("no space left"))));
        }
        *self.storage.lock().unwrap() = Some(state.clone());
        self.saves.fetch_add(1, Ordering::SeqCst);
        Box::pin(ready(Ok(())))
    }
}

struct Scripted {
    world: World,
    signals: Arc<Signals>,
    milliseconds: u64,
}

impl Platform for Scripted {
    fn entropy(&mut self, out: &mut [u8]) {
        for byte in out {
            let count = self.world.entropy.fetch_add(1, Ordering::Relaxed);
            // Any mixing will do, as long as no two blocks are equal.
            *byte = u8::try_from((count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) & 0xff).unwrap();
        }
    }

    fn milliseconds(&mut self) -> u64 {
        assert!(
            !self.world.platform_panics.load(Ordering::SeqCst),
            "as the test asked"
        );
        while self.world.time_waits_for_cancel.load(Ordering::SeqCst) && !self.signals.canceled() {
            std::thread::yield_now();
        }
        self.milliseconds += 1;
        self.milliseconds
    }

    fn locality(&self) -> u8 {
        self.signals.locality()
    }

    fn canceled(&self) -> bool {
        self.signals.canceled()
    }
}

/// Sends `request` and reads exactly `answer.len()` bytes, which must be `answer`.
pub(crate) async fn expect(stream: &mut UnixStream, request: &[u8], answer: &[u8]) {
    stream.write_all(request).await.unwrap();
    assert_eq!(read(stream, answer.len()).await, answer);
}

/// Sends `request` and reads a TPM response.
pub(crate) async fn ask(stream: &mut UnixStream, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).await.unwrap();
    read_response(stream).await
}

pub(crate) async fn read_response(stream: &mut UnixStream) -> Vec<u8> {
    let mut response = read(stream, 10).await;
    let size = u32::from_be_bytes(response[2..6].try_into().unwrap());
    response.extend(read(stream, size as usize - 10).await);
    response
}

pub(crate) async fn read(stream: &mut UnixStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Whether the other end has closed the connection without sending anything more.
pub(crate) async fn is_closed(stream: &mut UnixStream) -> bool {
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
