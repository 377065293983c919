//! Power: on, off, and which state the TPM comes up with.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tpm_engine::Tpm;
use zeroize::Zeroizing;

use super::{Device, DeviceError, Inner, StartupKind, WipedStack, wipe_stack};
use crate::frame::{rc, response_code};
use crate::store::Stored;
use crate::trace::Event;

const SHUTDOWN_STATE: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 1];
const SHUTDOWN_CLEAR: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 0];
const STARTUP_STATE: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 1];
pub(super) const STARTUP_CLEAR: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];

impl Device {
    /// Gives the TPM power, or takes it away and gives it again. State that was received or stored for it is taken up now: all of
    /// it, or none and the TPM keeps what it had and stays off.
    pub async fn power_on(&self) -> Result<(), DeviceError> {
        let _wiped = WipedStack::afterwards();
        let mut inner = self.lock().await;
        inner.cut_power().await;
        inner.power_up().await
    }

    /// Loads the stored state, or manufactures a TPM and stores it, without giving it power.
    pub async fn prepare(&self) -> Result<(), DeviceError> {
        let _wiped = WipedStack::afterwards();
        self.lock().await.prepare().await
    }

    /// Gives the TPM power if it has none; one that runs is not disturbed.
    pub async fn ensure_power(&self) -> Result<(), DeviceError> {
        let _wiped = WipedStack::afterwards();
        let mut inner = self.lock().await;
        if self.signals.powered() {
            return Ok(());
        }
        inner.power_up().await
    }

    /// Takes the power away, after an orderly shutdown unless that is switched off.
    pub async fn power_off(&self) {
        let _wiped = WipedStack::afterwards();
        self.lock().await.cut_power().await;
    }

    /// Takes the power away and gives the storage up: the end of this device. A TPM that its source may yet take back leaves the
    /// storage as that expects it.
    pub async fn close(&self) {
        let _wiped = WipedStack::afterwards();
        let mut inner = self.lock().await;
        if inner.arrived && self.signals.powered() {
            inner.without_power();
        } else {
            inner.cut_power().await;
        }
        inner.give_store_up();
    }

    /// Sends a `TPM2_Shutdown` if the TPM is on and has not had one, whatever the settings say about the loss of power.
    pub async fn shut_down(&self) {
        let _wiped = WipedStack::afterwards();
        let mut inner = self.lock().await;
        if self.signals.powered() && !inner.suspended && inner.holds_store {
            inner.shut_down_in_order().await;
        }
    }

    /// Whether the TPM has power.
    pub fn is_on(&self) -> bool {
        self.signals.powered()
    }

    /// Gives the TPM power and starts it, as a machine that is switched on: one that goes on from a stored volatile state is shut
    /// down in order first.
    pub async fn boot(&self, kind: StartupKind) -> Result<(), DeviceError> {
        if kind == StartupKind::Clear && self.boot_new().await? {
            return Ok(());
        }
        self.power_on().await?;
        match self.startup(kind).await {
            Err(DeviceError::Startup(rc::INITIALIZE)) => {
                self.shut_down().await;
                self.power_on().await?;
                self.startup(kind).await
            }
            outcome => outcome,
        }
    }

    /// Manufactures and starts a TPM, if there is none. It is stored once, when it was started: before, nobody can know of it.
    async fn boot_new(&self) -> Result<bool, DeviceError> {
        let _wiped = WipedStack::afterwards();
        let mut inner = self.lock().await;
        inner.cut_power().await;
        inner.boot_new().await
    }

    /// Sends `TPM2_Startup`, as firmware would.
    pub async fn startup(&self, kind: StartupKind) -> Result<(), DeviceError> {
        let command = match kind {
            StartupKind::Clear => STARTUP_CLEAR,
            StartupKind::State => STARTUP_STATE,
        };
        let mut response = Vec::new();
        self.execute(&command, None, &mut response).await;
        match response_code(&response) {
            Some(rc::SUCCESS) => Ok(()),
            code => Err(DeviceError::Startup(code.unwrap_or(rc::FAILURE))),
        }
    }
}

impl Inner {
    /// Makes sure that the storage is held by this process, and that nobody changed it since we last held it.
    pub(super) fn hold_store(&mut self) -> Result<(), DeviceError> {
        if self.holds_store {
            return Ok(());
        }
        let found = self.store.load()?;
        // A host to which the state went has stored what went there.
        let went_and_came = |found: &Stored| {
            found.volatile.is_none() && Some(&found.permanent) == self.left.as_ref()
        };
        if let Some(saved) = &self.saved
            && found.as_ref() != Some(saved)
            && !found.as_ref().is_some_and(went_and_came)
        {
            self.store.release();
            return Err(DeviceError::Overtaken);
        }
        self.saved = found;
        self.left = None;
        self.holds_store = true;
        self.incoming = false;
        Ok(())
    }

    pub(super) fn give_store_up(&mut self) {
        self.store.release();
        self.holds_store = false;
    }

    /// Makes sure that there is a TPM: the stored one, or a new one, which is stored first.
    pub(super) async fn prepare(&mut self) -> Result<(), DeviceError> {
        self.hold_store()?;
        if self.failed {
            // What it was doing is lost; what it had promised is stored.
            self.failed = false;
            self.tpm = None;
        }
        if self.tpm.is_some() {
            return Ok(());
        }
        match self.saved.as_ref().map(|saved| saved.permanent.clone()) {
            Some(_) if self.settings.profile.is_some() => {
                return Err(DeviceError::ProfileOfExisting);
            }
            Some(permanent) => {
                let tpm = self.load(&permanent)?;
                self.replace_tpm(tpm);
            }
            None => {
                self.manufacture()?;
                if let Err(error) = self.save(None).await {
                    self.tpm = None;
                    return Err(error.into());
                }
            }
        }
        self.fresh = true;
        Ok(())
    }

    fn manufacture(&mut self) -> Result<(), DeviceError> {
        let profile = self.settings.profile.take().unwrap_or_default();
        let platform = (self.settings.platform)(&self.signals);
        let made = catch_unwind(AssertUnwindSafe(|| Tpm::new(profile, platform)));
        self.replace_tpm(made.map_err(|_| DeviceError::FailureMode)?);
        Ok(())
    }

    async fn boot_new(&mut self) -> Result<bool, DeviceError> {
        self.hold_store()?;
        let is_new = self.saved.is_none() && self.tpm.is_none() && !self.failed;
        if !is_new || self.staged_permanent.is_some() || self.staged_volatile.is_some() {
            return Ok(false);
        }
        self.manufacture()?;
        self.unsaved = true;
        self.suspended = false;
        self.blob = None;
        self.tracer.happened(|| Event::PowerOn { resumed: false });
        let (code, settled) = self.run_own(&STARTUP_CLEAR).await;
        let outcome = match (code, settled) {
            (_, Err(error)) => Err(error.into()),
            (Some(rc::SUCCESS), Ok(())) => Ok(true),
            (code, Ok(())) => Err(DeviceError::Startup(code.unwrap_or(rc::FAILURE))),
        };
        if outcome.is_err() {
            self.tpm = None;
            self.tracer.happened(|| Event::PowerOff);
        } else {
            self.signals.set_powered(true);
        }
        outcome
    }

    /// A TPM with this permanent state, beside the present one.
    pub(super) fn load(&self, permanent: &[u8]) -> Result<Tpm, DeviceError> {
        let platform = (self.settings.platform)(&self.signals);
        let refused = |reason: String| DeviceError::State {
            kind: "permanent",
            reason,
        };
        let loaded = catch_unwind(AssertUnwindSafe(|| Tpm::load(permanent, platform)));
        wipe_stack();
        loaded
            .map_err(|_| refused("the engine failed on it".into()))?
            .map_err(|error| refused(error.to_string()))
    }

    pub(super) async fn power_up(&mut self) -> Result<(), DeviceError> {
        if let Some(permanent) = self.staged_permanent.take() {
            return self.power_up_received(&permanent).await;
        }
        self.prepare().await?;
        if !std::mem::take(&mut self.fresh) {
            self.engine(Tpm::init).ok_or(DeviceError::FailureMode)?;
        }
        let mut resumed = false;
        if let Some(volatile) = self.staged_volatile.take() {
            let tpm = self.tpm.as_mut().ok_or(DeviceError::FailureMode)?;
            restore_volatile(tpm, &volatile)?;
            resumed = true;
        } else if let Some(volatile) = self.saved.as_ref().and_then(|saved| saved.volatile.clone())
        {
            let tpm = self.tpm.as_mut().ok_or(DeviceError::FailureMode)?;
            if let Err(error) = restore_volatile(tpm, &volatile) {
                tracing::error!(%error, "the TPM starts as after a power cycle");
                self.engine(Tpm::init);
            } else {
                resumed = true;
            }
        }
        // From here on the TPM moves away from a stored volatile state, which therefore goes.
        self.unsaved |= self
            .saved
            .as_ref()
            .is_some_and(|saved| saved.volatile.is_some());
        self.come_up(resumed).await
    }

    /// Takes up the state that came from another host, in the place of what was here.
    async fn power_up_received(&mut self, permanent: &[u8]) -> Result<(), DeviceError> {
        let volatile = self.staged_volatile.take();
        self.hold_store()?;
        let mut tpm = self.load(permanent)?;
        let resumed = volatile.is_some();
        if let Some(volatile) = volatile {
            restore_volatile(&mut tpm, &volatile)?;
        }
        let before = self.replace_tpm(tpm);
        self.failed = false;
        if let Err(error) = self.save(None).await {
            self.tpm = before;
            return Err(error.into());
        }
        self.settings.profile = None;
        self.fresh = false;
        self.come_up(resumed).await?;
        self.arrived = resumed && std::mem::take(&mut self.settings.incoming);
        Ok(())
    }

    async fn come_up(&mut self, resumed: bool) -> Result<(), DeviceError> {
        self.suspended = false;
        self.blob = None;
        self.used |= self.tpm.as_ref().is_some_and(Tpm::is_started);
        self.settle().await?;
        self.signals.set_powered(true);
        self.tracer.happened(|| Event::PowerOn { resumed });
        Ok(())
    }

    pub(super) async fn cut_power(&mut self) {
        if self.signals.powered() {
            if self.settings.auto_shutdown && !self.suspended && self.holds_store {
                self.shut_down_in_order().await;
            }
            self.without_power();
        }
    }

    fn without_power(&mut self) {
        self.signals.set_powered(false);
        self.tracer.happened(|| Event::PowerOff);
        self.blob = None;
    }

    /// Sends the Shutdown that the guest did not send: with the state, so that the next Startup may be of either kind.
    async fn shut_down_in_order(&mut self) {
        if self.engine(|tpm| tpm.shut_down_orderly()) != Some(false) {
            return;
        }
        for command in [SHUTDOWN_STATE, SHUTDOWN_CLEAR] {
            let (code, settled) = self.run_own(&command).await;
            if let Err(error) = settled {
                tracing::error!(%error, "the TPM lost power without an orderly shutdown");
                return;
            }
            if matches!(code, Some(rc::SUCCESS | rc::INITIALIZE)) {
                return;
            }
        }
    }
}

fn restore_volatile(tpm: &mut Tpm, volatile: &Zeroizing<Vec<u8>>) -> Result<(), DeviceError> {
    let refused = |reason: String| DeviceError::State {
        kind: "volatile",
        reason,
    };
    catch_unwind(AssertUnwindSafe(|| tpm.restore_volatile(volatile)))
        .map_err(|_| refused("the engine failed on it".into()))?
        .map_err(|error| refused(error.to_string()))
}

impl Inner {
    /// Whether this state could be taken up; nothing changes.
    pub(super) fn check_received(
        &self,
        permanent: &[u8],
        volatile: Option<&Zeroizing<Vec<u8>>>,
    ) -> Result<(), DeviceError> {
        let mut tpm = self.load(permanent)?;
        self.check_origin(&tpm)?;
        volatile.map_or(Ok(()), |volatile| restore_volatile(&mut tpm, volatile))
    }

    /// Received state takes the place of an earlier or later state of the same TPM, or of a TPM that nobody would miss: whoever
    /// makes a place for a machine that is to arrive may manufacture one there. It never takes the place of another machine's.
    fn check_origin(&self, received: &Tpm) -> Result<(), DeviceError> {
        let loaded;
        let present = match (&self.tpm, &self.saved) {
            (Some(tpm), _) => tpm,
            (None, Some(saved)) => {
                loaded = self.load(&saved.permanent)?;
                &loaded
            }
            (None, None) => return Ok(()),
        };
        if present.is_same_as(received) || !self.used && present.is_unused() {
            return Ok(());
        }
        Err(DeviceError::State {
            kind: "permanent",
            reason: "it belongs to another TPM than the one that is here; start with an empty state folder to receive it".into(),
        })
    }
}
