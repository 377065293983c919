//! The event log of firmware: what was measured into the PCR, in which order (TCG PC Client Platform Firmware Profile, 10).
//!
//! [`EventLog`] reads and writes the crypto-agile form and the older one of SHA-1 alone; [`EventLog::replay`] computes what the PCR
//! must be. [`LogWriter`] measures as firmware does. [`data`] has what the events of UEFI hold, and [`ima`] the list of the kernel.
//! What comes from outside is bounded, and what is refused is named by the event's number and its offset.

pub(crate) mod bytes;
pub mod data;
mod detail;
pub mod ima;
mod kind;
mod reader;
mod replay;
#[cfg(test)]
mod tests;
mod writer;

pub use detail::Detail;
pub use kind::EventType;
pub use replay::{PCR_COUNT, PcrBank};
pub use writer::LogWriter;

use tpm_crypto::hash::hash;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::constants::TpmAlgId;

use crate::algorithm::hash_algorithm;

/// Most bytes of a log.
pub const MAX_LOG: usize = 8 * 1024 * 1024;
/// Most events of a log.
pub const MAX_EVENTS: usize = 32_768;
/// Most bytes of one event's data.
pub const MAX_EVENT_DATA: usize = 1024 * 1024;
/// Most banks of a log.
pub const MAX_LOG_BANKS: usize = 16;

/// Why a log was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {event}, at byte {offset}: {fault}")]
pub struct LogError {
    /// The number of the event; the first is 0.
    pub event: usize,
    /// Where it begins in the log.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: String,
}

/// The form of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Every event has one SHA-1 digest (`TCG_PCClientPCREvent`).
    Sha1,
    /// Every event but the first has a digest for each bank (`TCG_PCR_EVENT2`).
    CryptoAgile,
}

/// The digest of one event for one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDigest {
    /// The bank.
    pub algorithm: TpmAlgId,
    /// The digest.
    pub bytes: Vec<u8>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number; the first is 0.
    pub number: usize,
    /// Where it begins in the log.
    pub offset: usize,
    /// The PCR that was extended.
    pub pcr: u32,
    /// What it is about.
    pub kind: EventType,
    /// What the PCR were extended with.
    pub digests: Vec<EventDigest>,
    /// What firmware tells about it.
    pub data: Vec<u8>,
}

impl Event {
    /// The digest for a bank.
    #[must_use]
    pub fn digest(&self, bank: TpmiAlgHash) -> Option<&[u8]> {
        self.digests
            .iter()
            .find(|digest| digest.algorithm == bank.id())
            .map(|digest| digest.bytes.as_slice())
    }

    /// What is wrong with the event's data, where its digests tell: what was measured is then a part of the data that is known, and
    /// nothing at all where nothing is extended.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        let fault = |fault: &str| {
            format!(
                "event {}, at byte {} ({} in PCR {}): {fault}",
                self.number, self.offset, self.kind, self.pcr
            )
        };
        if self.kind == EventType::NO_ACTION {
            let mut bytes = self.digests.iter().flat_map(|digest| &digest.bytes);
            let extends = bytes.any(|byte| *byte != 0);
            return extends.then(|| fault("it extends nothing, but has a digest"));
        }
        let data = self.data.as_slice();
        let measured: Vec<&[u8]> = match self.kind {
            EventType::IPL => data::boot_loader_text(data).into_iter().collect(),
            // Older firmware measures the value alone, newer firmware the whole structure.
            EventType::EFI_VARIABLE_BOOT => detail::variable_value(data)
                .into_iter()
                .chain([data])
                .collect(),
            kind if kind.measures_its_data() => vec![data],
            _ => Vec::new(),
        };
        if measured.is_empty() {
            return None;
        }
        self.digests.iter().find_map(|digest| {
            let algorithm = hash_algorithm(TpmiAlgHash::from_id(digest.algorithm)?);
            let is_true = measured
                .iter()
                .any(|part| hash(algorithm, &[part]) == *digest.bytes.as_slice());
            (!is_true).then(|| fault("its data does not hash to its digest"))
        })
    }
}

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLog {
    /// Its form.
    pub format: LogFormat,
    /// The banks that its first event names, and the size of a digest for each.
    pub banks: Vec<(TpmAlgId, u16)>,
    /// The events, the first included.
    pub events: Vec<Event>,
}

/// The name of a hash algorithm as Linux, tpm2-tools and keylime write it.
#[must_use]
pub const fn bank_name(alg: TpmiAlgHash) -> &'static str {
    match alg {
        TpmiAlgHash::Sha1 => "sha1",
        TpmiAlgHash::Sha256 => "sha256",
        TpmiAlgHash::Sha384 => "sha384",
        TpmiAlgHash::Sha512 => "sha512",
        TpmiAlgHash::Sm3_256 => "sm3_256",
        TpmiAlgHash::Sha3_256 => "sha3_256",
        TpmiAlgHash::Sha3_384 => "sha3_384",
        TpmiAlgHash::Sha3_512 => "sha3_512",
    }
}

/// The algorithm of such a name.
#[must_use]
pub fn bank_from_name(name: &str) -> Option<TpmiAlgHash> {
    TpmiAlgHash::ALL
        .iter()
        .copied()
        .find(|alg| bank_name(*alg) == name)
}
