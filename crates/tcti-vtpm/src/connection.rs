//! What a TCTI context does, without pointers: one TPM, and one command at a time.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

use tokio::runtime::Builder;
use tpm_engine::{Profile, Tpm};
use tpm_server::{Device, DeviceError, MemoryStore, Settings, StartupKind, StateStore};
use vm_store::StateKey;
use vtpm_host::{FolderStore, platform};
use zeroize::Zeroizing;

use crate::block_on::block_on;
use crate::config::Config;
use crate::rc::TctiRc;

/// `TPM_RC_INITIALIZE`: the TPM has been started already.
const INITIALIZE: u32 = 0x100;
/// How long another process with the same folder is waited for: pipes of several commands should work, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the size of a command stands in its header.
const SIZE: std::ops::Range<usize> = 2..6;
const HEADER: usize = 10;

/// A response, wiped once it is received.
type Response = Zeroizing<Vec<u8>>;

/// One TPM, and what became of the last command.
pub(crate) struct Connection {
    device: Device,
    /// Whether the TPM is to be found again by the next process.
    kept: bool,
    locality: u8,
    state: State,
    /// Has one byte to read as long as there is a response to receive.
    bell: PipeReader,
    ringer: PipeWriter,
}

enum State {
    Idle,
    /// A command that takes long runs on a thread of its own, so that it can be waited for and canceled.
    Running(Receiver<Response>),
    Answered(Response),
}

/// Why there is no TPM: a code for the program, words for the person.
#[derive(Debug)]
pub(crate) struct NotOpened {
    pub(crate) rc: TctiRc,
    pub(crate) reason: String,
}

impl Connection {
    /// Powers the TPM of this configuration, made if there is none yet. It has had its Startup.
    pub(crate) fn open(text: &str) -> Result<Self, NotOpened> {
        let config = Config::parse(text).map_err(|reason| NotOpened {
            rc: TctiRc::BAD_VALUE,
            reason,
        })?;
        let failed = |error: std::io::Error| NotOpened {
            rc: TctiRc::GENERAL_FAILURE,
            reason: error.to_string(),
        };
        let (bell, ringer) = std::io::pipe().map_err(failed)?;
        let device = match block_on(power_on(&config, config.profile.clone())) {
            // The profile says what a new TPM is to be like; this one exists.
            Err(DeviceError::ProfileOfExisting) => block_on(power_on(&config, None)),
            other => other,
        };
        Ok(Self {
            device: device.map_err(|error| NotOpened {
                rc: TctiRc::IO_ERROR,
                reason: error.to_string(),
            })?,
            kept: config.folder.is_some(),
            locality: 0,
            state: State::Idle,
            bell,
            ringer,
        })
    }

    /// Gives the TPM a command. What its answer promises is durable by the time that there is one.
    pub(crate) fn transmit(&mut self, command: &[u8]) -> Result<(), TctiRc> {
        if !matches!(self.state, State::Idle) {
            return Err(TctiRc::BAD_SEQUENCE);
        }
        let announced = command
            .get(SIZE)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_be_bytes);
        if command.len() < HEADER
            || announced.and_then(|size| usize::try_from(size).ok()) != Some(command.len())
        {
            return Err(TctiRc::BAD_VALUE);
        }
        if Tpm::takes_long(command) {
            return self.begin(Zeroizing::new(command.to_vec()));
        }
        let mut response = Response::default();
        block_on(
            self.device
                .execute(command, Some(self.locality), &mut response),
        );
        self.state = State::Answered(response);
        ring(&mut self.ringer)
    }

    fn begin(&mut self, command: Zeroizing<Vec<u8>>) -> Result<(), TctiRc> {
        let mut ringer = self.ringer.try_clone().map_err(|_| TctiRc::IO_ERROR)?;
        // The device has its long work done by a runtime.
        let runtime = Builder::new_current_thread()
            .build()
            .map_err(|_| TctiRc::GENERAL_FAILURE)?;
        let (device, locality) = (self.device.clone(), Some(self.locality));
        let (sender, receiver) = channel();
        let started = std::thread::Builder::new()
            .name("tcti-vtpm".into())
            .spawn(move || {
                let mut response = Response::default();
                runtime.block_on(device.execute(&command, locality, &mut response));
                // Nobody waits if the context was finalized; then the effects of the command still count.
                if sender.send(response).is_ok() {
                    let _ = ring(&mut ringer);
                }
            });
        started.map_err(|_| TctiRc::GENERAL_FAILURE)?;
        self.state = State::Running(receiver);
        Ok(())
    }

    /// The response, once it is there; it stays until it is [`received`](Self::received).
    pub(crate) fn response(&mut self, timeout: i32) -> Result<&[u8], TctiRc> {
        if timeout < -1 {
            return Err(TctiRc::BAD_VALUE);
        }
        if let State::Running(receiver) = &self.state {
            let outcome = match u64::try_from(timeout) {
                Err(_) => receiver.recv().map_err(|_| TctiRc::GENERAL_FAILURE),
                Ok(0) => receiver.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => TctiRc::TRY_AGAIN,
                    TryRecvError::Disconnected => TctiRc::GENERAL_FAILURE,
                }),
                Ok(limit) => receiver
                    .recv_timeout(Duration::from_millis(limit))
                    .map_err(|error| match error {
                        RecvTimeoutError::Timeout => TctiRc::TRY_AGAIN,
                        RecvTimeoutError::Disconnected => TctiRc::GENERAL_FAILURE,
                    }),
            };
            match outcome {
                Ok(response) => self.state = State::Answered(response),
                Err(TctiRc::TRY_AGAIN) => return Err(TctiRc::TRY_AGAIN),
                Err(error) => {
                    // The thread is gone without an answer: there will never be one.
                    self.state = State::Idle;
                    return Err(error);
                }
            }
        }
        match &self.state {
            State::Answered(response) => Ok(response),
            State::Idle | State::Running(_) => Err(TctiRc::BAD_SEQUENCE),
        }
    }

    /// The response has been taken: the next command may come.
    pub(crate) fn received(&mut self) -> Result<(), TctiRc> {
        self.state = State::Idle;
        self.device.signals().hold_cancel(false);
        self.bell.read_exact(&mut [0]).map_err(|_| TctiRc::IO_ERROR)
    }

    /// Asks the command that runs to be given up; its response is received as any other.
    pub(crate) fn cancel(&self) -> Result<(), TctiRc> {
        match self.state {
            State::Idle => Err(TctiRc::BAD_SEQUENCE),
            State::Answered(_) => Ok(()),
            State::Running(_) => {
                self.device.signals().hold_cancel(true);
                Ok(())
            }
        }
    }

    /// Chooses the locality of the commands to come.
    pub(crate) fn set_locality(&mut self, locality: u8) -> Result<(), TctiRc> {
        if !matches!(self.state, State::Idle) {
            return Err(TctiRc::BAD_SEQUENCE);
        }
        if matches!(locality, 5..=31) {
            return Err(TctiRc::BAD_VALUE);
        }
        self.locality = locality;
        Ok(())
    }

    /// A descriptor that is readable as long as there is a response to receive.
    pub(crate) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Gives the TPM up. One that is kept goes on in the next process from here, sessions and loaded objects included.
    pub(crate) fn close(self) {
        block_on(async {
            if self.kept
                && let Err(error) = self.device.suspend().await
            {
                crate::abi::complain(&format!(
                    "the next process finds the TPM as after a power cut: {error}"
                ));
            }
            self.device.close().await;
        });
    }
}

async fn power_on(config: &Config, profile: Option<Profile>) -> Result<Device, DeviceError> {
    let store: Box<dyn StateStore> = match &config.folder {
        Some(folder) => Box::new(
            FolderStore::new(folder.clone(), StateKey::Beside).waiting_for_others(PATIENCE),
        ),
        None => Box::new(MemoryStore::default()),
    };
    let (store, platform) = match config.seed {
        Some(seed) => platform::seeded(store, seed, 1),
        None => (store, platform::real()),
    };
    let settings = Settings {
        profile,
        platform,
        auto_shutdown: true,
        incoming: false,
    };
    let device = Device::new(store, settings);
    device.power_on().await?;
    match device.startup(StartupKind::Clear).await {
        // It went on from where the process before it stopped.
        Ok(()) | Err(DeviceError::Startup(INITIALIZE)) => Ok(device),
        Err(error) => Err(error),
    }
}

fn ring(ringer: &mut PipeWriter) -> Result<(), TctiRc> {
    ringer.write_all(&[1]).map_err(|_| TctiRc::IO_ERROR)
}
