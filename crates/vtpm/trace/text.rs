//! Exchanges for people: one line, or a tree of every field.

use std::fmt::Write as _;

use tpm_wire::Rc;
use tpm_wire::describe::{
    Field, Message, Name, Session, Value, command_name, describe_command, describe_response, hex,
    pointed_at,
};
use tpm_wire::handles::TpmHandle;
use tpm_wire::table::CommandInfo;

use super::record::{Bytes, Record, time_of_day};

/// Most characters that a parameter takes in a line.
const WIDTH: usize = 60;
/// Bytes of a buffer that a line shows.
const HEAD: usize = 8;

/// What the viewer asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// Show secrets, if the recording has them.
    pub(crate) secrets: bool,
}

impl Shown {
    /// Secrets that were blotted out are not shown as if they were zeros.
    fn of(self, bytes: &Bytes) -> bool {
        self.secrets && bytes.is_whole()
    }
}

/// The exchange in one line, without secrets, its number and its time.
pub(super) fn summary(record: &Record) -> String {
    brief(record, Shown::default())
}

/// The exchange in one line.
pub(crate) fn line(number: usize, record: &Record, shown: Shown) -> String {
    let mut text = format!("{number:>5} {} ", time_of_day(record.at));
    if record.locality != 0 {
        let _ = write!(text, "locality={} ", record.locality);
    }
    let _ = write!(text, "{} ({} µs)", brief(record, shown), record.us);
    text
}

fn brief(record: &Record, shown: Shown) -> String {
    let command = describe_command(&record.command);
    let response = describe_response(&record.response, &record.command);
    let mut text = title(&command);
    let secrets = shown.of(&record.command);
    for handle in &command.handles {
        let _ = write!(text, " {}={}", handle.name, handle.value.text(secrets));
    }
    for session in &command.sessions {
        let _ = write!(text, " [{}]", session_words(session));
    }
    for field in &command.parameters {
        let _ = write!(text, " {}={}", field.name, short(field, secrets));
    }
    text.push_str(&unread(&command, &record.command, secrets));
    text.push_str(" -> ");
    text.push_str(&outcome(&response, command.info));
    let secrets = shown.of(&record.response);
    for field in response.handles.iter().chain(&response.parameters) {
        let _ = write!(text, " {}={}", field.name, short(field, secrets));
    }
    text.push_str(&unread(&response, &record.response, secrets));
    text
}

/// The command's name, or its code.
fn title(command: &Message) -> String {
    match (command.info, command.code) {
        (Some(info), _) => command_name(info),
        (None, Some(code)) => format!("unknown command {code:#010x}"),
        (None, None) => "no command".to_owned(),
    }
}

/// What the response says, in words.
pub(crate) fn outcome(response: &Message, info: Option<&CommandInfo>) -> String {
    match response.response_code() {
        None => "no answer".to_owned(),
        Some(Rc::SUCCESS) => "SUCCESS".to_owned(),
        Some(code) => match info.and_then(|info| pointed_at(code, info)) {
            Some(name) => format!("{code} {name}"),
            None => code.to_string(),
        },
    }
}

/// The kind of a session, its handle and its attributes.
fn session_words(session: &Session) -> String {
    let mut words = Vec::new();
    words.extend(session.kind().map(|kind| kind.word().to_owned()));
    if let Some(handle) = session.handle
        && handle != TpmHandle::PASSWORD
    {
        words.push(format!("{handle:?}"));
    }
    if session.attributes.0 != 0 || words.is_empty() {
        words.push(format!("{:?}", session.attributes));
    }
    words.join(" ")
}

/// The bytes that were not understood, and why.
fn unread(message: &Message, bytes: &[u8], secrets: bool) -> String {
    let mut text = String::new();
    let rest = bytes.get(message.unread.clone()).unwrap_or_default();
    if !rest.is_empty() {
        let words = if message.unread_may_be_secret() && !secrets {
            format!("[redacted, {} bytes]", rest.len())
        } else {
            shortened(rest)
        };
        let _ = write!(text, " unread={words}");
    }
    if let Some(ended) = message.ended {
        let _ = write!(text, " !! ended at byte {}: {}", ended.at, ended.why);
    }
    text
}

fn shortened(bytes: &[u8]) -> String {
    match bytes.get(..HEAD) {
        Some(head) if bytes.len() > 2 * HEAD => format!("{}…({})", hex(head), bytes.len()),
        _ => hex(bytes),
    }
}

fn short(field: &Field, secrets: bool) -> String {
    let text = inline(field, secrets);
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A field in one line: its value, or its parts in braces.
pub(crate) fn inline(field: &Field, secrets: bool) -> String {
    match &field.value {
        Value::Group => {
            let parts: Vec<String> = field
                .children
                .iter()
                .map(|child| match child.name {
                    Name::Element(_) => inline(child, secrets),
                    Name::Field(name) => format!("{name}={}", inline(child, secrets)),
                })
                .collect();
            format!("{{{}}}", parts.join(" "))
        }
        Value::Bytes(bytes) => shortened(bytes),
        value => value.text(secrets),
    }
}

/// Every field of the exchange down to the leaves, each with its place.
pub(crate) fn tree(number: usize, record: &Record, shown: Shown) -> String {
    let command = describe_command(&record.command);
    let response = describe_response(&record.response, &record.command);
    let mut text = format!(
        "{number} {} {} locality {}\n",
        time_of_day(record.at),
        title(&command),
        record.locality
    );
    let _ = writeln!(text, "  command, {} bytes", record.command.len());
    body(
        &mut text,
        &command,
        &record.command,
        shown.of(&record.command),
    );
    let _ = writeln!(
        text,
        "  response, {} bytes, after {} µs: {}",
        record.response.len(),
        record.us,
        outcome(&response, command.info)
    );
    body(
        &mut text,
        &response,
        &record.response,
        shown.of(&record.response),
    );
    text
}

fn body(text: &mut String, message: &Message, bytes: &[u8], secrets: bool) {
    if let (Some(tag), Some(size), Some(code)) = (message.tag, message.size, message.code) {
        let tag = tag
            .name()
            .map_or_else(|| format!("{tag:?}"), |name| format!("TPM_ST_{name}"));
        let _ = writeln!(text, "    @0    tag {tag}, size {size}, code {code:#010x}");
    }
    fields(text, "handles", &message.handles, secrets);
    // The sessions of a response stand behind its parameters.
    let of_response = message.sessions.iter().all(|one| one.handle.is_none());
    if of_response {
        fields(text, "parameters", &message.parameters, secrets);
    }
    for (index, session) in message.sessions.iter().enumerate() {
        let label = format!(
            "session {}: {}",
            index.saturating_add(1),
            session_words(session)
        );
        fields(text, &label, &session.fields, secrets);
    }
    if !of_response {
        fields(text, "parameters", &message.parameters, secrets);
    }
    let rest = unread_whole(message, bytes, secrets);
    if let Some(rest) = rest {
        let _ = writeln!(text, "    @{:<4} unread: {rest}", message.unread.start);
    }
    if let Some(ended) = message.ended {
        let _ = writeln!(text, "    !! ended at byte {}: {}", ended.at, ended.why);
    }
}

/// The bytes that were not understood, all of them, in hexadecimal.
pub(super) fn unread_whole(message: &Message, bytes: &[u8], secrets: bool) -> Option<String> {
    let rest = bytes
        .get(message.unread.clone())
        .filter(|rest| !rest.is_empty())?;
    Some(if message.unread_may_be_secret() && !secrets {
        format!("[redacted, {} bytes]", rest.len())
    } else {
        hex(rest)
    })
}

fn fields(text: &mut String, label: &str, list: &[Field], secrets: bool) {
    if list.is_empty() {
        return;
    }
    let _ = writeln!(text, "    {label}");
    for field in list {
        branch(text, field, 3, secrets);
    }
}

fn branch(text: &mut String, field: &Field, depth: usize, secrets: bool) {
    let value = field.value.text(secrets);
    let number = match &field.value {
        Value::Named(number, _) => format!(" ({number:#x})"),
        Value::Handle(handle) if !value.starts_with("0x") => format!(" ({:#010x})", handle.0),
        _ => String::new(),
    };
    let separator = if value.is_empty() { "" } else { ": " };
    let _ = writeln!(
        text,
        "{:indent$}@{:<4} {}{separator}{value}{number}",
        "",
        field.at,
        field.name,
        indent = depth.saturating_mul(2)
    );
    for child in &field.children {
        branch(text, child, depth.saturating_add(1), secrets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(command: &str, response: &str) -> Record {
        let bytes = |digits: &str| hex::decode(digits.replace(' ', "")).unwrap();
        let mut record = Record::of_bytes(0, 42, bytes(command), bytes(response));
        record.summary = summary(&record);
        record
    }

    mod hex {
        pub(super) use ::hex::decode;
    }

    #[test]
    fn a_line_names_everything() {
        let write =
            "8002 00000024 00000137 40000001 01800001 00000009 40000009 0000 00 0000 0001 61 ffff";
        let refused = record(write, "8001 0000000a 000002c4");
        assert_eq!(
            line(7, &refused, Shown::default()),
            "    7 00:00:00.000000 NV_Write auth_handle=TPM_RH_OWNER nv_index=0x01800001 [password] \
             data=[redacted, 1 bytes] offset=65535 -> TPM_RC_VALUE (parameter 2) [0x2c4] offset (42 µs)"
        );
        assert!(line(7, &refused, Shown { secrets: true }).contains(" data=61 "));
    }

    #[test]
    fn a_vendor_command_and_no_command_at_all_have_lines_too() {
        let vendor = record("8001 0000000c 20000000 abcd", "8001 0000000a 00000143");
        assert_eq!(
            vendor.summary,
            "unknown command 0x20000000 unread=abcd -> TPM_RC_COMMAND_CODE [0x143]"
        );
        let nothing = record("8001", "");
        assert_eq!(
            nothing.summary,
            "no command !! ended at byte 2: the bytes end too early -> no answer !! ended at byte 0: the bytes end too early"
        );
    }

    #[test]
    fn a_tree_has_every_leaf_with_its_place() {
        let extend = "8002 00000041 00000182 00000010 00000009 40000009 0000 00 0000 00000001 000b \
                      0101010101010101010101010101010101010101010101010101010101010101";
        let text = tree(
            1,
            &record(extend, "8001 0000000a 00000000"),
            Shown::default(),
        );
        for expected in [
            "@10   pcr_handle: PCR 16 (0x00000010)",
            "session 1: password",
            "        @31   [0]\n",
            "          @31   hash_alg: TPM_ALG_SHA256 (0xb)",
            "          @33   digest: 0101",
            "after 42 µs: SUCCESS",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
    }
}
