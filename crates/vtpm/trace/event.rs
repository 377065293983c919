//! What happened to a TPM beside its commands, as it is stored: a line of JSON between those of exchanges.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tpm_server::Event;

use super::record::{Bytes, micros, time_of_day};

/// An event and its moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occurrence {
    /// When: microseconds since 1970.
    pub(crate) at: u64,
    /// What.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What can happen, by the names that recordings have for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum What {
    /// Power, and with it `_TPM_Init`.
    PowerOn {
        /// Whether the TPM goes on from volatile state, without a Startup.
        resumed: bool,
    },
    /// No power any more, in order.
    PowerOff,
    /// No power any more, suddenly.
    PowerCut,
    /// The volatile state was stored.
    Suspended,
    /// `_TPM_Hash_Start`
    HashStart,
    /// `_TPM_Hash_Data`
    HashData {
        /// The data, which is public.
        data: Bytes,
    },
    /// `_TPM_Hash_End`
    HashEnd,
    /// The TPM was made to forget that there was a measured launch.
    EstablishedReset {
        /// From where.
        locality: u8,
    },
    /// The locality of the commands to come.
    Locality {
        /// Which.
        locality: u8,
    },
}

impl Occurrence {
    /// An event of a device.
    pub(crate) fn new(at: SystemTime, event: &Event) -> Self {
        let what = match event {
            Event::PowerOn { resumed } => What::PowerOn { resumed: *resumed },
            Event::PowerOff => What::PowerOff,
            Event::PowerCut => What::PowerCut,
            Event::Suspended => What::Suspended,
            Event::HashStart => What::HashStart,
            Event::HashData(data) => What::HashData {
                data: data.clone().into(),
            },
            Event::HashEnd => What::HashEnd,
            Event::EstablishedReset(locality) => What::EstablishedReset {
                locality: *locality,
            },
            Event::Locality(locality) => What::Locality {
                locality: *locality,
            },
        };
        Self {
            at: micros(at),
            what,
        }
    }

    /// The line that stores it, with its end.
    pub(crate) fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }

    /// The event in one line for people.
    pub(crate) fn line(&self) -> String {
        format!("    - {} {}", time_of_day(self.at), self.what)
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PowerOn { resumed: false } => f.write_str("power on"),
            Self::PowerOn { resumed: true } => f.write_str("power on, from volatile state"),
            Self::PowerOff => f.write_str("power off"),
            Self::PowerCut => f.write_str("power cut"),
            Self::Suspended => f.write_str("volatile state stored"),
            Self::HashStart => f.write_str("measured launch begins"),
            Self::HashData { data } => {
                write!(f, "measured launch data, {} bytes", data.len())
            }
            Self::HashEnd => f.write_str("measured launch ends"),
            Self::EstablishedReset { locality } => {
                write!(f, "measured launch forgotten, from locality {locality}")
            }
            Self::Locality { locality } => write!(f, "locality {locality}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Entry, Line, parse_line};

    #[test]
    fn every_event_survives_its_line() {
        for event in [
            Event::PowerOn { resumed: true },
            Event::PowerOff,
            Event::PowerCut,
            Event::Suspended,
            Event::HashStart,
            Event::HashData(vec![1, 2, 255]),
            Event::HashEnd,
            Event::EstablishedReset(3),
            Event::Locality(4),
        ] {
            let occurrence = Occurrence::new(SystemTime::UNIX_EPOCH, &event);
            let line = occurrence.to_line();
            let read = parse_line(&line).unwrap();
            assert_eq!(read, Line::Entry(Entry::Event(occurrence)), "{line}");
        }
        let power = Occurrence::new(SystemTime::UNIX_EPOCH, &Event::PowerOn { resumed: false });
        assert_eq!(
            power.to_line(),
            "{\"at\":0,\"event\":\"power_on\",\"resumed\":false}\n"
        );
        assert_eq!(power.line(), "    - 00:00:00.000000 power on");
    }
}
