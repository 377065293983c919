//! Bytes to events and back.

use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::constants::TpmAlgId;

use super::bytes::{Reader, put_size, put_u16, put_u32};
use super::data::{SPEC_ID_03, SpecId};
use super::{
    Event, EventDigest, EventLog, EventType, LogError, LogFormat, MAX_EVENT_DATA, MAX_EVENTS,
    MAX_LOG,
};

const SHA1_SIZE: usize = 20;

impl EventLog {
    /// Reads a log of either form. Behind the last event may be nothing but bytes of 0x00, or of 0xFF, as in memory that firmware
    /// handed over.
    ///
    /// # Errors
    /// [`LogError`], with the event where the log stops making sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        let mut reader = Reader::new(bytes);
        let fault = |event, offset, fault: &str| LogError {
            event,
            offset,
            fault: fault.to_owned(),
        };
        if bytes.len() > MAX_LOG {
            let text = format!("the log has {} bytes, more than {MAX_LOG}", bytes.len());
            return Err(fault(0, 0, &text));
        }
        if bytes.is_empty() {
            return Err(fault(0, 0, "the log is empty"));
        }
        let first = legacy_event(&mut reader, 0)?;
        let mut log = Self {
            format: LogFormat::Sha1,
            banks: vec![(TpmAlgId::SHA1, 20)],
            events: Vec::new(),
        };
        if first.kind == EventType::NO_ACTION && first.data.starts_with(SPEC_ID_03) {
            let spec_id = SpecId::parse(&first.data)
                .map_err(|text| fault(0, 0, &format!("the Spec ID event {text}")))?;
            log.format = LogFormat::CryptoAgile;
            log.banks = spec_id.banks;
        }
        log.events.push(first);
        while !is_padding(reader.rest()) {
            let number = log.events.len();
            if number >= MAX_EVENTS {
                let text = format!("there are more than {MAX_EVENTS} events");
                return Err(fault(number, reader.offset(), &text));
            }
            let event = match log.format {
                LogFormat::Sha1 => legacy_event(&mut reader, number)?,
                LogFormat::CryptoAgile => agile_event(&mut reader, number, &log.banks)?,
            };
            if event.data.starts_with(SPEC_ID_03) && event.kind == EventType::NO_ACTION {
                return Err(fault(number, event.offset, "a second Spec ID event"));
            }
            log.events.push(event);
        }
        Ok(log)
    }

    /// The bytes of a log without what stands behind its last event; as they are, if they make no sense.
    #[must_use]
    pub fn without_padding(mut bytes: Vec<u8>) -> Vec<u8> {
        if let Ok(log) = Self::parse(&bytes) {
            bytes.truncate(log.to_bytes().len());
        }
        bytes
    }

    /// The bytes of the log; what was read comes out as it was.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (place, event) in self.events.iter().enumerate() {
            put_u32(&mut out, event.pcr);
            put_u32(&mut out, event.kind.0);
            if place == 0 || self.format == LogFormat::Sha1 {
                let zeros = [0; SHA1_SIZE];
                let digest = event.digest(TpmiAlgHash::Sha1).unwrap_or(&zeros);
                out.extend_from_slice(digest);
            } else {
                put_size(&mut out, event.digests.len());
                for digest in &event.digests {
                    put_u16(&mut out, digest.algorithm.0);
                    out.extend_from_slice(&digest.bytes);
                }
            }
            put_size(&mut out, event.data.len());
            out.extend_from_slice(&event.data);
        }
        out
    }
}

fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|byte| *byte == 0) || rest.iter().all(|byte| *byte == 0xFF)
}

fn cut(event: usize, offset: usize, what: &str) -> LogError {
    LogError {
        event,
        offset,
        fault: format!("the log is cut short in its {what}"),
    }
}

fn legacy_event(reader: &mut Reader<'_>, number: usize) -> Result<Event, LogError> {
    let offset = reader.offset();
    let short = |what| move || cut(number, offset, what);
    let pcr = reader.u32().ok_or_else(short("PCR"))?;
    let kind = EventType(reader.u32().ok_or_else(short("type"))?);
    let digest = reader.take(SHA1_SIZE).ok_or_else(short("digest"))?;
    let data = event_data(reader, number, offset)?;
    Ok(Event {
        number,
        offset,
        pcr,
        kind,
        digests: vec![EventDigest {
            algorithm: TpmAlgId::SHA1,
            bytes: digest.to_vec(),
        }],
        data,
    })
}

fn agile_event(
    reader: &mut Reader<'_>,
    number: usize,
    banks: &[(TpmAlgId, u16)],
) -> Result<Event, LogError> {
    let offset = reader.offset();
    let short = |what| move || cut(number, offset, what);
    let fault = |fault| LogError {
        event: number,
        offset,
        fault,
    };
    let pcr = reader.u32().ok_or_else(short("PCR"))?;
    let kind = EventType(reader.u32().ok_or_else(short("type"))?);
    let count = reader.size().ok_or_else(short("count of digests"))?;
    if count > banks.len() {
        return Err(fault(format!(
            "it has {count} digests, but the Spec ID event names {} banks",
            banks.len()
        )));
    }
    let mut digests: Vec<EventDigest> = Vec::with_capacity(count);
    for _ in 0..count {
        let algorithm = TpmAlgId(reader.u16().ok_or_else(short("digests"))?);
        let Some((_, size)) = banks.iter().find(|(known, _)| *known == algorithm) else {
            return Err(fault(format!(
                "a digest of algorithm {:#06x}, which the Spec ID event does not name",
                algorithm.0
            )));
        };
        if digests.iter().any(|digest| digest.algorithm == algorithm) {
            return Err(fault(format!(
                "two digests of algorithm {:#06x}",
                algorithm.0
            )));
        }
        let bytes = reader
            .take(usize::from(*size))
            .ok_or_else(short("digests"))?;
        digests.push(EventDigest {
            algorithm,
            bytes: bytes.to_vec(),
        });
    }
    let data = event_data(reader, number, offset)?;
    Ok(Event {
        number,
        offset,
        pcr,
        kind,
        digests,
        data,
    })
}

fn event_data(reader: &mut Reader<'_>, event: usize, offset: usize) -> Result<Vec<u8>, LogError> {
    let size = reader
        .size()
        .ok_or_else(|| cut(event, offset, "size of data"))?;
    if size > MAX_EVENT_DATA {
        return Err(LogError {
            event,
            offset,
            fault: format!("its data has {size} bytes, more than {MAX_EVENT_DATA}"),
        });
    }
    let data = reader
        .take(size)
        .ok_or_else(|| cut(event, offset, "data"))?;
    Ok(data.to_vec())
}
