//! The binary in swtpm's place: started by swtpm's names with swtpm's options, driven by swtpm's control protocol.

#![cfg(test)]

mod bad_input;
mod callers;
mod place;
#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;

use place::{Place, pcr_extend, pcr_read, refused, status_field};
use support::raw::{Bytes, RawTpm, create_long_key, frame, get_random, startup};
use support::{PATIENCE, Process, wait_for};

const INITIALIZE: u32 = 0x100;
const CANCELED: u32 = 0x909;

/// Whoever changes over without an import is told so, rather than given a blank TPM.
#[test]
fn state_of_swtpm_is_not_overlooked() {
    let place = Place::new();
    fs::create_dir(place.path("state")).expect("a folder");
    fs::write(place.path("state").join("tpm2-00.permall"), "x").expect("written");
    let output = place.swtpm(&["--server", "type=unixio,path=s"]).output();
    let said = refused(output.expect("it starts"));
    assert!(said.contains("vtpm import swtpm state"), "{said}");
    assert!(!place.path("state").join("tpm").exists());
}

/// The sum of PCR 16 comes back only with the volatile state, and that is in the file.
#[test]
fn one_file_holds_the_whole_state() {
    let place = Place::new();
    let one = &["--tpmstate", "backend-uri=file://one,lock"][..];
    let mut server = place.serve_state("first", one);
    place.ioctl_ok(&server, &["-i"]);
    let mut tpm = server.tpm();
    tpm.ok(&startup());
    tpm.ok(&pcr_extend(7));
    let value = tpm.ok(&pcr_read()).body().to_vec();
    place.ioctl_ok(&server, &["-v"]);
    let print = || {
        let mut program = place.program("swtpm");
        let arguments = ["socket", "--tpm2", "--print-states"];
        program
            .args(arguments)
            .args(one)
            .output()
            .expect("it starts")
    };
    let said = refused(print());
    assert!(said.contains("in use by another process"), "{said}");
    server.process.kill();
    assert!(place.path("one").is_file());
    let server = place.serve_state("second", one);
    place.ioctl_ok(&server, &["-i"]);
    assert_eq!(server.tpm().ok(&pcr_read()).body(), value);
    drop(server);
    fs::write(place.path("one"), "something else of somebody else").expect("written");
    let said = refused(print());
    assert!(said.contains("left as it is"), "{said}");
}

/// How libvirt uses the three programs.
#[test]
fn the_three_names_do_what_libvirt_does_with_them() {
    let place = Place::new();
    let said = support::finish(
        "print",
        place
            .program("swtpm")
            .args(["socket", "--tpm2", "--print-capabilities"])
            .output()
            .expect("it starts"),
    );
    let capabilities: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    for feature in [
        "tpm-2.0",
        "cmdarg-pwd-fd",
        "cmdarg-migration",
        "nvram-backend-dir",
        "nvram-backend-file",
    ] {
        let features = capabilities["features"].as_array().expect("a list");
        assert!(features.iter().any(|known| known == feature), "{feature}");
    }
    let profiles = &capabilities["profiles"];
    assert!(profiles["names"].as_array().expect("a list").len() >= 3);
    assert!(!profiles["commands"]["implemented"].is_null());
    let mut process = Process::start(
        place
            .program("swtpm")
            .args(["socket", "--ctrl", "type=unixio,path=c.sock,mode=0600"])
            .args(["--tpmstate", "dir=state,mode=0600,lock"])
            .args([
                "--log",
                "file=swtpm.log,level=5",
                "--terminate",
                "--tpm2",
                "--migration",
                "release-lock-outgoing",
            ]),
    );
    let socket = place.path("c.sock");
    wait_for("the control socket", || UnixStream::connect(&socket).ok());
    let mode = fs::metadata(&socket).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o600);
    let stop = place
        .program("swtpm_ioctl")
        .args(["--unix", "c.sock", "-s"])
        .output();
    assert!(stop.expect("it starts").status.success());
    assert!(process.wait().success());
    assert!(!socket.exists());
    assert!(place.path("swtpm.log").exists());
}

#[test]
fn every_request_of_the_control_tool() {
    let place = Place::new();
    let mut served = place.serve("a", &[]);
    let ok = |arguments: &[&str]| place.ioctl_ok(&served, arguments);
    assert_eq!(ok(&["-c"]), "ptm capability is 0x1ffff\n");
    assert_eq!(
        ok(&["-e"]),
        "tpmEstablished is 0\n",
        "also of a TPM without power"
    );
    assert!(
        place
            .ioctl_refused(&served, &["-v"])
            .contains("PTM_STORE_VOLATILE: 0xa")
    );
    assert_eq!(ok(&["-i"]), "");
    let bios = |arguments: &[&str]| {
        let mut command = place.program("swtpm_bios");
        command
            .args(["--tpm2", "--unix"])
            .arg(&served.data)
            .args(arguments);
        command.output().expect("swtpm_bios starts")
    };
    assert_eq!(bios(&["-c", "-cs", "-u"]).status.code(), Some(0));
    let again = bios(&["-c"]);
    assert_eq!(again.status.code(), Some(128));
    assert_eq!(
        again.stdout,
        b"TPM2_Startup returned error code 0x00000100\n"
    );
    assert_eq!(
        bios(&["-n", "-u"]).status.code(),
        Some(128),
        "the platform's password is unknown"
    );
    assert_eq!(ok(&["-g"]), "ptm configuration flags: 0x0\n");
    assert_eq!(ok(&["-l", "3"]), "");
    assert_eq!(ok(&["-l", "0"]), "");
    assert!(
        place
            .ioctl_refused(&served, &["-l", "5"])
            .contains("locality")
    );
    assert_eq!(ok(&["-h", "some event"]), "");
    assert_eq!(ok(&["-e"]), "tpmEstablished is 1\n");
    let said = place.ioctl_refused(&served, &["-r", "0"]);
    assert_eq!(said, "TPM result from PTM_RESET_TPMESTABLISHED: 0x3d\n");
    assert_eq!(ok(&["-r", "3"]), "");
    assert_eq!(ok(&["-e"]), "tpmEstablished is 0\n");
    assert_eq!(ok(&["-C"]), "");
    let sizes = ok(&["-b", "0"]);
    assert!(
        sizes.starts_with("TPM buffersize: 8192\nminimum size  : "),
        "{sizes}"
    );
    assert!(
        place
            .ioctl_refused(&served, &["-b", "4096"])
            .contains("PTM_SET_BUFFERSIZE: 0xa")
    );
    let info: serde_json::Value = serde_json::from_str(&ok(&["--info", "0xff"])).expect("JSON");
    for part in [
        "TPMSpecification",
        "TPMAttributes",
        "TPMFeatures",
        "RuntimeAlgorithms",
        "RuntimeCommands",
        "ActiveProfile",
        "AvailableProfiles",
        "RuntimeAttributes",
    ] {
        assert!(!info[part].is_null(), "{part} in {info}");
    }
    assert_eq!(info["ActiveProfile"]["Name"], "default");
    let commands = info["RuntimeCommands"]["Enabled"].as_str().expect("text");
    assert!(commands.starts_with("0x11f"), "{commands}");
    assert_eq!(ok(&["--lock-storage", "3"]), "");
    assert_eq!(ok(&["-v"]), "");
    assert_eq!(ok(&["--stop"]), "");
    assert!(ok(&["-b", "4096"]).starts_with("TPM buffersize: 4096\n"));
    assert!(place.ioctl_refused(&served, &["-c", "-e"]).contains("one"));
    assert!(place.ioctl_refused(&served, &[]).contains("--help"));
    assert_eq!(ok(&["-s"]), "");
    assert!(served.process.wait().success());
    let nobody = place.ioctl_refused(&served, &["-c"]);
    assert!(nobody.contains("a.ctrl"), "{nobody}");
    let mut command = place.program("swtpm_bios");
    let nobody = command.args(["--tpm2", "--unix", "a.data"]).output();
    assert_eq!(nobody.expect("it starts").status.code(), Some(255));
}

/// Everything that a machine's state is saved and loaded by, between two processes and back into the same.
#[test]
fn state_travels_and_foreign_state_does_not() {
    let place = Place::new();
    let source = place.serve("source", &["--flags", "startup-clear"]);
    source.tpm().ok(&pcr_extend(7));
    let pcr = source.tpm().ok(&pcr_read());
    for kind in ["permanent", "volatile", "savestate"] {
        place.ioctl_ok(&source, &["--save", kind, kind]);
    }
    let mode = fs::metadata(place.path("permanent"))
        .expect("saved")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(fs::read(place.path("savestate")).expect("saved"), b"");
    source.tpm().ok(&pcr_extend(8));
    let random = source.tpm().ok(&get_random(32));

    // Into a machine that is to arrive, and back into the one it was taken from.
    let target = place.serve("target", &[]);
    for served in [&target, &source] {
        place.ioctl_ok(served, &["--stop"]);
        place.ioctl_ok(served, &["--load", "permanent", "permanent"]);
        place.ioctl_ok(served, &["--load", "volatile", "volatile"]);
        place.ioctl_ok(served, &["-i"]);
        assert_eq!(served.tpm().ok(&pcr_read()), pcr, "no Startup was needed");
        assert_ne!(served.tpm().ok(&get_random(32)), random);
    }

    // What was cut, altered, of another kind or another machine is refused, and what is there goes on.
    let stranger = place.serve("stranger", &["--flags", "startup-clear"]);
    stranger.tpm().ok(&pcr_extend(9));
    let before = stranger.tpm().ok(&pcr_read());
    place.ioctl_ok(&stranger, &["-v"]);
    place.ioctl_ok(&stranger, &["--stop"]);
    let blob = fs::read(place.path("permanent")).expect("saved");
    let cut = &blob[..blob.len() - 1];
    let mut altered = blob.clone();
    altered[blob.len() / 2] ^= 1;
    for (name, bytes) in [("cut", cut), ("altered", &altered)] {
        fs::write(place.path(name), bytes).expect("written");
        place.ioctl_refused(&stranger, &["--load", "permanent", name]);
    }
    for (kind, file) in [
        ("permanent", "permanent"),
        ("permanent", "volatile"),
        ("volatile", "volatile"),
        ("volatile", "permanent"),
    ] {
        let said = place.ioctl_refused(&stranger, &["--load", kind, file]);
        assert!(said.contains("PTM_SET_STATEBLOB: 0x3"), "{said}");
    }
    assert!(stranger.log().contains("another TPM"), "{}", stranger.log());
    place.ioctl_ok(&stranger, &["-i"]);
    assert_eq!(stranger.tpm().ok(&pcr_read()), before);
}

/// Two hosts with one storage: the source gives it up once its state has gone, and takes it back if the machine stays after all.
#[test]
fn a_machine_moves_between_hosts_that_share_the_storage() {
    let place = Place::new();
    let migration = ["--migration", "release-lock-outgoing,incoming"];
    let served = |name: &str, more: &[&str]| {
        let options = [&["--tpmstate", "dir=shared"], more].concat();
        place.serve_state(name, &options)
    };
    let mut source = served(
        "source",
        &["--flags", "startup-clear", migration[0], migration[1]],
    );
    source.tpm().ok(&pcr_extend(7));
    let pcr = source.tpm().ok(&pcr_read());
    let mut target = served("target", &migration);
    let said = place.ioctl_refused(&target, &["-i"]);
    assert!(said.contains("PTM_INIT: 0x9"), "the source has it: {said}");
    for kind in ["permanent", "volatile", "savestate"] {
        place.ioctl_ok(&source, &["--save", kind, kind]);
    }
    // The machine stays: nobody else has taken it.
    place.ioctl_ok(&source, &["--lock-storage", "3"]);
    source.tpm().ok(&get_random(8));
    assert_eq!(source.tpm().ok(&pcr_read()), pcr);

    // It stays after it has arrived elsewhere: nobody asked the TPM anything there.
    let mut failing = served("failing", &migration);
    for kind in ["permanent", "volatile", "savestate"] {
        place.ioctl_ok(&source, &["--save", kind, kind]);
    }
    for kind in ["permanent", "volatile"] {
        place.ioctl_ok(&failing, &["--load", kind, kind]);
    }
    place.ioctl_ok(&failing, &["-i"]);
    place.ioctl_ok(&failing, &["-s"]);
    assert!(failing.process.wait().success(), "{}", failing.log());
    place.ioctl_ok(&source, &["--lock-storage", "3"]);
    assert_eq!(source.tpm().ok(&pcr_read()), pcr);
    source.tpm().ok(&pcr_extend(8));
    let pcr = source.tpm().ok(&pcr_read());

    for kind in ["permanent", "volatile", "savestate"] {
        place.ioctl_ok(&source, &["--save", kind, kind]);
    }
    for kind in ["permanent", "volatile"] {
        place.ioctl_ok(&target, &["--load", kind, kind]);
    }
    place.ioctl_ok(&target, &["-i"]);
    assert_eq!(target.tpm().ok(&pcr_read()), pcr);
    let said = place.ioctl_refused(&source, &["--lock-storage", "3"]);
    assert!(said.contains("PTM_LOCK_STORAGE: 0x9"), "{said}");
    assert_eq!(
        source.tpm().execute(&get_random(8)).code(),
        0x923,
        "two must not go on from one state"
    );
    for served in [&mut source, &mut target] {
        place.ioctl_ok(&*served, &["-s"]);
        assert!(served.process.wait().success(), "{}", served.log());
    }
}

#[test]
fn state_that_leaves_sealed_opens_with_its_key_alone() {
    let place = Place::new();
    fs::write(place.path("one"), "one passphrase").expect("written");
    fs::write(place.path("two"), "another passphrase").expect("written");
    let key = |name: &str| format!("pwdfile={name},mode=aes-256-cbc");
    let source = place.serve(
        "source",
        &[
            "--key",
            &key("one"),
            "--migration-key",
            &key("one"),
            "--flags",
            "startup-clear",
        ],
    );
    assert_eq!(
        place.ioctl_ok(&source, &["-g"]),
        "ptm configuration flags: 0x3\n"
    );
    place.ioctl_ok(&source, &["--save", "permanent", "blob"]);
    let keyless = place.serve("keyless", &[]);
    let said = place.ioctl_refused(&keyless, &["--load", "permanent", "blob"]);
    assert!(said.contains("0xd"), "{said}");
    let wrong = place.serve("wrong", &["--migration-key", &key("two")]);
    let said = place.ioctl_refused(&wrong, &["--load", "permanent", "blob"]);
    assert!(said.contains("0x21"), "{said}");
    let right = place.serve("right", &["--migration-key", &key("one")]);
    place.ioctl_ok(&right, &["--load", "permanent", "blob"]);
    place.ioctl_ok(&right, &["-i"]);
    assert_eq!(right.tpm().execute(&startup()).code(), 0);
}

#[test]
fn a_long_command_is_canceled_and_the_next_one_is_not() {
    let place = Place::new();
    let served = place.serve("a", &["--flags", "startup-clear"]);
    let mut tpm = served.tpm();
    let mut control = served.control();
    // Which numbers are prime cannot be known: should one key be found at once, another is asked for.
    let canceled = (0..8).any(|unique| {
        tpm.0.write_all(&create_long_key(unique)).expect("sent");
        tpm.0.set_nonblocking(true).expect("a flag");
        let answered = wait_for("an answer", || {
            // Too early, it has nothing to cancel; so it is sent until there is an answer.
            control.write_all(&[0, 0, 0, 9]).expect("sent");
            let mut result = [0; 4];
            control.read_exact(&mut result).expect("answered");
            assert_eq!(result, [0; 4]);
            let mut response = [0; 4096];
            match tpm.0.read(&mut response) {
                Ok(count) => Some(response[..count].to_vec()),
                Err(_) => None,
            }
        });
        tpm.0.set_nonblocking(false).expect("a flag");
        answered[6..10] == CANCELED.to_be_bytes()
    });
    assert!(canceled);
    tpm.ok(&get_random(8));
}

#[test]
fn what_is_not_supported_is_refused_with_words() {
    let place = Place::new();
    fs::write(place.path("file"), "x").expect("written");
    for (arguments, word) in [
        (&["socket", "--tpmstate", "dir=s"][..], "--tpm2"),
        (&["socket", "--tpm2"], "--tpmstate"),
        (&["socket", "--tpm2", "--tpmstate", "dir=s"], "--server"),
        (&["cuse", "-n", "vtpm"], "CUSE"),
        (
            &[
                "chardev",
                "--tpm2",
                "--vtpm-proxy",
                "--chardev",
                "file",
                "--tpmstate",
                "dir=s",
            ],
            "--vtpm-proxy",
        ),
        (
            &["chardev", "--tpm2", "--tpmstate", "dir=s"],
            "which device",
        ),
        (
            &[
                "chardev",
                "--tpm2",
                "--tpmstate",
                "dir=s",
                "--chardev",
                "file",
            ],
            "nor a device",
        ),
        (
            &["chardev", "--tpm2", "--server", "port=1"],
            "socket interface",
        ),
        (
            &["socket", "--tpm2", "--tpmstate", "dir=s", "--fd", "99"],
            "descriptor 99",
        ),
        (
            &[
                "socket",
                "--tpm2",
                "--tpmstate",
                "dir=s",
                "--ctrl",
                "type=unixio,path=file",
            ],
            "no socket stands there",
        ),
        (
            &["socket", "--tpm2", "--runas", "nobody-of-that-name"],
            "/etc/passwd",
        ),
        (&["socket", "--tpm2", "--chroot", "/nowhere"], "--chroot"),
    ] {
        let output = place.program("swtpm").args(arguments).output();
        let said = refused(output.expect("it starts"));
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert!(!place.path("s").join("tpm").exists(), "{arguments:?}");
    }
    // What cannot even be read, with the same exit code: it is the only one that swtpm has.
    for option in [
        ["--tpmstate", "backend-uri=file://s,backup"],
        ["--tpmstate", "backend-uri=http://s"],
        ["--flags", "startup-deactivated"],
        ["--seccomp", "action=shrug"],
        ["--migration", "outgoing"],
        ["--locality", "reject-locality-5"],
        ["--key", "file=a,mode=rot13"],
        ["--profile", "remove-disabled=fips-host"],
        ["--log", "colour=red"],
        ["--pid", "path=p"],
    ] {
        let output = place.swtpm(&option).output().expect("it starts");
        let said = refused(output);
        assert!(!said.trim().is_empty(), "{option:?}");
    }
}

#[test]
fn profiles_and_states_are_printed_as_json() {
    let place = Place::new();
    let print = |option: &str| {
        let output = place.swtpm(&[option]).output().expect("it starts");
        let text = support::finish(option, output);
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let profiles = print("--print-profiles");
    let names: Vec<_> = profiles["AvailableProfiles"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|profile| profile["Name"].as_str().expect("a name"))
        .collect();
    assert!(names.contains(&"default") && names.contains(&"swtpm-0.7"));
    assert_eq!(print("--print-states")["states"], serde_json::json!([]));
    assert!(!place.path("state").exists(), "looking makes nothing");
    let mut served = place.serve("state", &["--flags", "startup-clear"]);
    // Its sockets are there before its state is.
    served.assert_serves();
    // A TPM that runs keeps nobody from looking.
    let states = print("--print-states");
    assert_eq!(states["states"].as_array().map(Vec::len), Some(1));
    assert_eq!(states["states"][0]["name"], "permall");
    place.ioctl_ok(&served, &["-v"]);
    place.ioctl_ok(&served, &["-s"]);
    assert!(served.process.wait().success());
    let states = print("--print-states");
    assert_eq!(states["states"][0]["name"], "permall");
    assert_eq!(states["states"][1]["name"], "volatilestate");
}

#[test]
fn the_log_says_why_a_program_did_not_start() {
    let place = Place::new();
    let mut served = place.serve("state", &["--flags", "startup-clear"]);
    // Its sockets are there before it has the state.
    served.assert_serves();
    let options = ["--flags", "not-need-init", "--log", "file=second.log"];
    let server = ["--server", "type=unixio,path=second.data"];
    let mut second = place.swtpm(&[&options[..], &server].concat());
    let output = second.output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let log = fs::read_to_string(place.path("second.log")).expect("the log");
    for said in [told, log] {
        assert!(said.contains("in use by another process"), "{said}");
    }
    served.assert_serves();
}

#[test]
fn system_calls_that_no_tpm_needs_are_given_up() {
    let place = Place::new();
    for action in ["kill", "log"] {
        let mut served = place.serve(
            action,
            &[
                "--seccomp",
                &format!("action={action}"),
                "--flags",
                "startup-clear",
            ],
        );
        served.assert_serves();
        assert_eq!(status_field(served.process.id(), "Seccomp:"), "2");
        // A key takes another thread; saved state takes files.
        let key = support::raw::authorized(
            0x131,
            &[support::raw::OWNER],
            &[b""],
            &Bytes::new()
                .sized(&[0; 4])
                .sized(&ecc_template())
                .sized(b"")
                .u32(0),
        );
        served.tpm().ok(&key);
        place.ioctl_ok(&served, &["-v"]);
        place.ioctl_ok(&served, &["-s"]);
        assert!(served.process.wait().success(), "{}", served.log());
    }
}

fn ecc_template() -> Vec<u8> {
    Bytes::new()
        .u16(0x23)
        .u16(0x0b)
        .u32(0x0003_0472)
        .sized(b"")
        .u16(6)
        .u16(128)
        .u16(0x43)
        .u16(0x10)
        .u16(3)
        .u16(0x10)
        .sized(b"")
        .sized(b"")
        .0
}

/// Only root can; anybody else is told so.
#[test]
fn rights_and_root_folder_are_given_up() {
    let place = Place::new();
    let jail = place.path("jail");
    fs::create_dir(&jail).expect("a folder");
    let jail_text = jail.display().to_string();
    let mut command = place.program("swtpm");
    command
        .args(["socket", "--tpm2", "--tpmstate", "dir=/state"])
        .args(["--ctrl", "type=unixio,path=/ctrl"])
        .args(["--chroot", &jail_text, "--runas", "nobody"])
        .args(["--pid", "file=/pid"]);
    if !rustix::process::getuid().is_root() {
        let said = refused(command.output().expect("it starts"));
        assert!(said.contains("only root"), "{said}");
        return;
    }
    fs::set_permissions(&jail, fs::Permissions::from_mode(0o777)).expect("a mode");
    let mut process = Process::start(&mut command);
    wait_for("the control socket", || {
        assert_eq!(process.ended(), None, "it ended");
        UnixStream::connect(jail.join("ctrl")).ok()
    });
    let nobody = support::finish(
        "id",
        Command::new("id")
            .args(["-u", "nobody"])
            .output()
            .expect("id"),
    );
    let nobody = nobody.trim();
    let ids = status_field(process.id(), "Uid:");
    assert!(ids.split_whitespace().all(|id| id == nobody), "{ids}");
    assert_eq!(status_field(process.id(), "CapEff:"), "0000000000000000");
    let root = fs::read_link(format!("/proc/{}/root", process.id())).expect("root");
    assert_eq!(root, jail);
    // It is written once the sockets are there.
    let pid = wait_for("the pid file", || {
        let text = fs::read_to_string(jail.join("pid")).unwrap_or_default();
        text.ends_with('\n').then_some(text)
    });
    assert_eq!(pid.trim(), process.id().to_string());
    assert!(process.terminate().success());
}

/// Runs `swtpm` as a service manager does: the sockets at descriptors 3 and 4, their names, and who is meant.
#[test]
fn sockets_come_from_a_service_manager_and_readiness_goes_to_it() {
    let place = Place::new();
    let manager = UnixDatagram::bind(place.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (data, control) = (place.path("data"), place.path("control"));
    let data_listener = UnixListener::bind(&data).expect("a socket");
    let control_listener = UnixListener::bind(&control).expect("a socket");
    let mut command = Command::new("sh");
    command
        .current_dir(place.0.path())
        .args(["-c", "exec 3<&0 4<&1 1>&2; LISTEN_PID=$$ exec \"$@\"", "sh"])
        .arg(place.path("swtpm"))
        .args(["socket", "--tpm2", "--tpmstate", "dir=state"])
        .args(["--flags", "startup-clear"])
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "data:ctrl")
        .env("NOTIFY_SOCKET", place.path("notify"))
        .stdin(OwnedFd::from(data_listener))
        .stdout(OwnedFd::from(control_listener));
    let mut process = Process::start(&mut command);
    drop(command);
    let mut message = [0; 64];
    let count = manager.recv(&mut message).expect("a message");
    assert_eq!(&message[..count], b"READY=1");
    RawTpm::connect_unix(&data).ok(&get_random(8));
    assert_eq!(
        place.ioctl_ok(&control, &["-c"]),
        "ptm capability is 0x1ffff\n"
    );
    place.ioctl_ok(&control, &["-s"]);
    assert!(process.wait().success());
}

/// A terminal without line discipline stands for the kernel's vTPM device.
#[test]
fn a_character_device_is_served() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let place = Place::new();
    let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&device).expect("granted");
    unlockpt(&device).expect("unlocked");
    let name = ptsname(&device, Vec::new()).expect("a name");
    let name = name.to_str().expect("text").to_owned();
    let other = File::options()
        .read(true)
        .write(true)
        .open(&name)
        .expect("the other side");
    let mut settings = tcgetattr(&other).expect("settings");
    settings.make_raw();
    tcsetattr(&other, OptionalActions::Now, &settings).expect("raw");
    let mut process = Process::start(
        place
            .program("swtpm")
            .args(["chardev", "--tpm2", "--tpmstate", "dir=state"])
            .args(["--chardev", &name, "--flags", "startup-clear"])
            .args(["--locality", "allow-set-locality"]),
    );
    let mut tpm = RawTpm(File::from(device));
    assert_eq!(tpm.execute(&startup()).code(), INITIALIZE);
    tpm.ok(&get_random(8));
    // How the kernel's proxy chooses a locality.
    tpm.ok(&frame(0x8001, 0x2000_1000, &[3]));
    drop(other);
    assert!(process.terminate().success());
}
