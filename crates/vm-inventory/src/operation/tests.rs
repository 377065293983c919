//! The operations on real files with a real provider; a TPM is random bytes.

use super::*;
use crate::model::{Firmware, PowerState};
use crate::provisioning::{TpmAction, TpmProvisioning};
use crate::requirements::Rule;
use crate::testing::{PASSWORD, World, clone_request, done, failed, name};

const COPY: Option<TpmProvisioning> = Some(TpmProvisioning::Copy);
const REPLACE: Option<TpmProvisioning> = Some(TpmProvisioning::Replace);

fn refused<T>(outcome: Result<T>) -> Error {
    outcome.err().unwrap()
}

fn rules(error: &Error) -> Vec<Rule> {
    match error {
        Error::Requirements { failures, .. } | Error::Rules { failures, .. } => {
            failures.iter().map(|failure| failure.rule).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_vm_is_created_with_a_new_tpm_in_encrypted_files() {
    let world = World::with_vcenter("7.0.3");
    let task = world.create("web01");
    assert_eq!(task.progress, 100);
    let vm = world.operations.vm("web01").unwrap();
    assert_eq!(vm.tpm.origin, Some(TpmAction::New));
    assert_eq!(vm.provider, Some(name("kp1")));
    assert_eq!(vm.power, PowerState::Off);
    let seed = world.seed("web01");
    for (path, bytes) in world.files_of("web01") {
        let found = bytes.windows(seed.len()).any(|window| window == seed);
        assert!(!found, "{} holds the seed in clear", path.display());
    }
    assert_eq!(world.files_of("web01").len(), 2);
}

#[test]
fn a_tpm_that_was_elsewhere_becomes_that_of_a_new_vm() {
    let world = World::with_vcenter("7.0.3");
    let state = TpmBytes::new([7; 32].to_vec());
    let adopt = |vm: CreateVm| {
        world.operations.adopt_tpm(AdoptTpm {
            vm,
            state: state.clone(),
        })
    };
    done(adopt(CreateVm::named(name("web01"))));
    let vm = world.operations.vm("web01").unwrap();
    assert_eq!(vm.tpm.origin, Some(TpmAction::Copy));
    assert_eq!(vm.tpm.source, None);
    assert_eq!(world.seed("web01"), [7; 16]);
    let ek_name = format!("000b{}", "07".repeat(16));
    assert_eq!(vm.tpm.ek_name, Some(ek_name));
    let contents = world.operations.contents_for_tests("web01");
    let kept = contents.get(vm_store::SectionKind::TPM_PERMANENT).unwrap();
    assert_ne!(kept, &**state, "it repeats no randomness");
    // A second one of the kind is a copy, which is worth a word.
    let task = done(adopt(CreateVm::named(name("web02"))));
    assert!(
        task.notes[0].contains("web01 has the same"),
        "{:?}",
        task.notes
    );
    assert_eq!(task.operation, "adopt_tpm");
}

#[test]
fn a_tpm_that_was_elsewhere_is_held_to_the_rules_of_new_ones() {
    let world = World::with_vcenter("8.0.3");
    let adopt = |vm: CreateVm, state: &[u8]| {
        let state = state.to_vec().into();
        refused(world.operations.adopt_tpm(AdoptTpm { vm, state }))
    };
    let state = [7; 32];
    let bios = CreateVm {
        firmware: Some(Firmware::Bios),
        ..CreateVm::named(name("web01"))
    };
    assert_eq!(rules(&adopt(bios, &state)), [Rule::EfiFirmware]);
    let other = CreateVm {
        profile: Some("default".to_owned()),
        ..CreateVm::named(name("web01"))
    };
    assert!(adopt(other, &state).to_string().contains("profile"));
    adopt(CreateVm::named(name("web01")), b"no TPM");
    assert!(world.operations.vms().unwrap().is_empty());
    assert!(
        world
            .operations
            .tasks()
            .unwrap()
            .iter()
            .all(|task| task.operation != "adopt_tpm")
    );
}

#[test]
fn a_clone_without_a_choice_copies_and_leaves_the_source_as_it_was() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    let before = world.files_of("web01");
    world.clone_vm("web01", "web02", None);
    assert_eq!(world.files_of("web01"), before);
    assert_eq!(world.seed("web01"), world.seed("web02"));
    let (source, copy) = (
        world.operations.vm("web01").unwrap(),
        world.operations.vm("web02").unwrap(),
    );
    assert_eq!(source.tpm.ek_name, copy.tpm.ek_name);
    assert_eq!(copy.tpm.origin, Some(TpmAction::Copy));
    assert_eq!(copy.tpm.source.unwrap().id, source.id);
    assert!(source.id != copy.id && source.instance_id != copy.instance_id);
}

#[test]
fn a_clone_inherits_the_key_id_of_its_source() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    world.clone_vm("web01", "copy", COPY);
    world.clone_vm("web01", "fresh", REPLACE);
    let locator = |vm: &str| {
        let path = world
            .folder
            .path()
            .join(format!("datastores/ds-vc01/{vm}/{vm}.vmx"));
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .find(|line| line.starts_with("encryption.keySafe"))
            .unwrap()
            .to_owned()
    };
    assert!(locator("web01").contains("/kp1/"));
    assert_eq!(locator("web01"), locator("copy"));
    assert_eq!(locator("web01"), locator("fresh"));
}

#[test]
fn replace_gives_a_new_tpm_and_needs_vcenter_8() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    world.clone_vm("web01", "web02", REPLACE);
    assert_ne!(world.seed("web01"), world.seed("web02"));
    let view = world.operations.vm("web02").unwrap();
    assert_eq!(view.tpm.origin, Some(TpmAction::Replace));
    assert_ne!(
        view.tpm.ek_name,
        world.operations.vm("web01").unwrap().tpm.ek_name
    );

    let world = World::with_vcenter("7.0.3");
    world.create("web01");
    let before = world.files();
    let error = refused(
        world
            .operations
            .clone_vm("web01", &clone_request("web02", REPLACE)),
    );
    assert_eq!(
        error.to_string(),
        "vsphere_clone is refused: web01: `replace` is not possible for the operation vsphere_clone on vCenter 7.0.3; possible: copy (rule 1.3)"
    );
    assert_eq!(world.files(), before);
    assert!(world.operations.vm("web02").is_err());
}

#[test]
fn a_running_vm_is_cloned_from_what_is_stored() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    done(world.operations.power_on("web01", false));
    world.clone_vm("web01", "web02", COPY);
    assert_eq!(world.seed("web01"), world.seed("web02"));
    assert_eq!(world.operations.vm("web02").unwrap().power, PowerState::Off);
}

#[test]
fn rules_that_fail_are_named_all_at_once_and_no_file_is_left() {
    let world = World::with_vcenter("8.0.3");
    let before = world.files();
    let error = refused(world.operations.create_vm(CreateVm {
        tpm: true,
        firmware: Some(Firmware::Bios),
        hardware_version: Some(13),
        guest: Some("freebsd14_64Guest".parse().unwrap()),
        ..CreateVm::named(name("bsd"))
    }));
    assert_eq!(
        rules(&error),
        [Rule::EfiFirmware, Rule::HardwareVersion, Rule::GuestFloor]
    );
    assert_eq!(error.kind(), crate::ErrorKind::Refused);
    assert!(error.to_string().contains("bsd"));
    assert_eq!(world.files(), before);
    assert!(world.operations.tasks().unwrap().is_empty());
}

#[test]
fn a_profile_is_checked_before_anything_is_recorded_and_is_for_a_tpm() {
    let world = World::with_vcenter("8.0.3");
    let before = world.files();
    let with = |tpm, profile: &str| CreateVm {
        tpm,
        profile: Some(profile.to_owned()),
        ..CreateVm::named(name("narrow"))
    };
    let error = refused(world.operations.create_vm(with(true, "nobody")));
    assert!(error.to_string().contains("there is no profile 'nobody'"));
    let error = refused(world.operations.create_vm(with(false, "default")));
    assert!(error.to_string().contains("ask for a TPM too"));
    assert_eq!(world.files(), before);
    assert!(world.operations.tasks().unwrap().is_empty());
    done(world.operations.create_vm(with(true, "default")));
    assert!(world.operations.vm("narrow").unwrap().tpm.present);
}

#[test]
fn the_same_vm_without_a_tpm_is_fine() {
    let world = World::with_vcenter("8.0.3");
    done(world.operations.create_vm(CreateVm {
        firmware: Some(Firmware::Bios),
        ..CreateVm::named(name("old"))
    }));
    let view = world.operations.vm("old").unwrap();
    assert!(!view.tpm.present && view.provider.is_none());
    world.clone_vm("old", "old2", None);
    done(world.operations.power_on("old", false));
    assert_eq!(world.operations.vm("old").unwrap().power, PowerState::On);
    assert!(world.operations.resume().unwrap().is_empty());
    refused(world.operations.delete_vm("old"));
    done(world.operations.power_off("old"));
    done(world.operations.delete_vm("old"));
    assert!(world.files_of("old").is_empty());
}

#[test]
fn a_provider_that_was_never_backed_up_is_refused_until_it_is() {
    let world = World::with_vcenter("8.0.3");
    let ops = &world.operations;
    let made = ops
        .create_provider(CreateProvider::native(name("kp2"), None, false))
        .unwrap();
    assert_eq!(
        (made.status.as_str(), made.default),
        ("not-backed-up", false)
    );
    let request = || CreateVm {
        tpm: true,
        provider: Some(name("kp2")),
        ..CreateVm::named(name("vm"))
    };
    let error = refused(ops.create_vm(request()));
    assert_eq!(rules(&error), [Rule::NativeProviderBackup]);
    assert!(
        error.to_string().contains("vtpm provider backup kp2"),
        "{error}"
    );
    ops.back_up_provider(None, &name("kp2"), PASSWORD).unwrap();
    done(ops.create_vm(request()));
}

#[test]
fn without_any_provider_the_rule_is_named() {
    let world = World::empty();
    world
        .operations
        .create_vcenter(CreateVCenter {
            name: name("vc02"),
            version: "8.0.3".parse().unwrap(),
        })
        .unwrap();
    world
        .operations
        .create_datastore(name("ds"), vec![name("vc02")])
        .unwrap();
    let error = refused(world.operations.create_vm(CreateVm {
        tpm: true,
        ..CreateVm::named(name("vm"))
    }));
    assert_eq!(rules(&error), [Rule::KeyProvider]);
}

#[test]
fn names_are_unique_on_a_vcenter_and_free_again_after_deletion() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    let again = refused(world.operations.create_vm(CreateVm::named(name("web01"))));
    assert!(matches!(again, Error::Exists { .. }), "{again}");
    let clone = refused(
        world
            .operations
            .clone_vm("web01", &clone_request("web01", None)),
    );
    assert!(matches!(clone, Error::Exists { .. }), "{clone}");
    done(world.operations.delete_vm("web01"));
    assert!(world.files_of("web01").is_empty());
    assert!(matches!(
        refused(world.operations.vm("web01")),
        Error::NotFound { .. }
    ));
    world.create("web01");
}

#[test]
fn one_name_on_two_vcenters_needs_an_id() {
    let world = World::with_vcenter("8.0.3");
    world.add_vcenter("vc02", "7.0.3");
    assert!(matches!(
        refused(world.operations.create_vm(CreateVm::named(name("a")))),
        Error::ChoiceNeeded { .. }
    ));
    for vcenter in ["vc01", "vc02"] {
        done(world.operations.create_vm(CreateVm {
            vcenter: Some(name(vcenter)),
            ..CreateVm::named(name("twin"))
        }));
    }
    let error = refused(world.operations.vm("twin"));
    let Error::Ambiguous { ids, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(ids.len(), 2);
    world.operations.vm(&ids[0].to_string()).unwrap();
}

#[test]
fn a_foreign_folder_of_the_same_name_is_left_alone() {
    let world = World::with_vcenter("8.0.3");
    let foreign = world.folder.path().join("datastores/ds-vc01/web01");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("disk.vmdk"), b"precious").unwrap();
    world.create("web01");
    assert_eq!(
        world.operations.vm("web01").unwrap().folder,
        name("web01_1")
    );
    done(world.operations.delete_vm("web01"));
    assert_eq!(
        std::fs::read(foreign.join("disk.vmdk")).unwrap(),
        b"precious"
    );
}

#[test]
fn a_running_vm_is_neither_deleted_nor_started_again() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    done(world.operations.power_on("web01", false));
    assert!(world.operations.vm("web01").unwrap().tpm.tcti.is_some());
    assert!(matches!(
        refused(world.operations.delete_vm("web01")),
        Error::Power { .. }
    ));
    assert!(matches!(
        refused(world.operations.power_on("web01", false)),
        Error::Power { .. }
    ));
    done(world.operations.power_off("web01"));
    assert!(world.operations.vm("web01").unwrap().tpm.tcti.is_none());
    assert!(matches!(
        refused(world.operations.power_off("web01")),
        Error::Power { .. }
    ));
    done(world.operations.delete_vm("web01"));
}

#[test]
fn two_operations_on_one_vm_do_not_meet() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    let first = world.operations.power_on("web01", false).unwrap();
    let error = refused(world.operations.delete_vm("web01"));
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    drop(first);
    done(world.operations.delete_vm("web01"));
}

#[test]
fn vms_that_were_on_are_on_again_after_a_kill_and_after_an_orderly_stop() {
    for orderly in [false, true] {
        let world = World::with_vcenter("8.0.3");
        world.create("web01");
        world.create("web02");
        done(world.operations.power_on("web01", false));
        if orderly {
            assert_eq!(world.operations.shut_down(), []);
        }
        let world = world.reopen();
        let started = world.operations.resume().unwrap();
        assert_eq!(started.len(), 1);
        assert!(world.operations.vm("web01").unwrap().tpm.tcti.is_some());
        assert!(world.operations.vm("web02").unwrap().tpm.tcti.is_none());
    }
}

#[test]
fn older_files_put_back_are_refused_unless_accepted() {
    let world = World::with_vcenter("8.0.3");
    world.create("web01");
    let id = world.operations.vm("web01").unwrap().id;
    let old = world.files_of("web01");
    done(world.operations.power_on("web01", false));
    let acknowledged = [(); 5].map(|()| world.machines.save(id))[4];
    // Killed at once: nobody had the time to keep house.
    world.machines.kill();
    let world = world.reopen();
    // Both files of an earlier day, which fit each other.
    for (path, bytes) in old.iter().filter(|(path, _)| path.is_file()) {
        std::fs::write(path, bytes).unwrap();
    }
    let ended = world.operations.resume().unwrap();
    let detail = ended[0].error.as_ref().unwrap().detail.clone();
    assert!(
        detail.contains(&acknowledged.to_string()) && detail.contains("--accept-rollback"),
        "{detail}"
    );
    assert_eq!(world.operations.vm("web01").unwrap().power, PowerState::Off);
    let detail = failed(world.operations.power_on("web01", false));
    assert!(detail.contains("web01"), "{detail}");
    // A clone would carry the old state away.
    assert!(
        failed(
            world
                .operations
                .clone_vm("web01", &clone_request("web02", COPY))
        )
        .contains("--accept-rollback")
    );
    let task = done(world.operations.power_on("web01", true));
    assert!(task.notes[0].contains("older state"));
    done(world.operations.power_off("web01"));
    done(world.operations.power_on("web01", false));
}

#[test]
fn a_provider_is_restored_from_its_backup_elsewhere() {
    let world = World::with_vcenter("8.0.3");
    let backup = world
        .operations
        .back_up_provider(None, &name("kp1"), PASSWORD)
        .unwrap();
    world
        .operations
        .create_vcenter(CreateVCenter {
            name: name("vc02"),
            version: "8.0.3".parse().unwrap(),
        })
        .unwrap();
    let restore = |provider: &str, password: &str| {
        world.operations.restore_provider(RestoreProvider {
            name: name(provider),
            vcenter: Some(name("vc02")),
            default: false,
            backup: &backup.bytes,
            password,
        })
    };
    assert!(restore("kp1", "wrong").is_err());
    assert!(restore("other", PASSWORD).is_err());
    let view = restore("kp1", PASSWORD).unwrap();
    assert_eq!((view.status.as_str(), view.default), ("active", true));
    assert!(matches!(
        refused(restore("kp1", PASSWORD)),
        Error::Exists { .. }
    ));
}

#[test]
fn creation_and_cloning_cut_short_are_undone_or_done() {
    for last_one_counts in [false, true] {
        for lives in 1..20 {
            let world = World::with_vcenter("8.0.3");
            world.create("web01");
            let before = world.files();
            let (world, died) = world.killed_at(lives, last_one_counts, |operations| {
                operations.clone_vm("web01", &clone_request("web02", COPY))
            });
            match world.operations.vm("web02") {
                Ok(_) => assert_eq!(world.seed("web01"), world.seed("web02")),
                Err(_) => assert_eq!(world.files(), before, "killed at {lives}"),
            }
            assert!(
                world
                    .operations
                    .tasks()
                    .unwrap()
                    .iter()
                    .all(Task::is_finished)
            );
            assert!(
                world
                    .operations
                    .inventory()
                    .all::<JournalEntry>()
                    .unwrap()
                    .is_empty()
            );
            world.seed("web01");
            if world.operations.vm("web02").is_err() {
                world.clone_vm("web01", "web02", REPLACE);
            }
            if !died {
                assert!(lives > 1);
                break;
            }
        }
    }
}

#[test]
fn deletion_cut_short_is_finished_or_did_not_begin() {
    for last_one_counts in [false, true] {
        for lives in 1..20 {
            let world = World::with_vcenter("8.0.3");
            world.create("web01");
            let before = world.files();
            let (world, died) = world.killed_at(lives, last_one_counts, |operations| {
                operations.delete_vm("web01")
            });
            match world.operations.vm("web01") {
                Ok(_) => assert_eq!(world.files(), before, "killed at {lives}"),
                Err(_) => assert!(world.files_of("web01").is_empty()),
            }
            assert!(
                world
                    .operations
                    .inventory()
                    .all::<JournalEntry>()
                    .unwrap()
                    .is_empty()
            );
            if world.operations.vm("web01").is_err() {
                world.create("web01");
            }
            if !died {
                break;
            }
        }
    }
}

#[test]
fn a_job_that_panics_is_undone_and_says_so() {
    let world = World::with_vcenter("8.0.3");
    let before = world.files();
    let mut job = world
        .operations
        .create_vm(CreateVm {
            tpm: true,
            ..CreateVm::named(name("web01"))
        })
        .unwrap();
    job.work = Box::new(|_, _| panic!("a defect"));
    let task = job.run();
    assert!(task.error.unwrap().detail.contains("a defect"));
    assert_eq!(world.files(), before);
    world.create("web01");
}
