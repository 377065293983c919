//! Files of VMs: snapshots, rollback, `vtpm file`, and what stands where a file should be.

#![cfg(test)]

mod obstacles;
mod offline;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::raw::{NvKind, RawTpm, nv_define, nv_increment, nv_read, nv_write};
use support::{Client, Daemon, VTPM, folder, only_for_vtpm};
use tempfile::TempDir;

struct Place {
    daemon: Daemon,
    work: TempDir,
    home: TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        if only_for_vtpm("it has no daemon") {
            return None;
        }
        let home = folder();
        Some(Place {
            daemon: Daemon::start(&home.path().join("data")),
            work: folder(),
            home,
        })
    }

    fn client(&self) -> Client {
        self.daemon.client("demo", self.work.path())
    }

    fn tpm(&self) -> RawTpm<UnixStream> {
        RawTpm::connect_unix(&self.daemon.socket("demo"))
    }

    fn files(&self) -> PathBuf {
        self.daemon.folder().join("datastores/datastore1/demo")
    }

    fn snapshots(&self) -> Value {
        let text = self.daemon.ok(["vm", "snapshots", "demo", "--json"]);
        serde_json::from_str(&text).expect("JSON")
    }

    /// The backup of the key provider, and its password.
    fn backup(&self) -> (String, String) {
        let output = self.daemon.announcement();
        let after = |words: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix(words));
            line.unwrap_or_else(|| panic!("no {words:?} in {output}"))
                .trim()
                .to_owned()
        };
        (
            after("The backup of the key provider is "),
            after("Its password, shown this once: "),
        )
    }

    /// `vtpm file VERB PATH ...` with the keys of the daemon's data folder.
    fn file(&self, verb: &str, path: &Path, more: &[&str]) -> Output {
        let mut arguments = vec!["file", verb];
        let path = path.display().to_string();
        arguments.push(&path);
        arguments.extend(more);
        if verb == "inspect" {
            return vtpm(&arguments);
        }
        self.daemon.vtpm(arguments)
    }
}

/// Runs vtpm without a data folder of its own.
fn vtpm(arguments: &[&str]) -> Output {
    Command::new(VTPM)
        .args(arguments)
        .env_remove("VTPM_DATA")
        .env("XDG_DATA_HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .expect("vtpm starts")
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn assert_code(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
}

const COUNTER: u32 = 0x0150_0001;
const DATA: u32 = 0x0150_0002;

/// Makes a counter and an index of eight bytes.
fn define(tpm: &mut RawTpm<UnixStream>) {
    tpm.ok(&nv_define(COUNTER, NvKind::Counter, 8, b""));
    tpm.ok(&nv_increment(COUNTER, b""));
    tpm.ok(&nv_define(DATA, NvKind::Ordinary, 8, b""));
    tpm.ok(&nv_write(DATA, b"", b"original"));
}

fn read(tpm: &mut RawTpm<UnixStream>, index: u32) -> Vec<u8> {
    tpm.ok(&nv_read(index, b"", 8)).first_buffer().to_vec()
}
