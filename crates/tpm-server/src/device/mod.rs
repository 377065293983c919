//! One TPM and its storage: executes, makes durable, and only then answers.

mod faults;
mod power;
#[cfg(test)]
mod tests;
mod transfer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};
use tpm_engine::{Platform, Profile, Tpm};
use tpm_wire::commands::{
    FlushContext, GetCapability, GetRandom, NvReadPublic, PcrRead, ReadClock, ReadPublic,
};
use tpm_wire::table::Command as _;
use zeroize::{Zeroize, Zeroizing};

use crate::frame::{bare_response, rc, response_code};
use crate::signals::Signals;
use crate::store::{StateStore, StoreError, Stored};
use crate::trace::{Begun, Event, Tracer};

pub use faults::Faults;
pub use transfer::BufferSizes;
pub(crate) use transfer::StateKind;

/// Makes the platform of a TPM that listens to these signals.
pub type PlatformMaker = Box<dyn Fn(&Arc<Signals>) -> Box<dyn Platform> + Send>;

/// How a device behaves.
pub struct Settings {
    /// The profile of a TPM that has to be manufactured; with `None` the default one. Refused if the storage holds a TPM already.
    pub profile: Option<Profile>,
    /// Makes the platform at each load of state.
    pub platform: PlatformMaker,
    /// Whether a TPM that loses power is shut down in order first, as swtpm does unless told otherwise.
    pub auto_shutdown: bool,
    /// Whether the storage stays untouched until state comes from another host.
    pub incoming: bool,
}

/// Why a device could not do what the host asked of it.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The storage failed.
    #[error("the TPM state could not be read or saved: {0}")]
    Store(StoreError),
    /// The stored or received state is not one that the TPM can go on with.
    #[error("the {kind} TPM state was refused: {reason}")]
    State {
        /// Which state.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process changed the state while this one had given it up.
    #[error("another process has changed the TPM state since this one gave it up")]
    Overtaken,
    /// A profile was named although the TPM exists.
    #[error("the profile of an existing TPM cannot be changed")]
    ProfileOfExisting,
    /// The TPM has to be on for this.
    #[error("the TPM is not running")]
    NotRunning,
    /// The TPM has to be off for this.
    #[error("the TPM is running")]
    Running,
    /// The engine broke one of its own rules; the TPM is in failure mode.
    #[error("the TPM is in failure mode")]
    FailureMode,
    /// The TPM did not accept a Startup.
    #[error("the TPM answered Startup with response code {0:#x}")]
    Startup(u32),
}

// Not by derive: the message holds that of the cause already, and would be told twice.
impl From<StoreError> for DeviceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How a TPM is started on its user's behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartupKind {
    /// `TPM_SU_CLEAR`.
    Clear,
    /// `TPM_SU_STATE`.
    State,
}

/// A handle to one TPM; clones mean the same TPM. Commands of different holders take turns.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Mutex<Inner>>,
    signals: Arc<Signals>,
    tracer: Arc<Tracer>,
}

/// Why a command was not executed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The TPM has no power.
    Off,
    /// The storage is not ours at present.
    Storage,
    /// The power failed: there is no answer, and never will be.
    PowerCut,
}

impl Device {
    /// A TPM without power, whose state is in `store`.
    pub fn new(store: Box<dyn StateStore>, settings: Settings) -> Self {
        let signals = Arc::new(Signals::default());
        signals.set_longest_command(transfer::USUAL_BUFFER);
        let tracer = Arc::<Tracer>::default();
        let inner = Inner {
            signals: Arc::clone(&signals),
            tracer: Arc::clone(&tracer),
            incoming: settings.incoming,
            settings,
            store,
            holds_store: false,
            tpm: None,
            fresh: false,
            failed: false,
            was_started: false,
            used: false,
            storage_fault: None,
            unsaved: false,
            suspended: false,
            saved: None,
            left: None,
            arrived: false,
            staged_permanent: None,
            staged_volatile: None,
            buffer_size: None,
            largest_buffer: transfer::USUAL_BUFFER,
            response: Vec::new(),
            blob: None,
            faults: Faults::default(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            signals,
            tracer,
        }
    }

    /// The wires of this TPM.
    pub fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Who listens to this TPM.
    pub fn tracer(&self) -> &Arc<Tracer> {
        &self.tracer
    }

    /// Executes one command, at `locality` if one is given, and appends the whole response to `out`. By then everything that the
    /// response promises is durable. A TPM without power answers `TPM_RC_FAILURE`; one whose power fails, nothing.
    pub async fn execute(&self, command: &[u8], locality: Option<u8>, out: &mut Vec<u8>) {
        drop(self.execute_and_leave(command, locality, out).await);
    }

    /// The same for who has the answer sent first: the stack is wiped when what this returns is dropped, which has to be on this
    /// thread, before it does anything else.
    pub(crate) async fn execute_and_leave(
        &self,
        command: &[u8],
        locality: Option<u8>,
        out: &mut Vec<u8>,
    ) -> Option<WipedStack> {
        let begun = self.tracer.begin(out.len());
        let wiped = WipedStack::after(command);
        match self.run_and_answer(begun, command, locality, out).await {
            Ok(()) | Err(Refused::PowerCut) => {}
            Err(Refused::Off) => out.extend(bare_response(rc::FAILURE)),
            Err(Refused::Storage) => out.extend(bare_response(rc::NV_UNAVAILABLE)),
        }
        wiped
    }

    pub(crate) async fn try_execute(
        &self,
        command: &[u8],
        locality: Option<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let begun = self.tracer.begin(out.len());
        let _wiped = WipedStack::after(command);
        self.run_and_answer(begun, command, locality, out).await
    }

    async fn run_and_answer(
        &self,
        begun: Option<Begun>,
        command: &[u8],
        locality: Option<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        if Tpm::takes_long(command) {
            // The thread keeps the lock even if nobody waits for the outcome any more, so the TPM is never lost half way.
            let mut inner = self.lock_owned().await;
            inner.admit(locality)?;
            let owned = Zeroizing::new(command.to_vec());
            let finished = tokio::task::spawn_blocking(move || {
                inner.run(&owned);
                wipe_stack();
                inner
            });
            let mut inner = finished.await.map_err(|_| Refused::Off)?;
            self.answer(&mut inner, begun, command, out).await
        } else {
            let mut inner = self.lock().await;
            inner.admit(locality)?;
            inner.run(command);
            self.answer(&mut inner, begun, command, out).await
        }
    }

    /// Makes durable what a command did, and answers it.
    async fn answer(
        &self,
        inner: &mut Inner,
        begun: Option<Begun>,
        command: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Refused> {
        let before = out.len();
        inner.settle_and_answer(out).await;
        let outcome = inner.suffer(out, before).await;
        self.tracer
            .end(begun, command, self.signals.locality(), out);
        if outcome == Err(Refused::PowerCut) {
            inner.lose_power().await;
        }
        outcome
    }

    async fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().await
    }

    async fn lock_owned(&self) -> OwnedMutexGuard<Inner> {
        Arc::clone(&self.inner).lock_owned().await
    }

    /// Runs `action`, which is recorded as `event`, on a TPM that is on, and makes durable what it changed.
    async fn with_running<R>(
        &self,
        event: impl FnOnce() -> Event,
        action: impl FnOnce(&mut Tpm) -> R,
    ) -> Result<R, DeviceError> {
        let mut inner = self.lock().await;
        if !self.signals.powered() {
            return Err(DeviceError::NotRunning);
        }
        inner.hold_store()?;
        inner.resume();
        let outcome = inner.engine(action).ok_or(DeviceError::FailureMode)?;
        self.tracer.happened(event);
        inner.settle().await?;
        Ok(outcome)
    }

    /// The start of a measured launch (Part 3, 22.6).
    pub async fn hash_start(&self) -> Result<(), DeviceError> {
        self.with_running(|| Event::HashStart, Tpm::hash_start)
            .await
    }

    /// Data of a measured launch (Part 3, 22.7).
    pub async fn hash_data(&self, data: &[u8]) -> Result<(), DeviceError> {
        if data.is_empty() && self.signals.powered() {
            // Nothing is measured, and nothing recorded.
            return Ok(());
        }
        let event = || Event::HashData(data.to_vec());
        self.with_running(event, |tpm| tpm.hash_data(data)).await
    }

    /// The end of a measured launch (Part 3, 22.8).
    pub async fn hash_end(&self) -> Result<(), DeviceError> {
        self.with_running(|| Event::HashEnd, Tpm::hash_end).await
    }

    /// Whether a measured launch has happened; of a TPM that cannot tell, none has.
    pub async fn established(&self) -> bool {
        let mut inner = self.lock().await;
        inner.engine(|tpm| tpm.established()).unwrap_or(false)
    }

    /// Forgets that a measured launch has happened.
    pub async fn reset_established(&self, locality: u8) -> Result<(), DeviceError> {
        let signals = Arc::clone(&self.signals);
        let event = || Event::EstablishedReset(locality);
        self.with_running(event, move |tpm| {
            let before = signals.locality();
            signals.set_locality(locality);
            tpm.reset_established();
            signals.set_locality(before);
        })
        .await
    }

    /// Chooses the locality of the commands to come, once the present one is done.
    pub async fn set_locality(&self, locality: u8) {
        let _turn = self.lock().await;
        if self.signals.locality() != locality {
            self.tracer.happened(|| Event::Locality(locality));
        }
        self.signals.set_locality(locality);
    }

    /// Puts the TPM into failure mode until its next power cycle, as a self-test that failed would.
    pub async fn force_failure(&self) {
        let mut inner = self.lock().await;
        inner.engine(|tpm| tpm.fail("the platform asked for failure mode"));
    }
}

/// Commands that neither read nor change anything secret; guests send them all the time.
const PUBLIC: [u32; 7] = [
    GetRandom::INFO.code,
    GetCapability::INFO.code,
    PcrRead::INFO.code,
    ReadPublic::INFO.code,
    NvReadPublic::INFO.code,
    ReadClock::INFO.code,
    FlushContext::INFO.code,
];
/// TPM_ST_NO_SESSIONS.
const NO_SESSIONS: [u8; 2] = [0x80, 0x01];
/// More than most commands of the engine need. Without optimisation every variable has a place of its own.
const STACK: usize = if cfg!(debug_assertions) { 512 } else { 64 } << 10;

/// Whether a command may leave something secret on the stack.
fn touches_secrets(command: &[u8]) -> bool {
    let code = command
        .get(6..10)
        .and_then(|code| code.try_into().ok())
        .map(u32::from_be_bytes);
    !command.starts_with(&NO_SESSIONS) || code.is_none_or(|code| !PUBLIC.contains(&code))
}

/// Overwrites the part of the stack where the functions that have just returned had their variables: what was moved from there was
/// not wiped.
#[inline(never)]
pub fn wipe_stack() {
    std::hint::black_box(&mut [0_u8; STACK]);
}

/// Wipes the stack when it goes: made first in a function, it goes last.
pub(crate) struct WipedStack;

impl WipedStack {
    fn afterwards() -> Self {
        Self
    }

    /// For a command, if it may leave something to wipe.
    fn after(command: &[u8]) -> Option<Self> {
        touches_secrets(command).then(Self::afterwards)
    }
}

impl Drop for WipedStack {
    fn drop(&mut self) {
        wipe_stack();
    }
}

struct Inner {
    settings: Settings,
    signals: Arc<Signals>,
    tracer: Arc<Tracer>,
    store: Box<dyn StateStore>,
    holds_store: bool,
    incoming: bool,
    tpm: Option<Tpm>,
    /// The TPM was just loaded: it has had its `_TPM_Init`.
    fresh: bool,
    failed: bool,
    /// The TPM had had its Startup before the latest command.
    was_started: bool,
    /// Somebody has started this TPM since this device is there.
    used: bool,
    /// What the log was told last about storage that fails: each reason once.
    storage_fault: Option<String>,
    /// Something must be saved although the engine no longer says so: an earlier save did not come to its end.
    unsaved: bool,
    /// The volatile state was stored and nothing has happened since.
    suspended: bool,
    saved: Option<Stored>,
    /// The permanent state that was read last to go elsewhere. Nothing has been asked of the TPM since.
    left: Option<Zeroizing<Vec<u8>>>,
    /// The TPM came here in the midst of its work, from a host with the same storage, and has not been asked anything: its source may
    /// yet take it back.
    arrived: bool,
    /// State from another host, to be taken up at the next power-on.
    staged_permanent: Option<Zeroizing<Vec<u8>>>,
    staged_volatile: Option<Zeroizing<Vec<u8>>>,
    buffer_size: Option<usize>,
    largest_buffer: usize,
    response: Vec<u8>,
    /// The blob that is being read in pieces.
    blob: Option<(StateKind, Zeroizing<Vec<u8>>)>,
    faults: Faults,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.response.zeroize();
    }
}

impl Inner {
    /// Calls the engine. If it panics, this TPM answers `TPM_RC_FAILURE` from now on, and no other TPM notices.
    fn engine<R>(&mut self, action: impl FnOnce(&mut Tpm) -> R) -> Option<R> {
        if self.failed {
            return None;
        }
        let tpm = self.tpm.as_mut()?;
        match catch_unwind(AssertUnwindSafe(|| action(tpm))) {
            Ok(outcome) => Some(outcome),
            Err(_) => {
                tracing::error!(
                    "the engine broke one of its own rules: this TPM is in failure mode until its next power cycle"
                );
                self.failed = true;
                None
            }
        }
    }

    /// Whether a command may run now; takes note of its locality.
    fn admit(&mut self, locality: Option<u8>) -> Result<(), Refused> {
        if !self.signals.powered() {
            return Err(Refused::Off);
        }
        if let Err(error) = self.hold_store() {
            self.storage_fails(&error);
            return Err(Refused::Storage);
        }
        if let Some(locality) = locality {
            self.signals.set_locality(locality);
        }
        Ok(())
    }

    /// Executes a command into `response`, without making anything durable.
    fn run(&mut self, command: &[u8]) {
        self.resume();
        self.was_started = self.tpm.as_ref().is_some_and(Tpm::is_started);
        let signals = Arc::clone(&self.signals);
        let mut response = std::mem::take(&mut self.response);
        response.clear();
        signals.command_begins();
        let done = self.engine(|tpm| response.extend_from_slice(tpm.execute(command)));
        signals.command_ends();
        self.used |= self.tpm.as_ref().is_some_and(Tpm::is_started);
        if done.is_none() {
            response.clear();
            response.extend(bare_response(rc::FAILURE));
        }
        self.response = response;
    }

    /// Runs a command that no client sent; gives the response code, and whether its effects are durable.
    async fn run_own(&mut self, command: &[u8]) -> (Option<u32>, Result<(), StoreError>) {
        let begun = self.tracer.begin(0);
        self.run(command);
        let code = response_code(&self.response);
        let settled = self.settle().await;
        self.tracer
            .end(begun, command, self.signals.locality(), &self.response);
        self.response.zeroize();
        (code, settled)
    }

    /// A stored volatile state is void as soon as the TPM goes on: it must never come back over something newer.
    fn resume(&mut self) {
        if self.suspended {
            self.suspended = false;
            self.unsaved = true;
        }
        self.blob = None;
        self.left = None;
        self.arrived = false;
    }

    async fn settle_and_answer(&mut self, out: &mut Vec<u8>) {
        match self.settle().await {
            Ok(()) => out.extend_from_slice(&self.response),
            Err(error) => {
                self.storage_fails(&error);
                // A Startup that was taken back leaves a TPM that waits for its Startup.
                if !self.was_started && self.tpm.as_ref().is_some_and(Tpm::is_started) {
                    self.engine(Tpm::init);
                }
                out.extend(bare_response(rc::NV_UNAVAILABLE));
            }
        }
        self.response.zeroize();
    }

    /// Tells the log why commands are refused, once for each reason: a client that tries again must not fill the disk with that.
    fn storage_fails(&mut self, error: &dyn std::error::Error) {
        let reason = error.to_string();
        if self.storage_fault.as_ref() != Some(&reason) {
            tracing::error!(
                "nothing can be stored: {reason}. Commands that change what is stored are taken back and answered with \
                 TPM_RC_NV_UNAVAILABLE until that works again"
            );
            self.storage_fault = Some(reason);
        }
    }

    fn storage_works(&mut self) {
        if self.storage_fault.take().is_some() {
            tracing::warn!("the state can be stored again");
        }
    }

    /// Makes durable what the engine says must be; if that fails, the permanent state goes back to what is stored.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let due =
            !self.failed && (self.unsaved || self.tpm.as_ref().is_some_and(Tpm::must_persist));
        if due {
            self.save(None).await?;
        }
        if let Some(tpm) = &mut self.tpm {
            tpm.command_settled();
        }
        Ok(())
    }

    async fn save(&mut self, volatile: Option<Zeroizing<Vec<u8>>>) -> Result<(), StoreError> {
        let Some(permanent) = self.engine(Tpm::permanent_state) else {
            return Err(StoreError::new("the TPM is in failure mode"));
        };
        wipe_stack();
        // Stays set if this future is dropped before the outcome is known: then the next command saves again.
        self.unsaved = true;
        let state = Stored {
            permanent,
            volatile,
        };
        match self.store.save(&state).await {
            Ok(()) => {
                self.storage_works();
                self.unsaved = false;
                self.saved = Some(state);
                Ok(())
            }
            Err(error) => {
                let saved = self.saved.take();
                if let Some(saved) = &saved
                    && let Some(Err(reason)) =
                        self.engine(|tpm| tpm.restore_permanent(&saved.permanent))
                {
                    tracing::error!(%reason, "the stored state could not be put back: this TPM is in failure mode until its next power cycle");
                    self.failed = true;
                }
                // A stored volatile state that is void must go before anything else is answered; all else may wait for the next save.
                self.unsaved = saved.as_ref().is_some_and(|saved| saved.volatile.is_some());
                self.saved = saved;
                Err(error)
            }
        }
    }
}
