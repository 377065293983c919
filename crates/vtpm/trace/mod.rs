//! Recordings of what a TPM was asked and answered: made, stored, read, shown.

mod capture;
mod compare;
mod event;
mod json;
mod pcap;
mod record;
mod recorder;
mod text;

pub(crate) use capture::read_capture;
pub(crate) use compare::{Difference, Strictness, differences};
pub(crate) use event::{Occurrence, What};
pub(crate) use json::decoded;
pub(crate) use pcap::is_capture;
pub(crate) use record::{Entry, Head, Line, Record, parse_line, read_entries};
pub(crate) use recorder::{FileRecorder, LiveRecorder, PcapRecorder};
pub(crate) use text::{Shown, line, tree};
