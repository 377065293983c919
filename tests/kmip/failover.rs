//! Many VMs that start while the servers that hold their keys go, come back and are slow.

use crate::place::{Place, assert_names};
use crate::support::{Daemon, finish, only_for_vtpm, wait_for};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// VMs with a key of their own each, and clones of every one, which are under its key: 60 in all.
const KEYS: usize = 6;
const CLONES: usize = 9;
/// `vtpm vm start` is asked for so many VMs at once.
const AT_ONCE: usize = 5;

/// Starts all, several at a time, and says which command was refused and why.
fn start_all(daemon: &Daemon, names: &[String]) -> Vec<String> {
    thread::scope(|scope| {
        let commands: Vec<_> = names
            .chunks(AT_ONCE)
            .map(|names| {
                scope.spawn(|| {
                    let arguments: Vec<&str> = ["vm", "start"]
                        .into_iter()
                        .chain(names.iter().map(String::as_str))
                        .collect();
                    let output = daemon.vtpm(arguments);
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    (!output.status.success()).then_some(said)
                })
            })
            .collect();
        commands
            .into_iter()
            .filter_map(|command| command.join().unwrap())
            .collect()
    })
}

/// The VMs of these that are on.
fn running(daemon: &Daemon, names: &[String]) -> usize {
    let list = daemon.ok(["vm", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let on =
        list.as_array().unwrap().iter().filter(|vm| {
            vm["power"] == "on" && names.iter().any(|name| vm["name"] == name.as_str())
        });
    on.count()
}

fn stop_all(daemon: &Daemon, names: &[String]) {
    for names in names.chunks(AT_ONCE) {
        let arguments = ["vm", "stop"].into_iter();
        let arguments = arguments.chain(names.iter().map(String::as_str));
        finish("vm stop", daemon.vtpm(arguments.collect::<Vec<_>>()));
    }
}

#[test]
fn a_mass_start_outlives_the_first_key_server_and_locks_only_without_any() {
    if only_for_vtpm("it has no daemon") {
        return;
    }
    let place = Place::new();
    let mut first = place.key_server("first");
    let mut second = place.key_server("second");
    // The server that is left is asked for everything, and may have little of the machine; a silent one costs this once.
    place.register_with(&[first.port, second.port], "30");
    let daemon = &place.daemon;
    let sources: Vec<String> = (0..KEYS).map(|number| format!("own{number}")).collect();
    let mut keys = BTreeSet::new();
    for name in &sources {
        keys.insert(place.create(name));
    }
    assert_eq!(keys.len(), KEYS);
    let mut names = sources.clone();
    thread::scope(|scope| {
        for name in &sources {
            scope.spawn(move || {
                for clone in 0..CLONES {
                    daemon.ok(["vm", "clone", name, &format!("{name}-{clone}")]);
                }
            });
        }
    });
    names.extend(
        sources
            .iter()
            .flat_map(|name| (0..CLONES).map(move |clone| format!("{name}-{clone}"))),
    );

    // Each round, all start; meanwhile no key stays in memory, so that they are asked for again and again.
    let round = |what: &str, meanwhile: &mut dyn FnMut(&dyn Fn() -> usize)| {
        daemon.ok(["provider", "forget-keys", "kms"]);
        let (ended, wiped) = (AtomicBool::new(false), AtomicUsize::new(0));
        let refused = thread::scope(|scope| {
            let starting = scope.spawn(|| {
                let refused = start_all(daemon, &names);
                ended.store(true, Ordering::SeqCst);
                refused
            });
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    let said = daemon.ok(["provider", "forget-keys", "kms"]);
                    let count = said
                        .split(": ")
                        .nth(1)
                        .and_then(|rest| rest.split(' ').next());
                    let count: usize = count.unwrap().parse().unwrap();
                    wiped.fetch_add(count, Ordering::SeqCst);
                    // Starting processes without a break would leave nothing to those that are tested.
                    thread::park_timeout(Duration::from_millis(300));
                }
            });
            meanwhile(&|| running(daemon, &names));
            starting.join().unwrap()
        });
        assert_eq!(refused, Vec::<String>::new(), "{what}");
        assert_eq!(running(daemon, &names), names.len(), "{what}");
        let wiped = wiped.into_inner();
        eprintln!(
            "{what}: {} VMs started, {wiped} keys fetched again",
            names.len()
        );
        stop_all(daemon, &names);
    };
    let some = |count: usize, on: &dyn Fn() -> usize| {
        wait_for("VMs that are on", || (on() >= count).then_some(()));
    };
    round("the first server is killed and comes back", &mut |on| {
        some(names.len() / 6, on);
        first.kill();
        some(names.len() / 2, on);
        first.start_again();
    });
    round(
        "the first server takes connections and is silent",
        &mut |on| {
            some(names.len() / 6, on);
            first.stall(true);
            some(names.len() / 2, on);
            first.stall(false);
        },
    );
    round(
        "the second server is gone, then the first one instead",
        &mut |on| {
            some(names.len() / 6, on);
            second.kill();
            some(names.len() / 3, on);
            second.start_again();
            first.kill();
        },
    );

    // Without any server they are locked, each with its key named; nothing is on, no file was touched.
    second.kill();
    daemon.ok(["provider", "forget-keys", "kms"]);
    let before = place.files();
    let refused = start_all(daemon, &names);
    assert_eq!(refused.len(), names.len().div_ceil(AT_ONCE));
    let ports = [first.port, second.port].map(|port| format!("127.0.0.1:{port}"));
    assert_names(&refused[0], &["locked", "kms", &ports[0], &ports[1]]);
    assert_eq!(running(daemon, &names), 0);
    // A command ends at the first VM that is refused; this looks at all of them.
    daemon.refused(["provider", "status", "kms"]);
    let mut named = BTreeSet::new();
    for name in &names {
        let key = place.key_id(name);
        place.assert_locked(name, &key);
        named.insert(key);
    }
    assert_eq!(named, keys);
    assert!(place.files() == before, "files changed");

    // One of them is back.
    second.start_again();
    let unlock = ["vm", "unlock"].into_iter();
    let unlock: Vec<&str> = unlock.chain(names.iter().map(String::as_str)).collect();
    finish("vm unlock", daemon.vtpm(unlock));
    assert_eq!(start_all(daemon, &names), Vec::<String>::new());
    assert_eq!(running(daemon, &names), names.len());
    stop_all(daemon, &names);
}
