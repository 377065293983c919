//! A folder in which the binary is linked under swtpm's names, and servers that run in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::raw::{Bytes, RawTpm, get_random};
use crate::support::{self, PATIENCE, Process, VTPM, folder, wait_for};

/// A folder with links to the binary by the names that callers look for, and room for state and sockets.
pub(crate) struct Place(pub(crate) tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let home = folder();
        for name in ["swtpm", "swtpm_ioctl", "swtpm_bios", "swtpm_setup"] {
            symlink(VTPM, home.path().join(name)).expect("a link");
        }
        Self(home)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.path(name));
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// `swtpm socket --tpm2` with its state in the folder `state`.
    pub(crate) fn swtpm(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("swtpm");
        command
            .args(["socket", "--tpm2", "--tpmstate", "dir=state"])
            .args(arguments);
        command
    }

    /// The same, running, with control channel and data channel on unix sockets.
    pub(crate) fn serve(&self, name: &str, arguments: &[&str]) -> Served {
        let state = format!("dir={name}");
        self.serve_state(name, &[&["--tpmstate", &state], arguments].concat())
    }

    /// The same with its state wherever the arguments say.
    pub(crate) fn serve_state(&self, name: &str, arguments: &[&str]) -> Served {
        let (data, control) = (format!("{name}.data"), format!("{name}.ctrl"));
        let mut command = self.program("swtpm");
        command
            .args(["socket", "--tpm2"])
            .args(["--server", &format!("type=unixio,path={data}")])
            .args(["--ctrl", &format!("type=unixio,path={control}")])
            .args(["--log", &format!("file={name}.log")])
            .args(arguments);
        let mut process = Process::start(&mut command);
        let (data, control) = (self.path(&data), self.path(&control));
        wait_for("the sockets", || {
            assert_eq!(process.ended(), None, "it ended");
            UnixStream::connect(&data)
                .and_then(|_| UnixStream::connect(&control))
                .ok()
        });
        Served {
            process,
            data,
            control,
            log: self.path(&format!("{name}.log")),
        }
    }

    /// swtpm_ioctl against a control channel.
    pub(crate) fn ioctl(&self, control: impl AsRef<Path>, arguments: &[&str]) -> Output {
        let mut command = self.program("swtpm_ioctl");
        command.arg("--unix").arg(control.as_ref()).args(arguments);
        command.output().expect("swtpm_ioctl starts")
    }

    /// The same, which has to succeed; gives what it printed.
    pub(crate) fn ioctl_ok(&self, control: impl AsRef<Path>, arguments: &[&str]) -> String {
        support::finish(&arguments.join(" "), self.ioctl(control, arguments))
    }

    /// The same, which has to be refused; gives what it said.
    pub(crate) fn ioctl_refused(&self, control: impl AsRef<Path>, arguments: &[&str]) -> String {
        refused(self.ioctl(control, arguments))
    }
}

pub(crate) fn refused(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Its control channel stands for it.
impl AsRef<Path> for Served {
    fn as_ref(&self) -> &Path {
        &self.control
    }
}

pub(crate) struct Served {
    pub(crate) process: Process,
    pub(crate) data: PathBuf,
    pub(crate) control: PathBuf,
    pub(crate) log: PathBuf,
}

impl Served {
    pub(crate) fn tpm(&self) -> RawTpm<UnixStream> {
        RawTpm::connect_unix(&self.data)
    }

    pub(crate) fn control(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.control).expect("the control channel accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn memory(&self) -> u64 {
        status_field(self.process.id(), "RssAnon:")
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    pub(crate) fn assert_serves(&mut self) {
        assert_eq!(self.process.ended(), None, "{}", self.log());
        assert_eq!(self.tpm().ok(&get_random(8)).first_buffer().len(), 8);
    }
}

pub(crate) fn status_field(process: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.expect("the field").trim().to_owned()
}

/// Extends PCR 16 of the SHA-256 bank.
pub(crate) fn pcr_extend(byte: u8) -> Vec<u8> {
    let digest = Bytes::new().u32(1).u16(0x0b).raw(&[byte; 32]);
    support::raw::authorized(0x182, &[16], &[b""], &digest)
}

pub(crate) fn pcr_read() -> Vec<u8> {
    let selection = Bytes::new().u32(1).u16(0x0b).u8(3).raw(&[0, 0, 1]);
    support::raw::command(0x17e, &selection)
}
