//! The options that record what a TPM is asked and answers, for every verb that serves one.

use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use clap::Args;
use tpm_server::{Device, Recorder};

use crate::cli::process::{create_file, inherited};
use crate::trace::{FileRecorder, PcapRecorder};

/// Records the commands of a TPM; flattened into each verb that serves one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TraceOptions {
    /// Record every command and response into this file, for `vtpm trace FILE`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Record them as packets for Wireshark: FILE, or file=PATH or fd=NUMBER, followed by ,truncate ,mode=MODE or ,checksums
    #[arg(long, value_name = "FILE|OPTIONS")]
    pcap: Option<PcapFile>,
    /// Keep passwords, sealed data and other secrets in the recordings instead of blotting them out
    #[arg(long)]
    trace_secrets: bool,
}

impl TraceOptions {
    /// The same for one of several TPMs: the files of all but the first have its number at the end of their names.
    pub(crate) fn numbered(&self, number: u16) -> Self {
        let mut options = self.clone();
        if number > 1 {
            let name = |path: &mut PathBuf| path.as_mut_os_string().push(format!(".{number}"));
            options.trace.iter_mut().for_each(name);
            if let Some(PcapFile {
                place: Place::Path(path),
                ..
            }) = &mut options.pcap
            {
                name(path);
            }
        }
        options
    }

    /// Opens the recordings that were asked for; they begin with the device's next command.
    pub(crate) fn attach(&self, device: &Device) -> anyhow::Result<()> {
        for recorder in self.open()? {
            device.tracer().add(recorder);
        }
        Ok(())
    }

    /// Opens the recordings that were asked for.
    pub(super) fn open(&self) -> anyhow::Result<Vec<Box<dyn Recorder>>> {
        let mut recorders: Vec<Box<dyn Recorder>> = Vec::new();
        if let Some(path) = &self.trace {
            let what = || format!("the recording {}", path.display());
            let file = create_file(path, 0o600, false).with_context(what)?;
            let recorder = FileRecorder::new(file, self.trace_secrets).with_context(what)?;
            recorders.push(Box::new(recorder));
        }
        if let Some(pcap) = &self.pcap {
            let what = || format!("the capture {}", pcap.name());
            let file = pcap.open().with_context(what)?;
            let recorder = PcapRecorder::new(file, self.trace_secrets).with_context(what)?;
            recorders.push(Box::new(recorder));
        }
        Ok(recorders)
    }
}

/// `--pcap`: the name of a file, or swtpm's way of naming one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PcapFile {
    place: Place,
    truncate: bool,
    mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    Descriptor(i32),
}

impl PcapFile {
    fn name(&self) -> String {
        match &self.place {
            Place::Path(path) => path.display().to_string(),
            Place::Descriptor(number) => format!("at descriptor {number}"),
        }
    }

    fn open(&self) -> anyhow::Result<File> {
        let file: File = match &self.place {
            Place::Path(path) => create_file(path, self.mode, !self.truncate)?,
            Place::Descriptor(number) => inherited(*number)?.into(),
        };
        Ok(file)
    }
}

impl FromStr for PcapFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with("file=") && !text.starts_with("fd=") {
            if text.is_empty() {
                return Err("the name of the capture is empty".to_owned());
            }
            return Ok(Self {
                place: Place::Path(text.into()),
                truncate: true,
                mode: 0o600,
            });
        }
        let mut place = None;
        let (mut truncate, mut mode) = (false, 0o600);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("file", path)) if place.is_none() && !path.is_empty() => {
                    place = Some(Place::Path(path.into()));
                }
                Some(("fd", number)) if place.is_none() => {
                    let number = number
                        .parse()
                        .map_err(|_| format!("'{part}' does not name a descriptor"))?;
                    place = Some(Place::Descriptor(number));
                }
                Some(("mode", digits)) => match u32::from_str_radix(digits, 8) {
                    Ok(bits) if bits <= 0o777 => mode = bits,
                    _ => return Err(format!("'{part}' is not an octal file mode up to 0777")),
                },
                None if part == "truncate" => truncate = true,
                // Checksums are always right here.
                None if part == "checksums" => {}
                _ => return Err(format!("'{part}' is not known here, or given twice")),
            }
        }
        Ok(Self {
            place: place.ok_or("'file=' or 'fd=' is missing")?,
            truncate,
            mode,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_named_plainly_or_as_swtpm_does() {
        let plain: PcapFile = "tpm.pcap".parse().unwrap();
        assert_eq!(plain.place, Place::Path("tpm.pcap".into()));
        assert!(plain.truncate);
        let swtpm: PcapFile = "file=/x/y,mode=0640,checksums".parse().unwrap();
        assert_eq!(
            swtpm,
            PcapFile {
                place: Place::Path("/x/y".into()),
                truncate: false,
                mode: 0o640,
            }
        );
        assert_eq!(
            "fd=7,truncate".parse::<PcapFile>().unwrap().place,
            Place::Descriptor(7)
        );
        for bad in [
            "",
            "file=",
            "fd=x",
            "file=a,fd=3",
            "file=a,mode=9",
            "file=a,color",
        ] {
            assert!(bad.parse::<PcapFile>().is_err(), "{bad}");
        }
    }
}
