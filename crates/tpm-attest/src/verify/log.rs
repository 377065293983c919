//! The check of what was measured against what was quoted (PC Client Platform Firmware Profile, 10).

use tpm_wire::algorithm::TpmiAlgHash;

use super::check::{Rule, Verdict};
use super::evidence::Evidence;
use super::quote::{PcrValues, shown};
use crate::event_log::ima::{self, ImaEntry, ImaExtension};
use crate::event_log::{EventLog, EventType, PcrBank, bank_name};

/// PCR of firmware and boot loaders: whatever they hold, the log has all of it.
const FIRMWARE: std::ops::RangeInclusive<u32> = 0..=9;
/// PCR that firmware closes with a separator.
const SEPARATED: std::ops::RangeInclusive<u32> = 0..=7;
/// The PCR of the kernel's list, which goes on after the firmware's events.
const IMA_PCR: u32 = 10;

/// Checks the logs of evidence; gives the firmware's if it makes the PCR that were quoted.
pub(super) fn check_logs(
    verdict: &mut Verdict,
    evidence: &Evidence,
    pcrs: &PcrValues,
) -> Option<EventLog> {
    let log = evidence
        .event_log
        .as_ref()
        .and_then(|bytes| check_log(verdict, &bytes.0, pcrs, evidence.ima_list.is_some()));
    if evidence.event_log.is_none() {
        verdict.skip(Rule::LogForm, "the evidence comes without an event log");
    }
    if let Some(list) = &evidence.ima_list {
        check_list(verdict, &list.0, pcrs, log.as_ref());
    }
    log
}

fn check_log(
    verdict: &mut Verdict,
    bytes: &[u8],
    pcrs: &PcrValues,
    has_list: bool,
) -> Option<EventLog> {
    let log = match EventLog::parse(bytes) {
        Ok(log) => log,
        Err(error) => {
            verdict.fail(Rule::LogForm, error.to_string());
            return None;
        }
    };
    let count = log.events.len();
    // Padding says nothing and is vouched for by nobody: whoever makes evidence leaves it out.
    let behind = bytes.len().saturating_sub(log.to_bytes().len());
    let form = match behind {
        0 => Ok(format!("{count} events, {} bytes", bytes.len())),
        _ => Err(format!("{behind} bytes stand behind its last event")),
    };
    if !verdict.note(Rule::LogForm, form) {
        return None;
    }
    let replayed = pcrs
        .iter()
        .try_for_each(|(bank, values)| {
            let replayed = log.replay(*bank).map_err(|error| error.to_string())?;
            differences(&log, &replayed, *bank, values, has_list)
        })
        .map(|()| {
            let banks: Vec<&str> = pcrs.keys().map(|bank| bank_name(*bank)).collect();
            format!("{count} events make the PCR of {}", banks.join(", "))
        });
    let replayed = verdict.note(Rule::LogReplay, replayed);
    let contradiction = log.events.iter().find_map(|event| event.contradiction());
    verdict.note(
        Rule::LogData,
        contradiction.map_or(Ok("what is told is what was measured"), Err),
    );
    verdict.note(Rule::LogSeparators, separators(&log));
    replayed.then_some(log)
}

fn differences(
    log: &EventLog,
    replayed: &PcrBank,
    bank: TpmiAlgHash,
    values: &std::collections::BTreeMap<u32, Vec<u8>>,
    has_list: bool,
) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (pcr, value) in values {
        let logged = log
            .events
            .iter()
            .any(|event| event.pcr == *pcr && event.kind != EventType::NO_ACTION);
        let left_to_the_list = has_list && *pcr == IMA_PCR;
        if !(logged || FIRMWARE.contains(pcr)) || left_to_the_list {
            continue;
        }
        if replayed.get(*pcr) != Some(value.as_slice()) {
            let made = replayed.get(*pcr).unwrap_or_default();
            wrong.push(format!(
                "PCR {pcr} of {} was quoted as {}, the events make {}",
                bank_name(bank),
                shown(value),
                shown(made)
            ));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}

fn separators(log: &EventLog) -> Result<String, String> {
    for pcr in SEPARATED {
        let mut events = log
            .events
            .iter()
            .filter(|event| event.pcr == pcr && event.kind != EventType::NO_ACTION)
            .peekable();
        if events.peek().is_none() {
            continue;
        }
        let mut separators = events.filter(|event| event.kind == EventType::SEPARATOR);
        let Some(first) = separators.next() else {
            return Err(format!("PCR {pcr} was never closed"));
        };
        if let Some(second) = separators.next() {
            return Err(format!(
                "event {} closes PCR {pcr} a second time",
                second.number
            ));
        }
        if first.data != [0; 4] && first.data != [0xFF; 4] {
            return Err(format!(
                "event {} closes PCR {pcr} with the error {}",
                first.number,
                shown(&first.data)
            ));
        }
    }
    Ok("each PCR of the firmware is closed once".to_owned())
}

fn check_list(verdict: &mut Verdict, bytes: &[u8], pcrs: &PcrValues, log: Option<&EventLog>) {
    let entries = match ima::parse(bytes) {
        Ok(entries) => entries,
        Err(error) => return verdict.fail(Rule::ImaForm, error.to_string()),
    };
    verdict.pass(Rule::ImaForm, format!("{} entries", entries.len()));
    // Only one PCR is compared: an entry that says to be in another would be believed without a reason.
    if let Some(place) = entries.iter().position(|entry| entry.pcr != IMA_PCR) {
        let detail = format!("entry {place} is not in PCR {IMA_PCR}");
        return verdict.fail(Rule::ImaReplay, detail);
    }
    let quoted: Vec<_> = pcrs
        .iter()
        .filter_map(|(bank, values)| Some((*bank, values.get(&IMA_PCR)?)))
        .collect();
    if quoted.is_empty() {
        return verdict.fail(Rule::ImaReplay, format!("PCR {IMA_PCR} was not quoted"));
    }
    for (bank, value) in quoted {
        match covered(&entries, bank, value, log) {
            Some(covered) => verdict.pass(
                Rule::ImaReplay,
                format!(
                    "{covered} of {} entries make PCR {IMA_PCR} of {}; what is behind them came after the quote",
                    entries.len(),
                    bank_name(bank)
                ),
            ),
            None => verdict.fail(
                Rule::ImaReplay,
                format!("no beginning of the list makes PCR {IMA_PCR} of {}", bank_name(bank)),
            ),
        }
    }
}

/// How many entries make the value: a list is read after a quote, and may have grown meanwhile.
fn covered(
    entries: &[ImaEntry],
    bank: TpmiAlgHash,
    value: &[u8],
    log: Option<&EventLog>,
) -> Option<usize> {
    let start = log
        .and_then(|log| log.replay(bank).ok())
        .unwrap_or_else(|| PcrBank::new(bank));
    [ImaExtension::OwnDigest, ImaExtension::PaddedSha1]
        .into_iter()
        .find_map(|how| {
            let mut replayed = start.clone();
            if entries.is_empty() && replayed.get(IMA_PCR) == Some(value) {
                return Some(0);
            }
            entries.iter().enumerate().find_map(|(number, entry)| {
                ima::replay(std::slice::from_ref(entry), &mut replayed, how).ok()?;
                (replayed.get(IMA_PCR) == Some(value)).then_some(number + 1)
            })
        })
}
