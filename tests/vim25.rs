//! The vSphere API end to end: pyVmomi, which nobody here wrote, drives the daemon over TLS; tpm2-tools look at the TPMs.
//!
//! What a client does is in the scripts of `tests/vim25/`; here is what they need: a daemon, a key server, vCenters.

#![cfg(test)]

#[path = "../crates/kmip-client/tests/servers/certificates.rs"]
#[allow(dead_code, reason = "these tests need a part of it")]
mod certificates;
#[path = "../crates/kmip-client/tests/servers/pykmip_server.rs"]
#[allow(dead_code, reason = "these tests need a part of it")]
mod pykmip_server;
mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use pykmip_server::PyKmip;
// The key server takes its ports as all servers of tests do.
use support::ports;
use support::{PortPair, Process, VTPM, finish, folder, wait_for};
use tempfile::TempDir;

const PASSWORD: &str = "the first password of all";

/// A daemon with a listener.
struct Place {
    home: TempDir,
    port: PortPair,
    daemon: Process,
}

impl Place {
    fn new() -> Self {
        let home = folder();
        let port = PortPair::claim();
        let daemon = Self::serve(&home, &port);
        Self { home, port, daemon }
    }

    /// Starts a daemon and waits until it is ready.
    fn serve(home: &TempDir, port: &PortPair) -> Process {
        let output = File::create(home.path().join("output")).unwrap();
        let mut daemon = Process::start(
            Command::new(VTPM)
                .args(["serve", "--listen", &format!("127.0.0.1:{}", port.first)])
                .arg("--data")
                .arg(home.path().join("data"))
                .env("VTPM_ADMIN_PASSWORD", PASSWORD)
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output),
        );
        let path = home.path().join("output");
        wait_for("the daemon", || {
            let told = fs::read_to_string(&path).unwrap_or_default();
            if let Some(status) = daemon.ended() {
                panic!("the daemon ended ({status}):\n{told}");
            }
            told.lines()
                .any(|line| line == "vtpm is ready")
                .then_some(())
        });
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs a verb of the command line.
    fn vtpm(&self, arguments: &[&str]) {
        let mut command = Command::new(VTPM);
        command
            .args(arguments)
            .env("VTPM_DATA", self.path("data"))
            .env("VTPM_BACKUP_PASSWORD", "of the backup of vc07");
        finish(&arguments.join(" "), command.output().unwrap());
    }

    /// Runs a script with pyVmomi.
    fn run(&self, script: &str, more: &[(&str, &str)]) {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vim25");
        let mut command = Command::new(python());
        command
            .arg(scripts.join(script))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("VTPM", VTPM)
            .env("VTPM_DATA", self.path("data"))
            .env("VTPM_PORT", self.port.first.to_string())
            .env("VTPM_ADMIN_PASSWORD", PASSWORD)
            .envs(more.iter().copied())
            .stdin(Stdio::null());
        finish(script, command.output().unwrap());
    }
}

/// Python with pyVmomi, which `tests/vim25/prepare` installs under `target/`.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .parent()
            .unwrap()
            .join("pyvmomi");
        let prepare = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vim25/prepare");
        finish(
            "tests/vim25/prepare",
            Command::new(prepare).arg(&folder).output().unwrap(),
        );
        folder.join("venv/bin/python")
    })
}

#[test]
fn a_vm_from_its_making_to_its_end_with_clones_that_copy_and_replace() {
    Place::new().run("lifecycle.py", &[]);
}

#[test]
fn clones_on_a_vcenter_7_and_moves_to_another_vcenter() {
    let place = Place::new();
    for arguments in [
        ["vcenter", "add", "vc07", "--version", "7.0.3"],
        ["vcenter", "add", "vc08", "--version", "8.0.3"],
        ["datastore", "add", "ds07", "--vcenter", "vc07"],
        ["datastore", "share", "datastore1", "--vcenter", "vc08"],
        ["provider", "create", "nkp07", "--vcenter", "vc07"],
        ["provider", "backup", "nkp07", "--vcenter", "vc07"],
    ] {
        place.vtpm(&arguments);
    }
    place.run("crossing.py", &[]);
}

#[test]
fn names_templates_settings_and_registration_as_community_scripts_change_them() {
    Place::new().run("changes.py", &[]);
}

#[test]
fn vms_that_are_encrypted_for_themselves_with_a_tpm_and_without() {
    Place::new().run("encryption.py", &[]);
}

#[test]
fn folders_networks_datastores_environments_histories_and_roles() {
    Place::new().run("places.py", &[]);
}

#[test]
fn tasks_of_before_a_restart_are_there_after_it() {
    let mut place = Place::new();
    let notes = place.path("notes").display().to_string();
    place.run("remembered.py", &[("PHASE", "before"), ("FILE", &notes)]);
    place.daemon.terminate();
    place.daemon = Place::serve(&place.home, &place.port);
    place.run("remembered.py", &[("PHASE", "after"), ("FILE", &notes)]);
}

#[test]
fn a_stranger_clones_and_moves_on_vcenters_of_their_own() {
    let place = Place::new();
    for arguments in [
        &["vcenter", "add", "lyon", "--version", "8.0.3"][..],
        &["vcenter", "add", "oslo", "--version", "8.0.3"],
        &["vcenter", "add", "rome", "--version", "7.0.3"],
        &["vcenter", "add", "riga", "--version", "8.0.3"],
        &["vcenter", "trust", "lyon", "oslo"],
        &["vcenter", "trust", "lyon", "riga"],
        &["datastore", "add", "common", "--vcenter", "lyon"],
        &["datastore", "add", "common", "--vcenter", "oslo"],
        &["datastore", "add", "common", "--vcenter", "rome"],
        &["datastore", "add", "common", "--vcenter", "riga"],
    ] {
        place.vtpm(arguments);
    }
    place.run("stranger.py", &[]);
}

#[test]
fn properties_views_and_waiting_and_what_is_refused() {
    Place::new().run("collector.py", &[]);
}

#[test]
fn a_key_provider_is_registered_trusted_used_lost_and_found_again() {
    let place = Place::new();
    let made = certificates::certificates();
    fs::write(place.path("client.pem"), &made.client.certificate).unwrap();
    fs::write(place.path("client.key"), &made.client.key).unwrap();
    fs::create_dir(place.path("keys")).unwrap();
    let server = PyKmip::start(&place.path("keys"), "first");
    let certs = place.home.path().display().to_string();
    place.run(
        "keys.py",
        &[
            ("VTPM_KMIP", &server.port.to_string()),
            ("VTPM_CERTS", &certs),
        ],
    );
}
