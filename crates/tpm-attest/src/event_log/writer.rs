//! Measuring as firmware does.

use tpm_crypto::hash::hash;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::constants::TpmAlgId;

use super::data::{self, SpecId};
use super::{Event, EventDigest, EventLog, EventType, LogFormat};
use crate::algorithm::hash_algorithm;

/// Writes a crypto-agile log, event by event.
#[derive(Clone, Debug)]
pub struct LogWriter {
    log: EventLog,
    banks: Vec<TpmiAlgHash>,
    size: usize,
}

impl LogWriter {
    /// A log of these banks, which begins with its Spec ID event.
    #[must_use]
    pub fn new(banks: &[TpmiAlgHash]) -> Self {
        let spec_id = SpecId::of(banks);
        let mut writer = Self {
            log: EventLog {
                format: LogFormat::CryptoAgile,
                banks: spec_id.banks.clone(),
                events: Vec::new(),
            },
            banks: banks.to_vec(),
            size: 0,
        };
        let digests = vec![EventDigest {
            algorithm: TpmAlgId::SHA1,
            bytes: vec![0; 20],
        }];
        writer.push(0, EventType::NO_ACTION, digests, spec_id.to_bytes());
        writer
    }

    /// Tells the locality of `TPM2_Startup`; it must come before any event of PCR 0.
    pub fn startup_locality(&mut self, locality: u8) {
        let digests = self.digests(|alg| vec![0; alg.digest_size()]);
        let data = data::startup_locality_event(locality);
        self.push(0, EventType::NO_ACTION, digests, data);
    }

    /// Measures something, and tells about it in `data`.
    pub fn measure(&mut self, pcr: u32, kind: EventType, data: &[u8], measured: &[u8]) {
        let digests = self.digests(|alg| hash(hash_algorithm(alg), &[measured]).to_vec());
        self.push(pcr, kind, digests, data.to_vec());
    }

    /// Measures what is told.
    pub fn measure_data(&mut self, pcr: u32, kind: EventType, data: &[u8]) {
        self.measure(pcr, kind, data, data);
    }

    /// The log up to now.
    #[must_use]
    pub const fn log(&self) -> &EventLog {
        &self.log
    }

    /// The log.
    #[must_use]
    pub fn finish(self) -> EventLog {
        self.log
    }

    fn digests(&self, digest: impl Fn(TpmiAlgHash) -> Vec<u8>) -> Vec<EventDigest> {
        self.banks
            .iter()
            .map(|alg| EventDigest {
                algorithm: alg.id(),
                bytes: digest(*alg),
            })
            .collect()
    }

    fn push(&mut self, pcr: u32, kind: EventType, digests: Vec<EventDigest>, data: Vec<u8>) {
        // PCR, type and size of data; then the digests, which the first event has in the older form.
        let digest_bytes: usize = if self.log.events.is_empty() {
            20
        } else {
            4 + digests
                .iter()
                .map(|digest| 2 + digest.bytes.len())
                .sum::<usize>()
        };
        let offset = self.size;
        self.size += 12 + digest_bytes + data.len();
        self.log.events.push(Event {
            number: self.log.events.len(),
            offset,
            pcr,
            kind,
            digests,
            data,
        });
    }
}
