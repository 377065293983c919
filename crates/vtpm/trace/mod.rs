//! Recordings of what a TPM was asked and answered: made, stored, read, shown.

mod capture;
mod compare;
mod json;
mod pcap;
mod record;
mod recorder;
mod text;

pub(crate) use capture::read_capture;
pub(crate) use compare::{Difference, Strictness, differences};
pub(crate) use json::decoded;
pub(crate) use pcap::is_capture;
pub(crate) use record::{Head, Line, Record, parse_line, read_records};
pub(crate) use recorder::{FileRecorder, LiveRecorder, PcapRecorder};
pub(crate) use text::{Shown, line, tree};
