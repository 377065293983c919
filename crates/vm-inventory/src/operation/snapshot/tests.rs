//! Snapshots on real files; a TPM is random bytes, of which a fork keeps the first half.

use super::*;
use crate::model::PowerState;
use crate::task::TaskStatus;
use crate::testing::{VOLATILE, World, done, failed, name};
use crate::{CreateVm, EditTpm, ErrorKind};
use vm_store::SectionKind;

fn request(snapshot: &str) -> TakeSnapshot {
    TakeSnapshot {
        name: name(snapshot),
        description: format!("about {snapshot}"),
    }
}

fn take(world: &World, vm: &str, snapshot: &str) {
    done(world.operations.take_snapshot(vm, request(snapshot)));
}

fn names(tree: &SnapshotTree) -> Vec<&str> {
    tree.snapshots.iter().map(|it| it.name.as_str()).collect()
}

/// The whole state of the TPM.
fn state(world: &World, vm: &str) -> Vec<u8> {
    let contents = world.operations.contents_for_tests(vm);
    contents.get(SectionKind::TPM_PERMANENT).unwrap().to_vec()
}

fn generation(world: &World, vm: &str) -> u64 {
    let vm = world.operations.inventory.vm(vm).unwrap().record;
    let datastore = world.operations.datastore_of(&vm).unwrap();
    let open = world.operations.files.open(&vm, &datastore, Some(0));
    open.unwrap().0.generation()
}

#[test]
fn reverting_a_vm_that_was_off_gives_its_tpm_back_as_another_instance() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    let before = world.operations.vm("web01").unwrap();
    let files = world.files_of("web01");
    take(&world, "web01", "clean");
    for (path, bytes) in files {
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{}", path.display());
    }
    let taken = state(&world, "web01");
    done(world.operations.power_on("web01", false));
    let id = before.id;
    let saved = world.machines.save(id);
    let task = done(world.operations.revert_vm("web01", "clean"));
    assert!(task.notes[0].contains("clean"), "{:?}", task.notes);
    let after = world.operations.vm("web01").unwrap();
    assert_eq!((after.id, after.power), (before.id, PowerState::Off));
    assert_ne!(after.instance_id, before.instance_id);
    assert_eq!(after.tpm.ek_name, before.tpm.ek_name);
    assert_eq!(after.snapshot_count, 1);
    let [revert] = after.reverts.as_slice() else {
        panic!("{:?}", after.reverts);
    };
    assert_eq!(revert.name, name("clean"));
    assert_eq!(
        (revert.from_instance, revert.to_instance),
        (before.instance_id, after.instance_id)
    );
    // The same secrets, not the same randomness; and a generation that no floor refuses.
    assert_eq!(state(&world, "web01")[..16], taken[..16]);
    assert_ne!(state(&world, "web01")[16..], taken[16..]);
    assert_eq!(generation(&world, "web01"), saved + 1);
    assert_eq!(
        world.operations.inventory.generation_floor(id).unwrap(),
        saved + 1
    );
    done(world.operations.power_on("web01", false));
}

#[test]
fn a_clone_of_a_snapshot_has_the_tpm_of_then_whether_the_source_runs_or_not() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    take(&world, "web01", "clean");
    let taken = state(&world, "web01");
    let snapshot = world.operations.snapshots("web01").unwrap().snapshots[0].id;
    done(world.operations.power_on("web01", false));
    world
        .machines
        .save(world.operations.vm("web01").unwrap().id);
    for on in [true, false] {
        if !on {
            done(world.operations.power_off("web01"));
        }
        let clone = format!("clone-{on}");
        let request = crate::CloneVm {
            snapshot: Some(snapshot),
            ..crate::testing::clone_request(&clone, None)
        };
        done(world.operations.clone_vm("web01", &request));
        assert_eq!(state(&world, &clone)[..16], taken[..16], "{clone}");
        assert_ne!(state(&world, &clone)[16..], taken[16..], "{clone}");
    }
    let request = crate::CloneVm {
        snapshot: Some(uuid::Uuid::nil()),
        ..crate::testing::clone_request("none", None)
    };
    let missing = world.operations.clone_vm("web01", &request);
    assert!(
        matches!(missing, Err(Error::NotFound { .. })),
        "{:?}",
        missing.err()
    );
}

#[test]
fn reverting_to_a_vm_that_was_on_powers_it_on_with_its_volatile_state() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    done(world.operations.power_on("web01", false));
    take(&world, "web01", "running");
    assert_eq!(
        world.operations.vm("web01").unwrap().power,
        PowerState::On,
        "a snapshot stops nothing"
    );
    done(world.operations.power_off("web01"));
    done(world.operations.revert_vm("web01", "running"));
    let vm = world.operations.vm("web01").unwrap();
    assert_eq!(vm.power, PowerState::On);
    let contents = world.operations.contents_for_tests("web01");
    assert_eq!(contents.get(SectionKind::TPM_VOLATILE), Some(VOLATILE));
    // And once more, from on to on.
    done(world.operations.revert_vm("web01", "running"));
    assert_eq!(world.operations.vm("web01").unwrap().reverts.len(), 2);
}

#[test]
fn snapshots_are_a_tree_with_the_present_state_somewhere_in_it() {
    let world = World::with_vcenter("8.0.3");
    world.create("vm");
    for snapshot in ["a", "b", "c"] {
        take(&world, "vm", snapshot);
    }
    done(world.operations.revert_vm("vm", "a"));
    take(&world, "vm", "d");
    let tree = world.operations.snapshots("vm").unwrap();
    assert_eq!(names(&tree), ["a", "b", "c", "d"]);
    let id = |name: &str| Some(tree.find(name).unwrap().id);
    let parents: Vec<_> = tree.snapshots.iter().map(|it| it.parent).collect();
    assert_eq!(parents, [None, id("a"), id("b"), id("a")]);
    assert_eq!(tree.current, id("d"));
    // By its id too; what followed it stays.
    done(
        world
            .operations
            .forget_snapshot("vm", &id("b").unwrap().to_string()),
    );
    let after = world.operations.snapshots("vm").unwrap();
    assert_eq!(names(&after), ["a", "c", "d"]);
    assert_eq!(after.find("c").unwrap().parent, id("a"));
    done(world.operations.revert_vm("vm", "c"));
    assert_eq!(world.files_of("vm").len(), 2 + 3);
}

#[test]
fn what_cannot_be_is_refused_by_rule_and_changes_nothing() {
    let world = World::with_vcenter("8.0.3");
    world.create("vm");
    take(&world, "vm", "s");
    let before = world.files();
    let refused = |outcome: Result<Job>, kind: ErrorKind, word: &str| {
        let error = outcome.err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    };
    let ops = &world.operations;
    refused(
        ops.take_snapshot("vm", request("s")),
        ErrorKind::Conflict,
        "the VM vm already has a snapshot called s",
    );
    refused(
        ops.revert_vm("vm", "../s"),
        ErrorKind::NotFound,
        "no snapshot `../s`",
    );
    refused(
        ops.forget_snapshot("vm", "none"),
        ErrorKind::NotFound,
        "no snapshot `none`",
    );
    refused(
        ops.take_snapshot("gone", request("s")),
        ErrorKind::NotFound,
        "no VM `gone`",
    );
    let mut hostile = request("t");
    hostile.description = "\u{1b}[2J".to_owned();
    refused(
        ops.take_snapshot("vm", hostile),
        ErrorKind::BadRequest,
        "control characters",
    );
    assert_eq!(world.files(), before);
}

#[test]
fn a_vm_without_a_tpm_has_snapshots_of_its_power_and_nothing_else() {
    let world = World::with_vcenter("8.0.3");
    let ops = &world.operations;
    done(ops.create_vm(CreateVm::named(name("vm"))));
    done(ops.power_on("vm", false));
    take(&world, "vm", "on");
    done(ops.power_off("vm"));
    take(&world, "vm", "off");
    let instance = ops.vm("vm").unwrap().instance_id;
    let files = world.files();
    done(ops.revert_vm("vm", "on"));
    assert_eq!(ops.vm("vm").unwrap().power, PowerState::On);
    done(ops.revert_vm("vm", "off"));
    let vm = ops.vm("vm").unwrap();
    assert_eq!((vm.power, vm.instance_id), (PowerState::Off, instance));
    assert_eq!(world.files(), files);
    done(ops.forget_snapshot("vm", "on"));
    assert_eq!(names(&ops.snapshots("vm").unwrap()), ["off"]);
    done(ops.forget_snapshots("vm"));
    assert_eq!(ops.vm("vm").unwrap().snapshot_count, 0);
}

#[test]
fn a_damaged_snapshot_is_refused_and_the_vm_keeps_running() {
    let world = World::with_vcenter("8.0.3");
    world.create("vm");
    take(&world, "vm", "s");
    done(world.operations.power_on("vm", false));
    let (path, bytes) = world
        .files_of("vm")
        .into_iter()
        .find(|(path, _)| path.extension() == Some("vmsn".as_ref()))
        .unwrap();
    let mut changed = bytes.clone();
    changed[120] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    let said = failed(world.operations.revert_vm("vm", "s"));
    assert!(said.contains(".vmsn"), "{said}");
    let vm = world.operations.vm("vm").unwrap();
    assert_eq!(vm.power, PowerState::On);
    assert!(vm.tpm.tcti.is_some(), "it was stopped");
    std::fs::remove_file(&path).unwrap();
    let said = failed(world.operations.revert_vm("vm", "s"));
    assert!(said.contains(".vmsn"), "{said}");
    // It can still be forgotten.
    done(world.operations.forget_snapshot("vm", "s"));
    assert_eq!(world.operations.vm("vm").unwrap().snapshot_count, 0);
}

#[test]
fn a_tpm_does_not_go_while_there_are_snapshots() {
    let world = World::with_vcenter("8.0.3");
    world.create("vm");
    take(&world, "vm", "s");
    let remove = EditTpm {
        present: false,
        provider: None,
        profile: None,
        confirm: true,
    };
    let error = world.operations.edit_tpm("vm", &remove).err().unwrap();
    assert!(error.to_string().contains("1 snapshots"), "{error}");
    done(world.operations.forget_snapshot("vm", "s"));
    done(world.operations.edit_tpm("vm", &remove));
}

#[test]
fn a_clone_has_no_snapshots_and_a_deleted_vm_leaves_none() {
    let world = World::with_vcenter("8.0.3");
    world.create("vm");
    take(&world, "vm", "s");
    world.clone_vm("vm", "twin", None);
    assert_eq!(world.operations.vm("twin").unwrap().snapshot_count, 0);
    assert_eq!(world.files_of("twin").len(), 2);
    done(world.operations.delete_vm("vm"));
    assert!(world.files_of("vm").is_empty());
    let left = world.operations.inventory.all::<SnapshotTree>().unwrap();
    assert!(left.is_empty());
}

/// Does `work` with the database dying at every transaction in turn, and checks what the next daemon makes of it.
fn killed_everywhere(
    prepare: impl Fn(&World),
    work: impl Fn(&Arc<Operations>) -> Result<Job>,
    check: impl Fn(&World),
) {
    let mut lives = 0;
    loop {
        let mut all_lived = true;
        for last_one_counts in [false, true] {
            let world = World::with_vcenter("8.0.3");
            world.create("vm");
            prepare(&world);
            let (world, died) = world.killed_at(lives + 1, last_one_counts, &work);
            all_lived &= !died;
            for task in world.operations.resume().unwrap() {
                assert_eq!(task.status, TaskStatus::Success, "{:?}", task.error);
            }
            let journal = world.operations.inventory.all::<JournalEntry>().unwrap();
            assert!(journal.is_empty(), "{journal:?}");
            check(&world);
            // The files and the records name the same snapshots.
            let tree = world.operations.snapshots("vm").unwrap();
            let mut recorded: Vec<String> = tree
                .snapshots
                .iter()
                .map(|it| format!("snapshot-{}.vmsn", it.id))
                .collect();
            recorded.sort();
            let found: Vec<String> = world
                .files_of("vm")
                .keys()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .filter(|file| file.starts_with("snapshot-"))
                .collect();
            assert_eq!(found, recorded, "{lives} {last_one_counts}");
        }
        if all_lived {
            assert!(lives >= 2, "{lives}");
            return;
        }
        lives += 1;
    }
}

#[test]
fn taking_a_snapshot_is_finished_or_undone_wherever_the_daemon_is_killed() {
    killed_everywhere(
        |_| {},
        |ops| ops.take_snapshot("vm", request("s")),
        |world| {
            let tree = world.operations.snapshots("vm").unwrap();
            if let Ok(snapshot) = tree.find("s") {
                assert_eq!(tree.current, Some(snapshot.id));
            } else {
                take(world, "vm", "s");
            }
        },
    );
}

#[test]
fn forgetting_a_snapshot_is_finished_wherever_the_daemon_is_killed() {
    killed_everywhere(
        |world| take(world, "vm", "s"),
        |ops| ops.forget_snapshot("vm", "s"),
        |world| {
            if world.operations.snapshots("vm").unwrap().find("s").is_ok() {
                done(world.operations.revert_vm("vm", "s"));
            }
        },
    );
}

#[test]
fn a_revert_has_happened_or_not_wherever_the_daemon_is_killed() {
    for running in [false, true] {
        killed_everywhere(
            |world| {
                if running {
                    done(world.operations.power_on("vm", false));
                }
                take(world, "vm", "s");
                take(world, "vm", "t");
            },
            |ops| ops.revert_vm("vm", "s"),
            |world| {
                let tree = world.operations.snapshots("vm").unwrap();
                let vm = world.operations.vm("vm").unwrap();
                let reverted = tree.current().unwrap().name == name("s");
                assert_eq!(reverted, tree.revert_count == 1);
                if reverted {
                    assert_eq!(tree.reverts[0].to_instance, vm.instance_id);
                }
                assert_eq!(vm.power == PowerState::On, running);
                done(world.operations.revert_vm("vm", "t"));
            },
        );
    }
}
