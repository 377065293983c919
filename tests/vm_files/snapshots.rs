//! Snapshots of VMs, and files from before that are put back.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::raw::{get_random, nv_increment, nv_write};
use crate::support::{Process, copy_folder, files_below};
use crate::{COUNTER, DATA, Place, assert_code, define, read, said};

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
    // Of a VM without a TPM it is a place in the tree.
    place.daemon.ok(["vm", "snapshot", "plain", "s"]);
    place.daemon.ok(["vm", "revert", "plain", "s"]);
    place.daemon.ok(["vm", "forget", "plain", "s"]);
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
