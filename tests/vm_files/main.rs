//! Files of VMs: snapshots, rollback, `vtpm file`, and what stands where a file should be.

#![cfg(test)]

mod support;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::raw::{NvKind, RawTpm, get_random, nv_define, nv_increment, nv_read, nv_write};
use support::{
    Client, Daemon, Process, Protocol, TpmServer, VTPM, copy_folder, files_below, folder,
    only_for_vtpm,
};
use tempfile::TempDir;

/// Exit codes of `vtpm file`.
const DAMAGED: i32 = 4;
const UNPROVEN: i32 = 5;
const IN_USE: i32 = 6;

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
        let output = self.daemon.output();
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

#[test]
fn a_snapshot_of_a_running_vm_gives_pcrs_counters_and_objects_back_and_no_random_number() {
    let Some(mut place) = Place::new() else {
        return;
    };
    define(&mut place.tpm());
    let count = read(&mut place.tpm(), COUNTER);
    let client = place.client();
    let pcr = "tpm2_pcrread sha256:8 | sed -n 's/ *8 *: *//p'";
    client.sh("
        tpm2_pcrextend 8:sha256=1111111111111111111111111111111111111111111111111111111111111111
        tpm2_createprimary -C o -G ecc -c primary.ctx
    ");
    let before = client.sh(pcr);
    let task = place.daemon.ok([
        "vm",
        "snapshot",
        "demo",
        "running",
        "--description",
        "before the change",
    ]);
    assert!(task.contains("running"), "{task}");
    assert_eq!(place.daemon.vm_field("demo", "/power"), "on");
    let instance = place.daemon.vm_field("demo", "/instance_id");
    let mut seen = HashSet::new();
    for round in 0..3 {
        let mut tpm = place.tpm();
        for _ in 0..5 {
            let random = tpm.ok(&get_random(32)).first_buffer().to_vec();
            assert!(seen.insert(random), "round {round}: random bytes repeat");
        }
        tpm.ok(&nv_increment(COUNTER, b""));
        tpm.ok(&nv_write(DATA, b"", b"modified"));
        drop(tpm);
        place.client().sh(
            "tpm2_pcrextend 8:sha256=2222222222222222222222222222222222222222222222222222222222222222",
        );
        assert_ne!(place.client().sh(pcr), before);
        if round == 1 {
            // From off to on.
            place.daemon.ok(["vm", "stop", "demo"]);
        }
        if round == 2 {
            place.daemon.stop();
            place.daemon.start_again();
        }
        place.daemon.ok(["vm", "revert", "demo", "running"]);
        assert_eq!(place.daemon.vm_field("demo", "/power"), "on");
        let mut tpm = place.tpm();
        assert_eq!(read(&mut tpm, DATA), b"original");
        assert_eq!(read(&mut tpm, COUNTER), count);
        drop(tpm);
        let client = place.client();
        assert_eq!(client.sh(pcr), before);
        // What the guest has saved of an object still loads.
        client.sh("tpm2_readpublic -c primary.ctx > /dev/null");
    }
    let vm = place.daemon.vm("demo");
    assert_ne!(vm["instance_id"], instance.as_str());
    assert_eq!(vm["reverts"].as_array().map(Vec::len), Some(3));
    assert_eq!(vm["reverts"][0]["from_instance"], instance.as_str());
    assert!(place.daemon.ok(["vm", "show", "demo"]).contains("reverted"));
    // It goes on as any VM, through a power cycle and a new daemon.
    place.tpm().ok(&nv_write(DATA, b"", b"goes on!"));
    place.daemon.ok(["vm", "stop", "demo"]);
    place.daemon.stop();
    place.daemon.start_again();
    place.daemon.ok(["vm", "start", "demo"]);
    assert_eq!(read(&mut place.tpm(), DATA), b"goes on!");
}

#[test]
fn snapshots_are_a_tree_and_reverting_to_one_of_a_vm_that_was_off_leaves_it_off() {
    let Some(place) = Place::new() else { return };
    define(&mut place.tpm());
    place.daemon.ok(["vm", "stop", "demo"]);
    place.daemon.ok(["vm", "snapshot", "demo", "kalt, 冷"]);
    place.daemon.ok(["vm", "start", "demo"]);
    place.tpm().ok(&nv_write(DATA, b"", b"modified"));
    place.daemon.ok(["vm", "snapshot", "demo", "warm"]);
    let tree = place.snapshots();
    assert_eq!(tree["snapshots"][1]["parent"], tree["snapshots"][0]["id"]);
    assert_eq!(tree["current"], tree["snapshots"][1]["id"]);
    place.daemon.ok(["vm", "revert", "demo", "kalt, 冷"]);
    assert_eq!(place.daemon.vm_field("demo", "/power"), "off");
    place.daemon.ok(["vm", "snapshot", "demo", "side"]);
    let shown = place.daemon.ok(["vm", "snapshots", "demo"]);
    for part in ["kalt, 冷", "|- warm", "`- side", "`- * now"] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    place.daemon.ok(["vm", "start", "demo"]);
    assert_eq!(read(&mut place.tpm(), DATA), b"original");
    place.daemon.ok(["vm", "forget", "demo", "kalt, 冷"]);
    let tree = place.snapshots();
    assert_eq!(tree["snapshots"][0]["parent"], Value::Null);
    // By its id.
    let warm = tree["snapshots"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    place.daemon.ok(["vm", "revert", "demo", &warm]);
    assert_eq!(read(&mut place.tpm(), DATA), b"modified");
    // A clone has none; a VM takes its own with it.
    place.daemon.ok(["vm", "clone", "demo", "twin"]);
    assert_eq!(place.daemon.vm("twin")["snapshot_count"], 0);
    place.daemon.ok(["vm", "stop", "demo"]);
    let files = place.files();
    place.daemon.ok(["vm", "delete", "demo"]);
    assert!(!files.exists());
}

#[test]
fn names_of_snapshots_that_break_a_rule_are_refused_with_the_rule() {
    let Some(place) = Place::new() else { return };
    place.daemon.ok(["vm", "create", "plain"]);
    let long = "x".repeat(300);
    for (name, rule) in [
        ("../up", "\"/\""),
        ("", "at least one"),
        ("a\nb", "control"),
        ("a\u{202e}b", "control"),
        (".hidden", "dot"),
        (" a", "space"),
        (&*long, "80 characters"),
    ] {
        for verb in [
            ["vm", "snapshot", "demo", name],
            ["vm", "clone", "demo", name],
        ] {
            let said = place.daemon.refused(verb);
            assert!(said.contains(rule), "{verb:?}: {said}");
        }
        let said = place.daemon.refused(["vm", "create", name]);
        assert!(said.contains(rule), "{name:?}: {said}");
        // What does not exist cannot be reached by such a name either.
        for verb in [
            ["vm", "revert", "demo", name],
            ["vm", "forget", "demo", name],
        ] {
            place.daemon.refused(verb);
        }
    }
    let said = place.daemon.refused(["vm", "snapshot", "plain", "s"]);
    assert!(said.contains("plain has no TPM"), "{said}");
    place.daemon.ok(["vm", "snapshot", "demo", "twice"]);
    let said = place.daemon.refused(["vm", "snapshot", "demo", "twice"]);
    assert!(
        said.contains("already has a snapshot called twice"),
        "{said}"
    );
    let text = "\u{1b}[31mred";
    let said = place
        .daemon
        .refused(["vm", "snapshot", "demo", "red", "--description", text]);
    assert!(said.contains("control"), "{said}");
    assert_eq!(
        place.snapshots()["snapshots"].as_array().map(Vec::len),
        Some(1)
    );
    // Other scripts are welcome, to the last character that fits.
    let most = "ü".repeat(80);
    for name in ["仮想マシン", "Zürich (2)", &most] {
        place.daemon.ok(["vm", "create", name, "--tpm"]);
        place.daemon.ok(["vm", "snapshot", name, name]);
        place.daemon.ok(["vm", "revert", name, name]);
        place.daemon.ok(["vm", "delete", name]);
    }
}

#[test]
fn killed_at_any_moment_a_snapshot_operation_is_finished_or_undone() {
    let Some(mut place) = Place::new() else {
        return;
    };
    define(&mut place.tpm());
    place.daemon.ok(["vm", "snapshot", "demo", "base"]);
    let mut counts = [0; 2];
    for round in 0..18_u32 {
        let name = format!("round {round}");
        place.tpm().ok(&nv_write(DATA, b"", &[b'a'; 8]));
        let arguments: Vec<&str> = match round % 3 {
            0 => vec!["vm", "snapshot", "demo", &name],
            1 => vec!["vm", "revert", "demo", "base"],
            _ => vec!["vm", "forget", "demo", "victim"],
        };
        if round % 3 == 2 {
            place.daemon.ok(["vm", "snapshot", "demo", "victim"]);
        }
        let before = place.snapshots();
        let mut working = Process::start(
            place
                .daemon
                .command(&arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        // Spread over the life of the operation; the last of each kind has ended.
        let acknowledged = if round < 15 {
            std::thread::park_timeout(Duration::from_millis(u64::from(round / 3) * 12));
            place.daemon.process().kill();
            working.wait().success()
        } else {
            let done = working.wait().success();
            place.daemon.process().kill();
            done
        };
        place.daemon.start_again();
        let after = place.snapshots();
        let is_there = |tree: &Value, name: &str| {
            let all = tree["snapshots"].as_array().expect("a list");
            all.iter().any(|snapshot| snapshot["name"] == name)
        };
        let happened = match round % 3 {
            0 => is_there(&after, &name),
            1 => after["revert_count"] != before["revert_count"],
            _ => !is_there(&after, "victim"),
        };
        assert!(happened || !acknowledged, "{arguments:?} is lost");
        counts[usize::from(happened)] += 1;
        if place.daemon.vm_field("demo", "/power") == "off" {
            place.daemon.ok(["vm", "start", "demo"]);
        }
        let expected = if round % 3 == 1 && happened {
            *b"original"
        } else {
            [b'a'; 8]
        };
        assert_eq!(read(&mut place.tpm(), DATA), expected, "{arguments:?}");
        // The files are those of the snapshots that are recorded, and whole.
        let found = files_below(&place.files())
            .iter()
            .filter(|path| path.extension().is_some_and(|it| it == "vmsn"))
            .count();
        assert_eq!(after["snapshots"].as_array().map(Vec::len), Some(found));
        place.daemon.ok(["vm", "stop", "demo"]);
        assert_code(&place.file("verify", &place.files(), &[]), 0);
        place.daemon.ok(["vm", "start", "demo"]);
        if is_there(&after, "victim") {
            place.daemon.ok(["vm", "forget", "demo", "victim"]);
        }
    }
    assert!(counts[1] >= 3, "{counts:?}");
}

#[test]
fn files_from_before_a_revert_are_no_way_back() {
    let Some(place) = Place::new() else { return };
    define(&mut place.tpm());
    place.daemon.ok(["vm", "stop", "demo"]);
    place.daemon.ok(["vm", "snapshot", "demo", "s"]);
    let old = place.home.path().join("old");
    copy_folder(&place.files(), &old);
    place.daemon.ok(["vm", "revert", "demo", "s"]);
    let new = place.home.path().join("new");
    copy_folder(&place.files(), &new);
    let put_back = |from: &Path, file: &str| {
        fs::copy(from.join(file), place.files().join(file)).expect("a copy");
    };
    for files in [
        &["demo.nvram"][..],
        &["demo.vmx"],
        &["demo.vmx", "demo.nvram"],
    ] {
        for file in files {
            put_back(&old, file);
        }
        for verb in [
            &["vm", "start", "demo"][..],
            &["vm", "start", "demo", "--accept-rollback"],
        ] {
            let output = place.daemon.vtpm(verb);
            assert!(!output.status.success(), "{files:?}: {}", said(&output));
            assert!(said(&output).contains("demo"), "{}", said(&output));
        }
        for file in files {
            put_back(&new, file);
        }
    }
    place.daemon.ok(["vm", "start", "demo"]);
    assert_eq!(read(&mut place.tpm(), DATA), b"original");
}

#[test]
fn an_older_folder_is_refused_until_it_is_accepted_even_after_a_kill() {
    let Some(mut place) = Place::new() else {
        return;
    };
    define(&mut place.tpm());
    place.daemon.ok(["vm", "stop", "demo"]);
    let old = place.home.path().join("old");
    copy_folder(&place.files(), &old);
    place.daemon.ok(["vm", "start", "demo"]);
    place.tpm().ok(&nv_write(DATA, b"", b"modified"));
    // Not closed in good order: the .vmx knows nothing of it, the daemon's notes do.
    place.daemon.process().kill();
    fs::remove_dir_all(place.files()).expect("the folder goes");
    copy_folder(&old, &place.files());
    place.daemon.start_again();
    assert_eq!(place.daemon.vm_field("demo", "/power"), "off");
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(
        said.contains("demo") && said.contains("generation") && said.contains("--accept-rollback"),
        "{said}"
    );
    place
        .daemon
        .ok(["vm", "start", "demo", "--accept-rollback"]);
    assert_eq!(read(&mut place.tpm(), DATA), b"original");
    // Accepted once, it is the state from then on.
    place.daemon.ok(["vm", "stop", "demo"]);
    place.daemon.ok(["vm", "start", "demo"]);
}

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
    support::Client::new(server.tcti(), home.path()).sh("tpm2_getrandom --hex 4");
    assert_code(&vtpm(&["file", "inspect", &state]), 0);
    assert_code(&vtpm(&["file", "verify", &state]), IN_USE);
    server.process().terminate();
    let output = vtpm(&["file", "verify", &state]);
    assert_code(&output, 0);
    assert!(said(&output).contains("authentic"), "{}", said(&output));
}

/// What to call an obstacle, and how to put it there.
type Obstacle = (&'static str, Box<dyn Fn()>);

/// What stands in the place of a file.
fn obstacles(at: &Path, whole: &Path) -> [Obstacle; 4] {
    let (link, dangling, fifo, dir) = (at.to_owned(), at.to_owned(), at.to_owned(), at.to_owned());
    let whole = whole.to_owned();
    [
        (
            "symbolic link",
            Box::new(move || symlink(&whole, &link).expect("a link")),
        ),
        (
            "symbolic link",
            Box::new(move || symlink("/nonexistent", &dangling).expect("a link")),
        ),
        (
            "FIFO",
            Box::new(move || {
                let made = Command::new("mkfifo").arg(&fifo).status();
                assert!(made.expect("mkfifo").success());
            }),
        ),
        (
            "folder",
            Box::new(move || fs::create_dir(&dir).expect("a folder")),
        ),
    ]
}

#[test]
fn what_is_no_regular_file_is_refused_by_name_at_once() {
    let Some(place) = Place::new() else { return };
    define(&mut place.tpm());
    place.daemon.ok(["vm", "snapshot", "demo", "s"]);
    place.daemon.ok(["vm", "stop", "demo"]);
    let snapshot = files_below(&place.files())
        .into_iter()
        .find(|path| path.extension().is_some_and(|it| it == "vmsn"))
        .expect("a snapshot");
    let provider = place
        .daemon
        .folder()
        .join("providers/vc01/vc01-nkp.provider.json");
    for (path, verb) in [
        (
            place.files().join("demo.nvram"),
            ["vm", "start", "demo", "--json"],
        ),
        (
            place.files().join("demo.vmx"),
            ["vm", "start", "demo", "--json"],
        ),
        (
            place.files().join("vm.lock"),
            ["vm", "start", "demo", "--json"],
        ),
        (provider, ["vm", "start", "demo", "--json"]),
        (snapshot, ["vm", "revert", "demo", "s"]),
    ] {
        let file = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let whole = place.home.path().join("whole");
        fs::rename(&path, &whole).expect("moved");
        let secret = fs::read(&whole).expect("the file");
        for (kind, put) in obstacles(&path, &whole) {
            put();
            let said = place.daemon.refused(verb);
            assert!(
                said.contains(&file) && said.contains(kind),
                "{kind}: {said}"
            );
            // The file behind a link was not touched.
            assert_eq!(fs::read(&whole).expect("the file"), secret);
            if path.symlink_metadata().expect("metadata").is_dir() {
                fs::remove_dir(&path).expect("removed");
            } else {
                fs::remove_file(&path).expect("removed");
            }
        }
        fs::rename(&whole, &path).expect("moved back");
    }
    // A VM's whole folder behind a link.
    let elsewhere = place.home.path().join("elsewhere");
    fs::rename(place.files(), &elsewhere).expect("moved");
    symlink(&elsewhere, place.files()).expect("a link");
    let said = place.daemon.refused(["vm", "start", "demo"]);
    assert!(said.contains("demo"), "{said}");
    fs::remove_file(place.files()).expect("removed");
    fs::rename(&elsewhere, place.files()).expect("moved back");
    place.daemon.ok(["vm", "start", "demo"]);
    assert_eq!(read(&mut place.tpm(), DATA), b"original");
}

#[test]
fn a_backup_that_is_cut_of_another_provider_or_given_a_wrong_password_is_refused_by_name() {
    let Some(place) = Place::new() else { return };
    let daemon = &place.daemon;
    let (backup, password) = place.backup();
    daemon.ok(["vcenter", "add", "vc02", "--version", "8.0.3"]);
    let restore = |name: &str, file: &Path, password: &str| {
        let file = file.display().to_string();
        let mut command = daemon.command([
            "provider",
            "restore",
            "--name",
            name,
            "--vcenter",
            "vc02",
            file.as_str(),
        ]);
        command.env("VTPM_BACKUP_PASSWORD", password);
        let output = command.output().expect("vtpm starts");
        (output.status.code(), said(&output))
    };
    let whole = PathBuf::from(backup);
    let bytes = fs::read(&whole).expect("the backup");
    let put = |name: &str, bytes: &[u8]| {
        let path = place.home.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    let cases: [(&str, PathBuf, &str, &str); 7] = [
        ("vc01-nkp", whole.clone(), "wrong", "password"),
        ("other", whole.clone(), &password, "\"vc01-nkp\""),
        (
            "vc01-nkp",
            put("cut.p12", &bytes[..200]),
            &password,
            "backup",
        ),
        (
            "vc01-nkp",
            put("changed.p12", &changed),
            &password,
            "backup",
        ),
        ("vc01-nkp", put("empty.p12", b""), &password, "backup"),
        (
            "vc01-nkp",
            put("large.p12", &vec![0; 2 << 20]),
            &password,
            "large.p12",
        ),
        (
            "vc01-nkp",
            place.home.path().to_owned(),
            &password,
            "directory",
        ),
    ];
    for (name, file, password, word) in cases {
        let (code, text) = restore(name, &file, password);
        assert_eq!(code, Some(1), "{}: {text}", file.display());
        assert!(text.contains(word), "{}: {text}", file.display());
        assert!(!text.contains(password), "{text}");
        let list = daemon.ok(["provider", "list", "--json"]);
        assert!(!list.contains("vc02"), "{list}");
    }
    let (code, text) = restore("vc01-nkp", &whole, &password);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn two_daemons_on_one_datastore_are_one_too_many() {
    let Some(mut place) = Place::new() else {
        return;
    };
    // A second data folder whose datastore is the first one's.
    let other = place.home.path().join("other");
    let mut second = Daemon::start(&other);
    second.stop();
    let theirs = other.join("datastores/datastore1");
    fs::remove_dir_all(&theirs).expect("removed");
    let shared = place.daemon.folder().join("datastores/datastore1");
    symlink(&shared, &theirs).expect("a link");
    // The link leads out of the sandbox; opened to it, the lock decides.
    let place_of_both = shared.display().to_string();
    let output = second.vtpm(["serve", "--allow", &place_of_both]);
    let text = said(&output);
    assert!(!output.status.success() && output.status.code() != Some(124));
    assert!(
        text.contains("datastore1") && text.contains("in use"),
        "{text}"
    );
    assert!(place.daemon.process().ended().is_none());
    place.client().flow("random.sh");
}
