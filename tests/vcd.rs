//! pyvcloud, VMware's own client of the Cloud Director API, drives the daemon unchanged; what comes of it is asked of each TPM with
//! tpm2-tools. The scripts are in `tests/vcd`.

#![cfg(test)]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{PortPair, Process, VTPM, finish, folder, only_for_vtpm, wait_for};

/// The first password of the system's administrator.
const PASSWORD: &str = "the first password of all";

/// Runs a script of `tests/vcd` against a daemon of its own.
fn script(name: &str) {
    if only_for_vtpm("it has no API of Cloud Director") {
        return;
    }
    let home = folder();
    let (data, told) = (home.path().join("data"), home.path().join("output"));
    let port = PortPair::claim();
    let output = File::create(&told).expect("a file for the daemon's output");
    let mut daemon = Process::start(
        Command::new(VTPM)
            .args(["serve", "--listen", &format!("127.0.0.1:{}", port.first)])
            .arg("--data")
            .arg(&data)
            .env("VTPM_ADMIN_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the output"))
            .stderr(output),
    );
    wait_for("the daemon", || {
        let text = fs::read_to_string(&told).unwrap_or_default();
        if let Some(status) = daemon.ended() {
            panic!("the daemon ended ({status}):\n{text}");
        }
        text.lines()
            .any(|line| line == "vtpm is ready")
            .then_some(())
    });
    let done = Command::new("timeout")
        .arg("1800")
        .arg(client().join("venv/bin/python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vcd/{name}.py")))
        .env("VTPM", VTPM)
        .env("VTPM_DATA", &data)
        .env("VCD_URL", format!("https://127.0.0.1:{}", port.first))
        .env("VCD_PASSWORD", PASSWORD)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // pyvcloud leaves a log where it runs.
        .current_dir(home.path())
        .output()
        .expect("the script starts");
    print!("{}", finish(name, done));
}

/// The folder with pyvcloud, installed if it is not there yet.
fn client() -> PathBuf {
    // Beside the binary that is tested: the folder of the build.
    let folder = Path::new(VTPM)
        .ancestors()
        .nth(2)
        .expect("the folder of the build")
        .join("pyvcloud");
    let prepare = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vcd/prepare");
    let made = Command::new(prepare).arg(&folder).output();
    finish("tests/vcd/prepare", made.expect("the script starts"));
    folder
}

#[test]
fn pyvcloud_drives_vapps_vms_catalogs_and_queries() {
    script("pyvcloud_alone");
}

#[test]
fn the_words_for_tpms_decide_on_vcenter_8_and_7() {
    script("words");
}

#[test]
fn names_sizes_power_and_snapshots_change_as_pyvcloud_asks() {
    script("changes");
}

#[test]
fn across_vcenters_the_key_provider_and_storage_decide() {
    script("crossing");
}

#[test]
fn a_stranger_captures_instantiates_and_moves_on_vcenters_of_their_own() {
    script("stranger");
}

#[test]
fn one_story_with_pyvmomi_for_the_vcenters_and_pyvcloud_for_the_organization() {
    script("both");
}

#[test]
fn the_methods_of_pyvcloud_that_the_page_names_work_or_are_refused() {
    script("methods");
}

#[test]
fn organizations_do_not_see_each_other() {
    script("tenants");
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    script("bad_input");
}

#[test]
fn packages_are_uploaded_in_pieces_and_their_tpms_are_new() {
    script("upload");
}
