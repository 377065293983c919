//! One exchange as it is stored: a line of JSON.
//!
//! A recording is lines of JSON: a head that says what it is, then one record an exchange, and one for each event. Bytes are hexadecimal. Unless secrets
//! were asked for, their bytes are zero and their places are listed, so that sizes and all else stay true.

use std::fmt::Write as _;
use std::io::{BufRead, Read as _};
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tpm_server::Exchange;
use tpm_wire::describe::{describe_command, describe_response, redact};
use zeroize::Zeroizing;

use super::event::Occurrence;

/// The version of the format of recordings.
pub(crate) const FORMAT: u32 = 1;
/// A line longer than this is not one of ours: two messages of 64 KiB in hexadecimal, and their summary.
const LONGEST_LINE: u64 = 1024 * 1024;

/// The first line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The version of the format.
    pub(crate) vtpm_trace: u32,
    /// Whether secrets are in it.
    pub(crate) secrets: bool,
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When the command arrived: microseconds since 1970.
    pub(crate) at: u64,
    /// Microseconds until the answer.
    pub(crate) us: u64,
    /// The locality of the command.
    pub(crate) locality: u8,
    /// The bytes of the command.
    pub(crate) command: Bytes,
    /// The bytes of the response.
    pub(crate) response: Bytes,
    /// Exchanges before this one that were lost because the reader was too slow.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) lost: u64,
    /// The exchange in words, for people who look at the file.
    #[serde(default)]
    pub(crate) summary: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to it"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Bytes of a message, and where its secrets were blotted out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredBytes", into = "StoredBytes")]
pub(crate) struct Bytes {
    bytes: Zeroizing<Vec<u8>>,
    /// The places that were blotted out.
    pub(crate) redacted: Vec<Range<usize>>,
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes]", self.bytes.len())
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Zeroizing::new(bytes),
            redacted: Vec::new(),
        }
    }
}

impl Bytes {
    /// Whether nothing was blotted out.
    pub(crate) fn is_whole(&self) -> bool {
        self.redacted.is_empty()
    }
}

/// Bytes in JSON: the digits alone, or with the places that were blotted out.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredBytes {
    Whole(String),
    Redacted {
        hex: String,
        redacted: Vec<[usize; 2]>,
    },
}

impl From<Bytes> for StoredBytes {
    fn from(bytes: Bytes) -> Self {
        let digits = hex::encode(&*bytes);
        if bytes.redacted.is_empty() {
            return Self::Whole(digits);
        }
        let places = bytes.redacted.iter();
        Self::Redacted {
            hex: digits,
            redacted: places.map(|place| [place.start, place.len()]).collect(),
        }
    }
}

impl TryFrom<StoredBytes> for Bytes {
    type Error = String;

    fn try_from(stored: StoredBytes) -> Result<Self, String> {
        let (digits, redacted) = match stored {
            StoredBytes::Whole(digits) => (digits, Vec::new()),
            StoredBytes::Redacted { hex, redacted } => (hex, redacted),
        };
        let bytes = hex::decode(&digits).map_err(|error| format!("not hexadecimal: {error}"))?;
        let redacted = redacted
            .into_iter()
            .map(|[at, length]| at..at.saturating_add(length))
            .collect();
        Ok(Self {
            bytes: Zeroizing::new(bytes),
            redacted,
        })
    }
}

impl Record {
    /// A record of an exchange, its secrets blotted out unless they are asked for.
    pub(crate) fn new(exchange: &Exchange, secrets: bool) -> Self {
        let mut record = Self::of_bytes(
            micros(exchange.begun),
            u64::try_from(exchange.took.as_micros()).unwrap_or(u64::MAX),
            exchange.command.to_vec(),
            exchange.response.to_vec(),
        );
        record.locality = exchange.locality;
        if !secrets {
            record.blot_out();
        }
        record.summary = super::text::summary(&record);
        record
    }

    /// A record of bytes whose circumstances are not known.
    pub(crate) fn of_bytes(at: u64, us: u64, command: Vec<u8>, response: Vec<u8>) -> Self {
        Self {
            at,
            us,
            locality: 0,
            command: command.into(),
            response: response.into(),
            lost: 0,
            summary: String::new(),
        }
    }

    fn blot_out(&mut self) {
        let command = describe_command(&self.command);
        let response = describe_response(&self.response, &self.command);
        self.command.redacted = redact(&mut self.command.bytes, &command);
        self.response.redacted = redact(&mut self.response.bytes, &response);
    }

    /// The line that stores it, with its end.
    pub(crate) fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// A moment in words: UTC time of day.
pub(super) fn time_of_day(at: u64) -> String {
    let seconds = at / 1_000_000;
    let mut text = String::new();
    let _ = write!(
        text,
        "{:02}:{:02}:{:02}.{:06}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        at % 1_000_000
    );
    text
}

impl Head {
    /// The first line of a recording made now.
    pub(crate) fn line(secrets: bool) -> String {
        let head = Self {
            vtpm_trace: FORMAT,
            secrets,
        };
        let mut line = serde_json::to_string(&head).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// A line of a recording.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// What the recording is.
    Head(Head),
    /// An exchange or an event.
    Entry(Entry),
}

/// What a recording holds, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A command and its answer.
    Exchange(Box<Record>),
    /// Something else.
    Event(Occurrence),
}

/// Reads a line of a recording.
pub(crate) fn parse_line(line: &str) -> anyhow::Result<Line> {
    let value: serde_json::Value = serde_json::from_str(line).context("it is not JSON")?;
    if value.get("event").is_some() {
        let event = serde_json::from_value(value).context("it is not an event known here")?;
        return Ok(Line::Entry(Entry::Event(event)));
    }
    if value.get("vtpm_trace").is_none() {
        let record = serde_json::from_value(value).context("it is not a record")?;
        return Ok(Line::Entry(Entry::Exchange(record)));
    }
    let head: Head = serde_json::from_value(value).context("it is not the head of a recording")?;
    if head.vtpm_trace != FORMAT {
        bail!(
            "the recording has format {}, this version of vtpm knows {FORMAT}",
            head.vtpm_trace
        );
    }
    Ok(Line::Head(head))
}

/// Reads a whole recording. A last line that is cut off, as a crash leaves it, ends the recording; any other bad line is an error.
pub(crate) fn read_entries(mut from: impl BufRead) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut headed = false;
    for number in 1.. {
        let mut line = String::new();
        let length = from
            .by_ref()
            .take(LONGEST_LINE)
            .read_line(&mut line)
            .with_context(|| format!("line {number}"))?;
        if length == 0 {
            break;
        }
        let whole = line.ends_with('\n');
        if line.trim().is_empty() {
            continue;
        }
        match parse_line(&line) {
            Ok(Line::Head(_)) => headed = true,
            Ok(Line::Entry(entry)) if headed => entries.push(entry),
            Ok(Line::Entry(_)) => {
                bail!("line {number} is a record before any head: this is not a whole recording")
            }
            Err(_) if headed && !whole => break,
            Err(error) => return Err(error.context(format!("line {number}"))),
        }
    }
    if !headed {
        bail!("it is empty: a recording begins with a head");
    }
    Ok(entries)
}

/// Microseconds since 1970.
pub(super) fn micros(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn exchange() -> Exchange {
        // Unseal with the password "pw", and its answer "top".
        let command = hex::decode(
            "80020000001d0000015e80000001000000 0b4000000900000000027077".replace(' ', ""),
        );
        let response =
            hex::decode("80020000001a000000000000000500 03746f7000000000 00".replace(' ', ""));
        Exchange {
            begun: UNIX_EPOCH + Duration::from_micros(3_723_000_004),
            took: Duration::from_micros(17),
            locality: 2,
            command: command.unwrap().into(),
            response: response.unwrap().into(),
        }
    }

    #[test]
    fn a_record_survives_its_line_and_hides_secrets_unless_asked() {
        let record = Record::new(&exchange(), false);
        assert_eq!(time_of_day(record.at), "01:02:03.000004");
        let line = record.to_line();
        assert!(!line.contains("7077") && !line.contains("746f70"), "{line}");
        assert!(line.contains(r#""redacted":[[27,2]]"#), "{line}");
        let entry = Line::Entry(Entry::Exchange(Box::new(record)));
        assert_eq!(parse_line(&line).unwrap(), entry);
        let open = Record::new(&exchange(), true);
        assert!(open.to_line().contains("746f70"));
        assert!(open.command.is_whole());
    }

    #[test]
    fn a_recording_that_was_cut_off_is_read_up_to_there() {
        let record = Record::new(&exchange(), false);
        let text = Head::line(false) + &record.to_line() + &record.to_line();
        for length in 1..=text.len() {
            let part = &text.as_bytes()[..length];
            let read = read_entries(part);
            if length < Head::line(false).len() - 1 {
                assert!(read.is_err());
            } else {
                let records = read.unwrap();
                let whole =
                    (length + 1).saturating_sub(Head::line(false).len()) / record.to_line().len();
                assert_eq!(records.len(), whole, "{length}");
            }
        }
    }

    #[test]
    fn what_is_no_recording_is_refused_with_the_line() {
        for bad in [
            "",
            "{}\n",
            "hello\n",
            "{\"vtpm_trace\":99,\"secrets\":false}\n",
            "{\"vtpm_trace\":1,\"secrets\":false}\nnonsense\n",
        ] {
            assert!(read_entries(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let error = read_entries(&b"{\"vtpm_trace\":1,\"secrets\":false}\n{\"a\":1}\n"[..]);
        assert!(format!("{:#}", error.unwrap_err()).contains("line 2"));
    }
}
