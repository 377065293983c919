//! `vtpm trace replay`: the commands of a recording, sent again.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use tpm_wire::Rc;
use tpm_wire::commands::{ContextLoad, GetCapability, PcrRead, StartAuthSession, Startup};
use tpm_wire::describe::{
    Field, Message, Name, SessionKind, Value, describe_command, describe_response,
};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::table::Command as _;
use zeroize::Zeroizing;

use super::diff::{HowStrict, name_of, report};
use super::read_file;
use super::tcti::{Connection, Tcti};
use crate::cli::output;
use crate::trace::{Entry, Record, Strictness, differences};

/// Send the commands of a recording to a TPM and show where it answers otherwise; exit code 1 if it does
///
/// Power is taken away and given back where that was recorded, between the first and the last command; so are localities and measured
/// launches, as far as the TPM has a control channel or a platform port for them.
///
/// Handles that the TPM gives out differently are followed. Commands whose secrets were blotted out, or whose session proves itself
/// by an HMAC over nonces that the TPM chose otherwise, cannot be repeated: they are counted and not sent, nor is what builds on them.
#[derive(Args, Debug)]
pub(super) struct Replay {
    /// The recording or capture
    file: PathBuf,
    /// The TPM: swtpm:host=H,port=N, swtpm:path=SOCKET, mssim:host=H,port=N, device:PATH
    #[arg(long, value_name = "TCTI", env = "TPM2TOOLS_TCTI")]
    tcti: Tcti,
    #[command(flatten)]
    how: HowStrict,
    /// Print one JSON object for each command that differs, and one for the whole
    #[arg(long)]
    json: bool,
}

/// What the TPM of the replay calls things, and what it has.
#[derive(Default)]
struct World {
    handles: HashMap<TpmHandle, TpmHandle>,
    /// Handles of the recording that this TPM never gave out.
    missing: HashSet<TpmHandle>,
    /// Sessions whose nonce is the recorded one.
    repeated: HashSet<TpmHandle>,
    /// Contexts of the recording, and what this TPM saved in their place, if it did.
    contexts: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// A command that changes PCR was not repeated.
    pcrs_are_other: bool,
    /// Some command was not repeated.
    incomplete: bool,
}

impl Replay {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let entries = read_file(&self.file)?;
        let is_command = |entry: &Entry| matches!(entry, Entry::Exchange(_));
        // What happened before the first command made the TPM what it was; what happened after the last one, nobody saw.
        let Some((first, last)) = entries
            .iter()
            .position(is_command)
            .zip(entries.iter().rposition(is_command))
        else {
            bail!("{} has no command in it", self.file.display());
        };
        let mut connection = self.tcti.connect()?;
        let mut world = World::default();
        let (mut same, mut differ, mut unrepeatable) = (0usize, 0usize, 0usize);
        let mut number = 0usize;
        for entry in entries.get(first..=last).unwrap_or_default() {
            let record = match entry {
                Entry::Exchange(record) => record,
                Entry::Event(event) => {
                    let repeated = connection
                        .signal(&event.what)
                        .with_context(|| format!("{}, after command {number}", event.what))?;
                    if !repeated {
                        unrepeatable = unrepeatable.saturating_add(1);
                        world.incomplete = true;
                        world.pcrs_are_other = true;
                        if self.how.strictness() == Strictness::Exact {
                            let why = "this TPM cannot be made to repeat it";
                            report(
                                self.json,
                                [None; 2],
                                &event.what.to_string(),
                                &[],
                                Some(why),
                            )?;
                        }
                    }
                    continue;
                }
            };
            number = number.saturating_add(1);
            let numbers = [Some(number), Some(number)];
            let command = describe_command(&record.command);
            if let Some(why) = world.obstacle(record, &command) {
                unrepeatable = unrepeatable.saturating_add(1);
                world.learn_nothing(record, &command);
                if self.how.strictness() == Strictness::Exact {
                    report(self.json, numbers, &name_of(record), &[], Some(why))?;
                }
                continue;
            }
            let sent = world.translate(record, &command);
            let again = transmit(&mut connection, record, sent)
                .with_context(|| format!("command {number}, {}", name_of(record)))?;
            world.learn(record, &again);
            let mut found = differences(record, &again, self.how.strictness(), false);
            // That a handle has another number is followed, and no difference of its own.
            if self.how.strictness() == Strictness::IgnoreRandom {
                found.retain(|difference| !difference.field.starts_with("response.handles."));
            }
            if found.is_empty() || was_started(&command, &again) {
                same = same.saturating_add(1);
            } else if world.incomplete && is(&command, GetCapability::INFO.code) {
                // What is loaded and defined depends on what could not be repeated.
                unrepeatable = unrepeatable.saturating_add(1);
            } else {
                differ = differ.saturating_add(1);
                report(self.json, numbers, &name_of(record), &found, None)?;
            }
        }
        if self.json {
            let summary =
                json!({ "same": same, "different": differ, "not_repeatable": unrepeatable });
            output::line(summary.to_string())?;
        } else {
            output::line(format!(
                "{same} answered alike, {differ} differently, {unrepeatable} could not be repeated"
            ))?;
        }
        let failed =
            differ != 0 || (unrepeatable != 0 && self.how.strictness() == Strictness::Exact);
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn transmit(
    connection: &mut Connection,
    record: &Record,
    command: Zeroizing<Vec<u8>>,
) -> anyhow::Result<Record> {
    let begun = Instant::now();
    let response = connection.transmit(&command, record.locality)?;
    let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok(Record::of_bytes(record.at, us, command.to_vec(), response))
}

fn is(message: &Message, code: u32) -> bool {
    message.info.is_some_and(|info| info.code == code)
}

/// A TPM that its server has started already refuses the recording's Startup, which changes nothing.
fn was_started(command: &Message, again: &Record) -> bool {
    let answer = describe_response(&again.response, &again.command);
    is(command, Startup::INFO.code) && answer.response_code() == Some(Rc::INITIALIZE)
}

/// The saved context in a message: its bytes.
fn context_in<'a>(message: &Message, bytes: &'a [u8]) -> Option<(Range<usize>, &'a [u8])> {
    let field = message
        .parameters
        .iter()
        .find(|field| field.name == Name::Field("context"))?;
    let place = field.at..field.at.checked_add(field.length)?;
    Some((place.clone(), bytes.get(place)?))
}

/// NV Indices and persistent objects that a field names, at any depth.
fn lasting(field: &Field, found: &mut HashSet<TpmHandle>) {
    if let Value::Handle(handle) = field.value
        && (handle.is_nv_index() || handle.kind() == Some(TpmHt::Persistent))
    {
        found.insert(handle);
    }
    for child in &field.children {
        lasting(child, found);
    }
}

/// The handles that a message names, with their places.
fn handles_in(message: &Message) -> Vec<(usize, TpmHandle)> {
    fn collect(field: &Field, found: &mut Vec<(usize, TpmHandle)>) {
        // Handles within structures are data: the property of a capability, the handle of a saved context.
        if let Value::Handle(handle) = field.value
            && field.name != Name::Field("property")
        {
            found.push((field.at, handle));
        }
    }
    let mut found = Vec::new();
    let sessions = message.sessions.iter().flat_map(|session| &session.fields);
    for field in message
        .handles
        .iter()
        .chain(sessions)
        .chain(&message.parameters)
    {
        collect(field, &mut found);
    }
    found
}

impl World {
    /// Why a command cannot be sent again, if so.
    fn obstacle(&self, record: &Record, command: &Message) -> Option<&'static str> {
        if !record.command.is_whole() {
            return Some("its secrets were blotted out");
        }
        if handles_in(command)
            .iter()
            .any(|(_, handle)| self.missing.contains(handle))
        {
            return Some("it builds on something that could not be made again");
        }
        if is(command, ContextLoad::INFO.code)
            && let Some((_, context)) = context_in(command, &record.command)
            && self.contexts.get(context) == Some(&None)
        {
            return Some("it loads something that could not be made again");
        }
        if self.pcrs_are_other && is(command, PcrRead::INFO.code) {
            return Some("PCR could not be changed as they were");
        }
        let stale = command.sessions.iter().any(|session| {
            let proves = session.kind() != Some(SessionKind::Password)
                && session
                    .fields
                    .iter()
                    .any(|field| field.name == Name::Field("hmac") && field.length > 2);
            proves
                && session
                    .handle
                    .is_none_or(|handle| !self.repeated.contains(&handle))
        });
        stale.then_some("its session cannot be repeated: the TPM chose another nonce")
    }

    /// The command with this TPM's handles.
    fn translate(&self, record: &Record, command: &Message) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(record.command.to_vec());
        for (at, handle) in handles_in(command) {
            if let Some(now) = self.handles.get(&handle)
                && let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..4))
            {
                place.copy_from_slice(&now.0.to_be_bytes());
            }
        }
        if let Some((place, context)) = context_in(command, &record.command)
            && let Some(Some(now)) = self.contexts.get(context)
        {
            bytes.splice(place, now.iter().copied());
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            if let Some(place) = bytes.get_mut(2..6) {
                place.copy_from_slice(&size.to_be_bytes());
            }
        }
        bytes
    }

    /// Notes what an exchange has made.
    fn learn(&mut self, before: &Record, after: &Record) {
        let was = describe_response(&before.response, &before.command);
        let now = describe_response(&after.response, &after.command);
        let handle = |message: &Message| match message.handles.first().map(|field| &field.value) {
            Some(Value::Handle(handle)) => Some(*handle),
            _ => None,
        };
        if let Some((_, context)) = context_in(&was, &before.response) {
            let now = context_in(&now, &after.response).map(|(_, context)| context.to_vec());
            self.contexts.insert(context.to_vec(), now);
        }
        let Some(old) = handle(&was) else {
            return;
        };
        self.repeated.remove(&old);
        match handle(&now) {
            Some(new) => {
                self.missing.remove(&old);
                self.handles.insert(old, new);
                let starts = was.info.map(|info| info.code) == Some(StartAuthSession::INFO.code);
                if starts && was.parameters.first() == now.parameters.first() {
                    self.repeated.insert(old);
                }
            }
            None => {
                self.missing.insert(old);
            }
        }
    }

    /// Notes that an exchange did not take place.
    fn learn_nothing(&mut self, record: &Record, command: &Message) {
        self.incomplete = true;
        for field in command.handles.iter().chain(&command.parameters) {
            lasting(field, &mut self.missing);
            self.pcrs_are_other |= matches!(
                field.value,
                Value::Handle(handle) if handle.kind() == Some(TpmHt::Pcr)
            );
        }
        let was = describe_response(&record.response, &record.command);
        if let Some(Value::Handle(handle)) = was.handles.first().map(|field| &field.value) {
            self.missing.insert(*handle);
        }
        if let Some((_, context)) = context_in(&was, &record.response) {
            self.contexts.insert(context.to_vec(), None);
        }
    }
}
