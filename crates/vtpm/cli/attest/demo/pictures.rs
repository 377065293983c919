//! What the page of the story shows beside its words.

use std::collections::BTreeMap;

use serde::Serialize;
use tpm_attest::certificate::{Certificate, Facts};
use tpm_attest::event_log::{Event, EventLog, EventType};
use tpm_attest::verify::Enrolled;
use tpm_wire::algorithm::TpmiAlgHash;

const BANK: TpmiAlgHash = TpmiAlgHash::Sha256;

/// Everything that is drawn.
#[derive(Debug, Default, Serialize)]
pub(super) struct Pictures {
    /// From the root authority to the endorsement key.
    pub(super) chain: Vec<Link>,
    /// What was measured when the machine was in order.
    pub(super) golden: Measured,
    /// What was measured with another kernel.
    pub(super) tampered: Measured,
    /// The quotes of one identity in their order, and why they cannot come from one TPM.
    pub(super) twins: Vec<Seen>,
    /// What the alarm says.
    pub(super) alarm: String,
}

/// A certificate of the chain.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    /// What it is.
    pub(super) role: &'static str,
    /// Whose it is.
    pub(super) name: String,
    /// SHA-256 of it.
    pub(super) fingerprint: String,
}

/// The registers after a boot, and how they came about.
#[derive(Debug, Default, Serialize)]
pub(super) struct Measured {
    /// By number, in hexadecimal.
    pub(super) pcrs: BTreeMap<u32, String>,
    /// The log.
    pub(super) events: Vec<Line>,
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) pcr: u32,
    pub(super) kind: String,
    pub(super) says: String,
    pub(super) digest: String,
}

/// What one quote told of its TPM.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    pub(super) source: String,
    pub(super) resets: u32,
    pub(super) clock: u64,
    /// Whether the verifier took it.
    pub(super) taken: bool,
}

impl Link {
    pub(super) fn new(
        role: &'static str,
        name: &str,
        certificate: &Certificate,
    ) -> Result<Self, tpm_attest::Error> {
        Ok(Self {
            role,
            name: name.to_owned(),
            fingerprint: Facts::of(certificate)?.fingerprint,
        })
    }
}

impl Measured {
    pub(super) fn new(log: &EventLog) -> anyhow::Result<Self> {
        let bank = log.replay(BANK)?;
        let used = |pcr: &u32| log.events.iter().any(|event| event.pcr == *pcr);
        Ok(Self {
            pcrs: (0..24)
                .filter(used)
                .filter_map(|pcr| Some((pcr, hex::encode(bank.get(pcr)?))))
                .collect(),
            events: log
                .events
                .iter()
                .filter(|event| event.kind != EventType::NO_ACTION)
                .map(line)
                .collect(),
        })
    }
}

fn line(event: &Event) -> Line {
    Line {
        number: event.number,
        pcr: event.pcr,
        kind: event.kind.to_string(),
        says: event.detail().to_string(),
        digest: event.digest(BANK).map(hex::encode).unwrap_or_default(),
    }
}

impl Pictures {
    /// Draws the quotes of one identity, the last of which rang the alarm.
    pub(super) fn draw_twins(&mut self, record: &Enrolled) {
        let seen = |sighting: &tpm_attest::verify::Sighting, taken| Seen {
            source: sighting.source.clone(),
            resets: sighting.reset_count,
            clock: sighting.clock,
            taken,
        };
        let history = &record.history;
        self.twins = history.sightings.iter().map(|it| seen(it, true)).collect();
        if let Some(alarm) = &history.alarm {
            self.twins.push(seen(&alarm.quote, false));
            self.alarm.clone_from(&alarm.reason);
        }
    }
}
