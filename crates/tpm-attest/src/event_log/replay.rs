//! What the PCR must be if a log is true.

use std::collections::BTreeMap;

use tpm_crypto::hash::hash;
use tpm_wire::algorithm::TpmiAlgHash;

use super::data::startup_locality;
use super::{EventLog, EventType, LogError};
use crate::algorithm::hash_algorithm;

/// PCR of a bank (PC Client Platform TPM Profile, 4.6.1).
pub const PCR_COUNT: u32 = 24;
/// PCR of the dynamic root of trust, which begin with all bits set.
const DYNAMIC: std::ops::RangeInclusive<u32> = 17..=22;

/// The values of one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrBank {
    algorithm: TpmiAlgHash,
    values: BTreeMap<u32, Vec<u8>>,
}

impl PcrBank {
    /// A bank as it is after a reset by the host (PC Client Platform TPM Profile, 4.6.2).
    #[must_use]
    pub fn new(algorithm: TpmiAlgHash) -> Self {
        let value = |pcr: u32| {
            let byte = if DYNAMIC.contains(&pcr) { 0xFF } else { 0 };
            vec![byte; algorithm.digest_size()]
        };
        Self {
            algorithm,
            values: (0..PCR_COUNT).map(|pcr| (pcr, value(pcr))).collect(),
        }
    }

    /// The hash of the bank.
    #[must_use]
    pub const fn algorithm(&self) -> TpmiAlgHash {
        self.algorithm
    }

    /// The value of a PCR.
    #[must_use]
    pub fn get(&self, pcr: u32) -> Option<&[u8]> {
        self.values.get(&pcr).map(Vec::as_slice)
    }

    /// The locality at which the TPM was started is the last byte of PCR 0 (PC Client Platform Firmware Profile, 10.4.5.3).
    pub fn start_at_locality(&mut self, locality: u8) {
        if let Some(last) = self.values.get_mut(&0).and_then(|value| value.last_mut()) {
            *last = locality;
        }
    }

    /// Extends a PCR; `false` if there is no such PCR (Part 1, 17.2).
    pub fn extend(&mut self, pcr: u32, digest: &[u8]) -> bool {
        let algorithm = hash_algorithm(self.algorithm);
        self.values
            .get_mut(&pcr)
            .map(|value| *value = hash(algorithm, &[value, digest]).to_vec())
            .is_some()
    }
}

impl EventLog {
    /// What the PCR of a bank are after these events.
    ///
    /// # Errors
    /// [`LogError`] at an event that extends no PCR that there is, or has no digest for this bank.
    pub fn replay(&self, algorithm: TpmiAlgHash) -> Result<PcrBank, LogError> {
        let mut bank = PcrBank::new(algorithm);
        let mut extended = false;
        for event in &self.events {
            let fault = |fault: String| LogError {
                event: event.number,
                offset: event.offset,
                fault,
            };
            if event.kind == EventType::NO_ACTION {
                if let Some(locality) = startup_locality(&event.data) {
                    if extended {
                        return Err(fault(
                            "the startup locality comes after an event of PCR 0".into(),
                        ));
                    }
                    bank.start_at_locality(locality);
                }
                continue;
            }
            // The hash sequence before TPM2_Startup leaves 4 as the locality without an event that says so.
            if event.kind == EventType::EFI_HCRTM_EVENT && !extended {
                bank.start_at_locality(4);
            }
            extended |= event.pcr == 0;
            let digest = event.digest(algorithm).ok_or_else(|| {
                fault(format!("it has no {} digest", super::bank_name(algorithm)))
            })?;
            if digest.len() != algorithm.digest_size() {
                return Err(fault(format!("its digest has {} bytes", digest.len())));
            }
            if !bank.extend(event.pcr, digest) {
                return Err(fault(format!("there is no PCR {}", event.pcr)));
            }
        }
        Ok(bank)
    }

    /// The banks that can be replayed.
    #[must_use]
    pub fn replayable(&self) -> Vec<TpmiAlgHash> {
        self.banks
            .iter()
            .filter_map(|(algorithm, _)| TpmiAlgHash::from_id(*algorithm))
            .collect()
    }
}
