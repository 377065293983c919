use super::rekey::{Rekey, RekeyAll};
use super::{CreateProvider, Operations};
use crate::model::PowerState;
use crate::testing::{PASSWORD, World, done, failed, name};
use crate::{Error, Job, Result};
use std::fs;
use std::sync::Arc;

fn to(provider: &str, deep: bool) -> Rekey {
    Rekey {
        provider: Some(name(provider)),
        deep,
    }
}

fn key_of(world: &World, vm: &str) -> String {
    world.operations.vm(vm).unwrap().key_id.unwrap()
}

/// A world with a second provider, `kp2`, that is backed up.
fn world() -> World {
    let world = World::with_vcenter("8.0.3");
    let ops = &world.operations;
    ops.create_provider(CreateProvider::native(name("kp2"), None, false))
        .unwrap();
    ops.back_up_provider(None, &name("kp2"), PASSWORD).unwrap();
    world
}

#[test]
fn a_shallow_rekey_leaves_the_state_alone_whether_the_vm_runs_or_not() {
    let world = world();
    world.create("vm");
    for running in [false, true] {
        if running {
            done(world.operations.power_on("vm", false));
        }
        let (before, key, seed) = (world.files_of("vm"), key_of(&world, "vm"), world.seed("vm"));
        done(world.operations.rekey_vm("vm", Rekey::default()));
        let after = world.files_of("vm");
        assert_ne!(key_of(&world, "vm"), key);
        assert_eq!(world.seed("vm"), seed);
        for (path, bytes) in &before {
            let same = after.get(path) == Some(bytes);
            let settings = path.extension() == Some("vmx".as_ref());
            assert_eq!(same, !settings, "{}", path.display());
        }
    }
    done(world.operations.power_off("vm"));
    done(world.operations.power_on("vm", false));
}

#[test]
fn a_deep_rekey_needs_the_vm_off_and_seals_the_state_anew() {
    let world = world();
    world.create("vm");
    done(world.operations.power_on("vm", false));
    let refused = world.operations.rekey_vm("vm", to("kp2", true));
    assert!(matches!(refused.err(), Some(Error::Power { .. })));
    done(world.operations.power_off("vm"));
    let (before, seed) = (world.files_of("vm"), world.seed("vm"));
    done(world.operations.rekey_vm("vm", to("kp2", true)));
    let after = world.files_of("vm");
    let state = |files: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        let mut files = files.clone();
        files.retain(|path, _| path.extension() == Some("nvram".as_ref()));
        files
    };
    assert_ne!(state(&before), state(&after));
    assert_eq!(world.seed("vm"), seed);
    let vm = world.operations.vm("vm").unwrap();
    assert_eq!(vm.provider, Some(name("kp2")));
    done(world.operations.power_on("vm", false));
}

#[test]
fn a_rekey_to_a_provider_that_may_hold_no_keys_is_refused() {
    let world = World::with_vcenter("8.0.3");
    world.create("vm");
    let ops = &world.operations;
    ops.create_provider(CreateProvider::native(name("kp2"), None, false))
        .unwrap();
    let before = world.files();
    let refused = ops.rekey_vm("vm", to("kp2", false)).err();
    assert!(matches!(refused, Some(Error::Requirements { .. })));
    let refused = ops.rekey_vm("vm", to("kp3", false)).err();
    assert!(matches!(refused, Some(Error::NoProvider { .. })));
    let refused = ops.rekey_provider(&name("kp3"), RekeyAll::default()).err();
    assert!(matches!(refused, Some(Error::NoProvider { .. })));
    assert_eq!(world.files(), before);
}

/// Kills the work at each of its transactions; afterwards records and files agree, and every VM opens.
fn killed_everywhere(work: impl Fn(&Arc<Operations>) -> Result<Job>, all: bool) {
    for last_one_counts in [false, true] {
        for lives in 1.. {
            let world = world();
            let vms = ["a", "b", "c"];
            for vm in vms {
                world.create(vm);
            }
            let seeds = vms.map(|vm| world.seed(vm));
            let (world, died) = world.killed_at(lives, last_one_counts, &work);
            for job in world.operations.resume_rekeyings().unwrap() {
                let task = job.run();
                assert_eq!(task.error, None, "{lives}");
            }
            assert!(world.operations.resume_rekeyings().unwrap().is_empty());
            let moved = vms.map(|vm| {
                let view = world.operations.vm(vm).unwrap();
                let locator = view.key_id.unwrap();
                done(world.operations.unlock_vm(vm));
                (view.provider == Some(name("kp2")), locator)
            });
            assert_eq!(vms.map(|vm| world.seed(vm)), seeds, "{lives}");
            let count = moved.iter().filter(|(moved, _)| *moved).count();
            if all {
                assert!(count == 0 || count == vms.len(), "{lives}: {moved:?}");
                assert!(count == 0 || moved[0].1 == moved[2].1, "{lives}: {moved:?}");
            }
            for task in world.operations.tasks().unwrap() {
                assert!(task.is_finished(), "{lives}: {task:?}");
            }
            if !died {
                assert!(count > 0);
                break;
            }
        }
    }
}

#[test]
fn a_rekey_that_is_killed_has_happened_or_not() {
    killed_everywhere(|ops| ops.rekey_vm("b", to("kp2", false)), false);
}

#[test]
fn a_rekey_of_all_vms_that_is_killed_goes_on_at_the_next_start() {
    for deep in [false, true] {
        let request = RekeyAll {
            vcenter: None,
            to: Some(name("kp2")),
            deep,
        };
        killed_everywhere(
            |ops| ops.rekey_provider(&name("kp1"), request.clone()),
            true,
        );
    }
}

#[test]
fn a_rekey_of_all_vms_names_those_that_keep_their_key_and_changes_the_others() {
    let world = world();
    for vm in ["a", "b"] {
        world.create(vm);
    }
    done(world.operations.power_on("a", false));
    let request = RekeyAll {
        vcenter: None,
        to: Some(name("kp2")),
        deep: true,
    };
    let error = failed(world.operations.rekey_provider(&name("kp1"), request));
    assert!(
        error.contains("1 of 2 VMs") && error.contains("a: "),
        "{error}"
    );
    let provider = |vm| world.operations.vm(vm).unwrap().provider;
    assert_eq!(provider("a"), Some(name("kp1")));
    assert_eq!(provider("b"), Some(name("kp2")));
    assert!(world.operations.resume_rekeyings().unwrap().is_empty());
}

#[test]
fn a_vm_whose_provider_is_gone_is_locked_until_its_backup_is_restored() {
    let world = world();
    world.create("vm");
    let key = key_of(&world, "vm");
    let file = world.folder.path().join("providers/vc01/kp1.provider.json");
    let aside = world.folder.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    let before = world.files();
    let error = failed(world.operations.power_on("vm", false));
    for word in ["vm is locked", "kp1", key.as_str(), "vtpm vm unlock vm"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    let vm = world.operations.vm("vm").unwrap();
    assert_eq!(vm.power, PowerState::Off);
    let locked = vm.locked.unwrap();
    assert_eq!((locked.provider.as_str(), locked.key_id), ("kp1", key));
    let status = world
        .operations
        .provider_status(None, &name("kp1"))
        .unwrap();
    assert_eq!(status.locked, [name("vm")]);
    failed(world.operations.unlock_vm("vm"));
    assert_eq!(world.files(), before);

    // Another provider under the same name has other keys.
    fs::copy(
        world.folder.path().join("providers/vc01/kp2.provider.json"),
        &file,
    )
    .unwrap();
    let error = failed(world.operations.unlock_vm("vm"));
    assert!(error.contains("kp1"), "{error}");
    fs::rename(&aside, &file).unwrap();
    done(world.operations.unlock_vm("vm"));
    assert_eq!(world.operations.vm("vm").unwrap().locked, None);
    done(world.operations.power_on("vm", false));
}

#[test]
fn who_looks_for_locks_leaves_a_vm_alone_that_an_operation_is_at() {
    let world = world();
    world.create("vm");
    let file = world.folder.path().join("providers/vc01/kp1.provider.json");
    let aside = world.folder.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    failed(world.operations.power_on("vm", false));
    fs::rename(&aside, &file).unwrap();
    let accepted = world.operations.power_on("vm", false);
    // The key is back, which changes the record that the operation has read.
    world.operations.look_for_all_locks().unwrap();
    assert!(world.operations.vm("vm").unwrap().locked.is_some());
    done(accepted);
    assert_eq!(world.operations.vm("vm").unwrap().locked, None);
}

#[test]
fn the_keys_of_a_provider_are_listed_with_their_vms() {
    let world = world();
    world.create("a");
    world.create("b");
    world.clone_vm("a", "copy", None);
    let keys = world.operations.provider_keys(None, &name("kp1")).unwrap();
    assert_eq!(keys.len(), 2);
    let of_a = keys
        .iter()
        .find(|key| key.vms.contains(&name("a")))
        .unwrap();
    assert_eq!(of_a.vms, [name("a"), name("copy")]);
    assert_eq!(of_a.key_id, key_of(&world, "copy"));
    assert!(
        world
            .operations
            .provider_keys(None, &name("kp2"))
            .unwrap()
            .is_empty()
    );
}
