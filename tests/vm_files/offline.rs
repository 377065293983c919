//! `vtpm file`: what files say without a daemon, what is damaged in them, and the older state put back.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{
    Client, Protocol, TpmServer, VTPM, copy_folder, files_below, folder, only_for_vtpm,
};
use crate::{Place, assert_code, define, said, vtpm};

/// Exit codes of `vtpm file`.
const DAMAGED: i32 = 4;
const UNPROVEN: i32 = 5;
const IN_USE: i32 = 6;

#[test]
fn file_inspect_shows_the_structure_without_key_or_daemon() {
    let Some(mut place) = Place::new() else {
        return;
    };
    define(&mut place.tpm());
    place
        .daemon
        .ok(["vm", "snapshot", "demo", "s", "--description", "über"]);
    let vm = place.daemon.vm("demo");
    for running in [true, false] {
        if !running {
            place.daemon.stop();
        }
        let output = place.file("inspect", &place.files(), &["--json"]);
        assert_code(&output, 0);
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(found["vm_id"], vm["id"]);
        assert_eq!(found["instance_id"], vm["instance_id"]);
        assert_eq!(found["tpm"]["provider"], "vc01-nkp");
        assert_eq!(found["nvram"]["format_version"], 1);
        let slots = found["nvram"]["slots"].as_array().expect("slots");
        assert_eq!(
            slots.iter().filter(|slot| slot["current"] == true).count(),
            1
        );
        assert_eq!(found["nvram"]["sections"][0]["kind"], 1);
        assert_eq!(found["snapshots"][0]["name"], "s");
        assert_eq!(found["snapshots"][0]["description"], "über");
        assert_eq!(found["snapshots"][0]["powered_on"], true);
        assert_eq!(found["authenticated"], false);
    }
    for path in ["demo.vmx", "demo.nvram"] {
        let text = said(&place.file("inspect", &place.files().join(path), &[]));
        for part in ["demo.nvram", "slot 0", "slot 1", "the newest", "vc01-nkp"] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
    }
    let output = place.file("inspect", place.home.path(), &[]);
    assert_code(&output, 1);
    assert!(said(&output).contains("no .vmx"), "{}", said(&output));
}

#[test]
fn file_verify_needs_the_key_to_be_sure_and_names_what_is_damaged() {
    let Some(mut place) = Place::new() else {
        return;
    };
    define(&mut place.tpm());
    place.daemon.ok(["vm", "snapshot", "demo", "s"]);
    let output = place.file("verify", &place.files(), &[]);
    assert_code(&output, IN_USE);
    assert!(said(&output).contains("in use"), "{}", said(&output));
    place.daemon.ok(["vm", "stop", "demo"]);
    assert_code(&place.file("verify", &place.files(), &[]), 0);
    let (backup, password) = place.backup();
    place.daemon.stop();
    // A copy of the folder elsewhere, with nothing but the backup.
    let copy = place.home.path().join("copy");
    copy_folder(&place.files(), &copy);
    let folder = copy.display().to_string();
    let nowhere = ["file", "verify", &folder, "--data", "/nonexistent"];
    let output = vtpm(&nowhere);
    assert_code(&output, UNPROVEN);
    assert!(said(&output).contains("vc01-nkp"), "{}", said(&output));
    let with_backup = |password: &str| {
        Command::new(VTPM)
            .args(["file", "verify", &folder, "--backup", &backup])
            .env("VTPM_BACKUP_PASSWORD", password)
            .stdin(Stdio::null())
            .output()
            .expect("vtpm starts")
    };
    let output = with_backup(&password);
    assert_code(&output, 0);
    assert!(said(&output).contains("whole and authentic"));
    let output = with_backup("wrong");
    assert_code(&output, 1);
    assert!(said(&output).contains("password"), "{}", said(&output));
    // Every file in turn.
    for path in files_below(&copy) {
        let file = path.file_name().expect("a name").to_string_lossy();
        let whole = fs::read(&path).expect("the file");
        let at = match path.extension().and_then(|it| it.to_str()) {
            Some("vmx") => {
                let text = String::from_utf8(whole.clone()).expect("text");
                text.find("encryption.data = \"").expect("the key") + 30
            }
            Some("nvram") => 4096 + 40,
            Some("vmsn") => whole.len() - 40,
            _ => continue,
        };
        let mut changed = whole.clone();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        fs::write(&path, &changed).expect("the changed file");
        let output = with_backup(&password);
        // A wrapped key that does not open proves nothing about the rest.
        let expected = if file.ends_with(".vmx") {
            UNPROVEN
        } else {
            DAMAGED
        };
        assert_code(&output, expected);
        assert!(said(&output).contains(&*file), "{file}: {}", said(&output));
        assert_eq!(
            fs::read(&path).expect("the file"),
            changed,
            "it was changed"
        );
        fs::write(&path, &whole).expect("the file as it was");
    }
    assert_code(&with_backup(&password), 0);
}

#[test]
fn file_repair_puts_the_older_state_back_and_keeps_the_damaged_file() {
    let Some(mut place) = Place::new() else {
        return;
    };
    define(&mut place.tpm());
    place.daemon.ok(["vm", "stop", "demo"]);
    let inspected = said(&place.file("inspect", &place.files(), &["--json"]));
    let found: Value = serde_json::from_str(&inspected).expect("JSON");
    let current = found["nvram"]["slots"].as_array().expect("slots");
    let current = current.iter().find(|slot| slot["current"] == true);
    let offset = current.expect("a current slot")["offset"].as_u64();
    let nvram = place.files().join("demo.nvram");
    let mut bytes = fs::read(&nvram).expect("the file");
    bytes[usize::try_from(offset.expect("a number")).expect("small") + 50] ^= 1;
    fs::write(&nvram, &bytes).expect("the damaged file");
    place.daemon.refused(["vm", "start", "demo"]);
    // Not without being told to, not under a daemon.
    assert_code(&place.file("repair", &place.files(), &[]), 2);
    let output = place.file("repair", &place.files(), &["--use-older-slot"]);
    assert_code(&output, IN_USE);
    assert_eq!(fs::read(&nvram).expect("the file"), bytes);
    place.daemon.stop();
    assert_code(&place.file("verify", &place.files(), &[]), DAMAGED);
    let output = place.file("repair", &place.files(), &["--use-older-slot"]);
    assert_code(&output, 0);
    let kept = place.files().join("demo.damaged-1.nvram");
    assert!(said(&output).contains("demo.damaged-1.nvram"));
    assert_eq!(fs::read(&kept).expect("the kept file"), bytes);
    assert_code(&place.file("verify", &place.files(), &[]), 0);
    let output = place.file("repair", &place.files(), &["--use-older-slot"]);
    assert_code(&output, 0);
    assert!(said(&output).contains("nothing was damaged"));
    place.daemon.start_again();
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(said.contains("--accept-rollback"), "{said}");
    place
        .daemon
        .ok(["vm", "start", "demo", "--accept-rollback"]);
    place.client().sh("tpm2_getcap handles-nv-index");
}

#[test]
fn a_state_folder_is_a_vm_in_small_for_file_verbs() {
    if only_for_vtpm("its files are its own") {
        return;
    }
    let home = folder();
    let mut server = TpmServer::start(Protocol::Swtpm, home.path());
    let state = server.state().display().to_string();
    // It listens before its TPM is made; an answer comes after.
    Client::new(server.tcti(), home.path()).sh("tpm2_getrandom --hex 4");
    assert_code(&vtpm(&["file", "inspect", &state]), 0);
    assert_code(&vtpm(&["file", "verify", &state]), IN_USE);
    server.process().terminate();
    let output = vtpm(&["file", "verify", &state]);
    assert_code(&output, 0);
    assert!(said(&output).contains("authentic"), "{}", said(&output));
}
