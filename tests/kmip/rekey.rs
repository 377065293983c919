//! Keys that change: one VM's, those of all VMs of a provider, and in the middle of a `kill -9`.

use crate::place::{Place, assert_names};
use crate::support::{finish, only_for_vtpm, wait_for};
use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::time::Instant;

#[test]
fn a_shallow_rekey_of_a_running_vm_changes_the_wrapping_and_a_deep_one_everything_under_it() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let place = Place::new();
    let server = place.key_server("a");
    place.register(&[server.port]);
    let daemon = &place.daemon;
    let key1 = place.create("web01");
    daemon.ok(["vm", "start", "web01"]);
    place.client("web01").sh("
        tpm2_nvdefine 0x1500001 -C o -s 5 -a 'ownerread|ownerwrite'
        printf there | tpm2_nvwrite 0x1500001 -C o -i -
    ");
    let (vmx, nvram) = (place.file("web01", "vmx"), place.file("web01", "nvram"));
    let lines = || -> BTreeSet<String> {
        let text = fs::read_to_string(&vmx).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    let (settings, state) = (lines(), fs::read(&nvram).unwrap());
    daemon.ok(["vm", "rekey", "web01"]);
    let key2 = place.key_id("web01");
    assert_ne!(key1, key2);
    assert!(
        fs::read(&nvram).unwrap() == state,
        "the TPM's bytes changed"
    );
    let changed: BTreeSet<String> = settings
        .symmetric_difference(&lines())
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    for key in &changed {
        let expected = [
            "encryption.keySafe",
            "encryption.data",
            "vtpm.authentication",
            "vtpm.generation",
        ];
        assert!(expected.contains(&key.as_str()), "{key} changed");
    }
    assert!(changed.contains("encryption.data"), "{changed:?}");
    assert_eq!(keys(&place, "kms"), [(key2, 1)]);

    // Deep: off, to another provider; and back again.
    let said = daemon.refused(["vm", "rekey", "web01", "--deep"]);
    assert_names(&said, &["web01", "powered on", "--deep"]);
    daemon.ok(["vm", "stop", "web01"]);
    let state = fs::read(place.file("web01", "nvram")).unwrap();
    daemon.ok(["vm", "rekey", "web01", "--deep", "--provider", "vc01-nkp"]);
    assert_eq!(daemon.vm_field("web01", "/provider"), "vc01-nkp");
    assert!(fs::read(place.file("web01", "nvram")).unwrap() != state);
    daemon.ok(["vm", "start", "web01"]);
    let read = "equal \"$(tpm2_nvread 0x1500001 -C o -s 5)\" there";
    place.client("web01").sh(read);
    daemon.ok(["vm", "stop", "web01"]);
    daemon.ok(["provider", "rekey", "vc01-nkp", "--all", "--to", "kms"]);
    assert_eq!(daemon.vm_field("web01", "/provider"), "kms");
    assert_eq!(daemon.vm_field("demo", "/provider"), "kms");
    daemon.ok(["vm", "start", "web01"]);
    place.client("web01").sh(read);
}

/// The keys of a provider and how many VMs need each.
fn keys(place: &Place, provider: &str) -> Vec<(String, usize)> {
    let text = place.daemon.ok(["provider", "keys", provider, "--json"]);
    let keys: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = keys.as_array().unwrap().iter();
    keys.map(|key| {
        let vms = key["vms"].as_array().unwrap().len();
        (key["key_id"].as_str().unwrap().to_owned(), vms)
    })
    .collect()
}

/// How many VMs; the figure that is asked for is 1,000, which takes a few minutes.
fn count() -> usize {
    std::env::var("VTPM_TEST_REKEY_VMS").map_or(24, |text| text.parse().expect("a number"))
}

#[test]
fn the_rekeying_of_all_vms_goes_on_after_every_kill() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let count = count();
    let mut place = Place::new();
    let began = Instant::now();
    place.daemon.ok(["vm", "stop", "demo"]);
    let names: Vec<String> = (1..count).map(|number| format!("vm{number:04}")).collect();
    // A VM is cloned once at a time, so each thread has a source of its own.
    let sources = ["demo", "vm0001", "vm0002", "vm0003"];
    let (first, rest) = names.split_at(sources.len() - 1);
    for name in first {
        place.daemon.ok(["vm", "clone", "demo", name]);
    }
    let parts = rest.chunks(rest.len().div_ceil(sources.len()));
    std::thread::scope(|scope| {
        for (part, source) in parts.zip(sources) {
            let daemon = &place.daemon;
            scope.spawn(move || {
                for name in part {
                    daemon.ok(["vm", "clone", source, name]);
                }
            });
        }
    });
    eprintln!("{count} VMs made in {:?}", began.elapsed());
    assert_eq!(keys(&place, "vc01-nkp").len(), 1);

    let (mut kills, mut in_the_middle) = (0, 0);
    // How quick the machine is decides where a kill comes, so it goes on, shallow and deep in turn, until one came in the middle.
    for round in 0.. {
        if round >= 2 && (in_the_middle > 0 || round >= 50) {
            break;
        }
        let deep = round % 2 == 1;
        let before = keys(&place, "vc01-nkp");
        let mut command = vec!["provider", "rekey", "vc01-nkp", "--all"];
        command.extend(deep.then_some("--deep"));
        let mut child = place
            .daemon
            .command(&command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed when some VMs more are done, wherever the others are, until all are.
        let mut seen = 0;
        loop {
            let step = 1 + (kills * 7 + 3) % (count / 4);
            let done = wait_for("some more VMs to be done", || {
                let now = place.vms_under_other_keys(&before[0].0);
                (now >= (seen + step).min(count)).then_some(now)
            });
            if done == count {
                break;
            }
            place.daemon.process().kill();
            kills += 1;
            let done = place.vms_under_other_keys(&before[0].0);
            in_the_middle += usize::from(done > 0 && done < count);
            seen = done;
            place.daemon.start_again();
        }
        child.wait().unwrap();
        let after = wait_for("the end of the re-keying", || {
            let after = keys(&place, "vc01-nkp");
            (after.len() == 1).then_some(after)
        });
        assert_eq!(after[0].1, count);
        assert_ne!(after[0].0, before[0].0);
    }
    eprintln!(
        "killed {kills} times, {in_the_middle} of them with some VMs done, {:?} in all",
        began.elapsed()
    );
    assert!(in_the_middle > 0, "no kill came in the middle");

    // Every one opens.
    for name in names.iter().map(String::as_str).chain(["demo"]) {
        // The task that changed the last key may not have let its VM go yet.
        wait_for("a VM whose key opens its files", || {
            let output = place.daemon.vtpm(["vm", "unlock", name]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || said.contains("busy"), "{said}");
            output.status.success().then_some(())
        });
    }
    for name in ["demo", "vm0001"] {
        place.daemon.ok(["vm", "start", name]);
        finish(name, place.daemon.vtpm(["vm", "stop", name]));
    }
}

impl Place {
    /// How many VMs have files that name another key than this; asked of the files, whoever runs.
    fn vms_under_other_keys(&self, key_id: &str) -> usize {
        let files = crate::support::files_below(&self.daemon.folder().join("datastores"));
        files
            .iter()
            .filter(|path| path.extension().is_some_and(|found| found == "vmx"))
            .filter_map(|path| fs::read_to_string(path).ok())
            .filter(|text| !text.contains(key_id))
            .count()
    }
}
