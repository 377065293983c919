//! The faults that the TPM of `vtpm run` can be asked to have.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tpm_server::{Device, Faults, SaveFuture, StateStore, StoreError, Stored};

const KNOWN: &str = "power-cut-at=N, nv-full, lockout, slow=MS or failure-mode";
/// Failed authorizations after which every profile's new TPM is locked, and kept ones whose owner has not chosen far more.
const MOST_TRIES: u32 = 256;
const LOCKOUT: u32 = 0x921;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    PowerCutAt(NonZeroU64),
    NvFull,
    Lockout,
    Slow(Duration),
    FailureMode,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let fault = match (name, value) {
            ("nv-full", None) => Some(Self::NvFull),
            ("lockout", None) => Some(Self::Lockout),
            ("failure-mode", None) => Some(Self::FailureMode),
            ("power-cut-at", Some(count)) => count.parse().ok().map(Self::PowerCutAt),
            ("slow", Some(time)) => time
                .parse()
                .ok()
                .map(|time: u32| Self::Slow(Duration::from_millis(time.into()))),
            _ => None,
        };
        fault.ok_or_else(|| format!("a fault is {KNOWN}, where N is at least 1"))
    }
}

/// Refuses two faults of which one would be forgotten.
pub(super) fn check(faults: &[Fault]) -> anyhow::Result<()> {
    let kind = std::mem::discriminant::<Fault>;
    for (at, fault) in faults.iter().enumerate() {
        if faults
            .iter()
            .skip(at + 1)
            .any(|other| kind(fault) == kind(other))
        {
            bail!("the fault {fault:?} is given twice: say each once");
        }
    }
    Ok(())
}

/// Brings a TPM that was started into the state that the faults describe; whatever counts begins with the next command.
pub(super) async fn arrange(
    device: &Device,
    faults: &[Fault],
    full: &AtomicBool,
) -> anyhow::Result<()> {
    let mut lasting = Faults::default();
    for fault in faults {
        match fault {
            Fault::PowerCutAt(count) => lasting.power_cut_at = Some(count.get()),
            Fault::Slow(delay) => lasting.delay = *delay,
            Fault::Lockout => lock_out(device).await?,
            Fault::NvFull | Fault::FailureMode => {}
        }
    }
    // What is locked out had to be stored, and could not have been in failure mode.
    if faults.contains(&Fault::NvFull) {
        full.store(true, Ordering::Relaxed);
        device.signals().set_storage_has_room(false);
    }
    if faults.contains(&Fault::FailureMode) {
        device.force_failure().await;
    }
    device.set_faults(lasting).await;
    Ok(())
}

/// Storage that can be made to refuse, as a disk does that is full.
pub(super) struct FillableStore {
    pub(super) store: Box<dyn StateStore>,
    pub(super) full: Arc<AtomicBool>,
}

impl StateStore for FillableStore {
    fn load(&mut self) -> Result<Option<Stored>, StoreError> {
        self.store.load()
    }

    fn save<'a>(&'a mut self, state: &'a Stored) -> SaveFuture<'a> {
        if self.full.load(Ordering::Relaxed) {
            let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Box::pin(std::future::ready(Err(StoreError::new(error))));
        }
        self.store.save(state)
    }

    fn release(&mut self) {
        self.store.release();
    }
}

/// `TPM2_CreatePrimary` under the null hierarchy: a sealed object, protected against dictionary attacks, whose authorization value
/// is "x".
const CREATE_PROTECTED: &[u8] = &[
    0x80, 2, 0, 0, 0, 57, 0, 0, 1, 0x31, 0x40, 0, 0, 7, // header, TPM_RH_NULL
    0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, // an empty password
    0, 6, 0, 1, b'x', 0, 1, b's', // its authorization value and what is sealed
    0, 14, 0, 8, 0, 0x0b, 0, 0, 0, 0x52, 0, 0, 0, 0x10, 0, 0, // its public area
    0, 0, 0, 0, 0, 0, // neither outside information nor PCRs
];

/// Authorizes an object wrongly, as somebody who guesses, until no more guesses are taken.
async fn lock_out(device: &Device) -> anyhow::Result<()> {
    let created = execute(device, CREATE_PROTECTED).await;
    let handle = created
        .get(10..14)
        .with_context(|| format!("no object could be made to lock out: {created:02x?}"))?;
    let wrong_unseal = [
        &[0x80, 2, 0, 0, 0, 28, 0, 0, 1, 0x5e],
        handle,
        &[0, 0, 0, 10, 0x40, 0, 0, 9, 0, 0, 0, 0, 1, b'y'],
    ]
    .concat();
    let flush = [&[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65], handle].concat();
    let mut tries = 0;
    while response_code(&execute(device, &wrong_unseal).await) != Some(LOCKOUT) {
        tries += 1;
        if tries > MOST_TRIES {
            bail!(
                "after {MOST_TRIES} wrong authorizations the TPM is not in lockout: its owner has set maxTries higher"
            );
        }
    }
    execute(device, &flush).await;
    Ok(())
}

async fn execute(device: &Device, command: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    device.execute(command, None, &mut response).await;
    response
}

fn response_code(response: &[u8]) -> Option<u32> {
    let bytes = response.get(6..10)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::private_tpm;
    use super::*;
    use crate::cli::trace::TraceOptions;

    #[test]
    fn faults_are_said_once() {
        let fault = |text: &str| text.parse::<Fault>().unwrap();
        assert!(check(&[fault("slow=1"), fault("nv-full"), fault("power-cut-at=2")]).is_ok());
        assert!(check(&[fault("slow=1"), fault("nv-full"), fault("slow=2")]).is_err());
    }

    #[tokio::test]
    async fn the_command_that_locks_out_has_the_size_that_it_says() {
        assert_eq!(
            CREATE_PROTECTED.get(5).copied().map(usize::from),
            Some(CREATE_PROTECTED.len())
        );
        let device = private_tpm::device(
            None,
            None,
            Some((1, 1)),
            &[Fault::Lockout],
            &TraceOptions::default(),
        )
        .await
        .unwrap();
        // TPM_PT_PERMANENT: the bit inLockout is set.
        let capability = [
            0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 2, 0, 0, 0, 0, 1,
        ];
        let answer = execute(&device, &capability).await;
        let permanent = answer
            .last_chunk::<4>()
            .map(|bytes| u32::from_be_bytes(*bytes));
        assert_eq!(
            permanent.map(|bits| bits >> 9 & 1),
            Some(1),
            "{answer:02x?}"
        );
    }
}
