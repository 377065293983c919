//! State that leaves for another host or comes from one, and what can be asked of a TPM that is off.

use std::time::Duration;

use tpm_engine::Tpm;
use zeroize::Zeroizing;

use super::{Device, DeviceError, Inner, WipedStack};
use crate::blob::Kind;
use crate::info;
use crate::store::Stored;
use crate::trace::Event;

pub(crate) type StateKind = Kind;

/// The least that a guest interface may negotiate: enough for every command with the smallest keys.
const SMALLEST_BUFFER: usize = 0xb50;
/// What is answered about a TPM whose state has yet to come from another host.
pub(super) const USUAL_BUFFER: usize = 4096;
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// The size of the command and response buffers of a TPM, and within which limits it can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// The size in use.
    pub current: usize,
    /// The smallest that can be chosen.
    pub smallest: usize,
    /// The largest that can be chosen.
    pub largest: usize,
}

impl Device {
    /// The state of a running TPM, packed; `None` for a kind that it does not have. From offset zero on it is taken anew, from any
    /// other the blob is the one that was made before, so that the pieces fit together.
    pub(crate) async fn blob<E>(
        &self,
        kind: StateKind,
        offset: usize,
        pack: impl FnOnce(&[u8]) -> Result<Zeroizing<Vec<u8>>, E>,
    ) -> Result<Option<Result<Zeroizing<Vec<u8>>, E>>, DeviceError> {
        let mut inner = self.lock().await;
        if !self.signals.powered() {
            return Err(DeviceError::NotRunning);
        }
        if offset > 0
            && let Some((made, blob)) = &inner.blob
            && *made == kind
        {
            return Ok(Some(Ok(blob.clone())));
        }
        let state = match kind {
            // What leaves must not be newer than what is stored: the source may yet go on from its storage.
            StateKind::Permanent => {
                if inner.holds_store {
                    inner.settle().await?;
                }
                inner.engine(Tpm::permanent_state)
            }
            StateKind::Volatile => inner.engine(|tpm| tpm.volatile_state()),
            StateKind::SaveState => return Ok(None),
        };
        let state = state.ok_or(DeviceError::FailureMode)?;
        let blob = pack(&state);
        if kind == StateKind::Permanent {
            inner.left = Some(state);
        }
        if let Ok(blob) = &blob {
            inner.blob = Some((kind, blob.clone()));
        }
        Ok(Some(blob))
    }

    /// Keeps state for the next power-on. It is tried first; what cannot be taken up is refused and nothing changes.
    pub(crate) async fn receive_state(
        &self,
        kind: StateKind,
        state: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<(), DeviceError> {
        let _wiped = WipedStack::afterwards();
        let mut inner = self.lock().await;
        if self.signals.powered() {
            return Err(DeviceError::Running);
        }
        inner.hold_store()?;
        match (kind, state) {
            (StateKind::Permanent, None) => inner.staged_permanent = None,
            (StateKind::Permanent, Some(state)) => {
                inner.check_received(&state, None)?;
                inner.staged_permanent = Some(state);
                inner.staged_volatile = None;
            }
            (StateKind::Volatile, None) => inner.staged_volatile = None,
            (StateKind::Volatile, Some(state)) => {
                let permanent = inner
                    .staged_permanent
                    .as_ref()
                    .or(inner.saved.as_ref().map(|saved| &saved.permanent));
                let missing = || DeviceError::State {
                    kind: "volatile",
                    reason: "there is no permanent state that it could belong to".into(),
                };
                inner.check_received(permanent.ok_or_else(missing)?, Some(&state))?;
                inner.staged_volatile = Some(state);
            }
            (StateKind::SaveState, None) => {}
            (StateKind::SaveState, Some(_)) => {
                return Err(DeviceError::State {
                    kind: "saved",
                    reason: "a TPM 2.0 has none beside the other two".into(),
                });
            }
        }
        Ok(())
    }

    /// Stores the volatile state beside the permanent one, so that the next power-on, also of another process, goes on from here.
    pub async fn suspend(&self) -> Result<(), DeviceError> {
        let _wiped = WipedStack::afterwards();
        let mut inner = self.lock().await;
        if !self.signals.powered() {
            return Err(DeviceError::NotRunning);
        }
        inner.hold_store()?;
        let volatile = inner
            .engine(|tpm| tpm.volatile_state())
            .ok_or(DeviceError::FailureMode)?;
        inner.save(Some(volatile)).await?;
        inner.suspended = true;
        self.tracer.happened(|| Event::Suspended);
        Ok(())
    }

    /// The state of a running TPM at this moment, permanent and volatile together; what had to be stored is. The TPM runs on.
    /// Nothing is stored while `beside` looks at the storage.
    pub async fn capture<R>(&self, beside: impl FnOnce() -> R) -> Result<(Stored, R), DeviceError> {
        let _wiped = WipedStack::afterwards();
        let mut inner = self.lock().await;
        if !self.signals.powered() {
            return Err(DeviceError::NotRunning);
        }
        inner.hold_store()?;
        inner.settle().await?;
        let state = inner.engine(|tpm| Stored {
            permanent: tpm.permanent_state(),
            volatile: Some(tpm.volatile_state()),
        });
        Ok((state.ok_or(DeviceError::FailureMode)?, beside()))
    }

    /// Gives the storage up while the TPM may still run, for another process that takes the TPM over.
    pub(crate) async fn release_storage(&self) {
        self.lock().await.give_store_up();
    }

    /// Takes the storage back, with some patience.
    pub(crate) async fn lock_storage(&self, retries: u32) -> Result<(), DeviceError> {
        let mut left = retries;
        loop {
            match self.lock().await.hold_store() {
                Err(DeviceError::Store(_)) if left > 0 => left -= 1,
                outcome => return outcome,
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
        }
    }

    /// The buffer sizes; with `wanted`, after choosing the nearest that is possible, for which the TPM has to be off.
    pub async fn buffer_sizes(&self, wanted: Option<usize>) -> Result<BufferSizes, DeviceError> {
        let mut inner = self.lock().await;
        if wanted.is_some() && self.signals.powered() {
            return Err(DeviceError::Running);
        }
        if !inner.incoming
            && let Err(error) = inner.prepare().await
        {
            // Whoever negotiates sizes gives power next, and hears of it then.
            tracing::warn!(%error, "the usual buffer sizes are offered");
        }
        if wanted.is_some() {
            inner.buffer_size = wanted;
            inner.apply_buffer_size();
        }
        let largest = inner.largest_buffer;
        let current = match &inner.tpm {
            Some(tpm) => tpm.max_command_size(),
            None => inner
                .buffer_size
                .unwrap_or(largest)
                .clamp(SMALLEST_BUFFER, largest),
        };
        Ok(BufferSizes {
            current,
            smallest: SMALLEST_BUFFER.min(largest),
            largest,
        })
    }

    /// Facts about the TPM as JSON text, chosen by swtpm's flags.
    pub async fn info(&self, flags: u64) -> Result<String, DeviceError> {
        let mut inner = self.lock().await;
        inner.prepare().await?;
        let permanent = inner
            .saved
            .as_ref()
            .map(|saved| saved.permanent.clone())
            .unwrap_or_default();
        // Asked of a copy, which can be started and thrown away: the TPM itself notices nothing.
        let mut copy = inner.load(&permanent)?;
        Ok(info::describe(&mut copy, flags))
    }
}

impl Inner {
    /// Puts a TPM that was just made or loaded into its place; gives back the one that was there.
    pub(super) fn replace_tpm(&mut self, tpm: Tpm) -> Option<Tpm> {
        self.largest_buffer = tpm.max_command_size();
        let before = self.tpm.replace(tpm);
        self.apply_buffer_size();
        before
    }

    fn apply_buffer_size(&mut self) {
        let limits = SMALLEST_BUFFER.min(self.largest_buffer)..=self.largest_buffer;
        let Some(tpm) = &mut self.tpm else { return };
        if let Some(wanted) = self.buffer_size {
            tpm.set_buffer_size(wanted.clamp(*limits.start(), *limits.end()));
        }
        self.signals.set_longest_command(tpm.max_command_size());
    }
}
