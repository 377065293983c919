//! Previews say what the operation says, and change nothing.

use super::*;
use crate::requirements::Failure;
use crate::{CreateVm, Fate, Preview, Rekey, TakeSnapshot};

/// What there is: files, tasks, and how far the audit log goes.
fn state(world: &World) -> (Vec<(std::path::PathBuf, Vec<u8>)>, usize, u64) {
    let files = world.files().into_iter().collect();
    let tasks = world.operations.tasks().unwrap().len();
    (
        files,
        tasks,
        world.operations.check_audit().unwrap().entries,
    )
}

/// The preview, and that it has changed nothing.
fn looked(world: &World, look: impl Fn(&World) -> Result<Preview>) -> Preview {
    let before = state(world);
    let preview = look(world).unwrap();
    assert!(
        state(world) == before,
        "{} changed something",
        preview.operation
    );
    assert_eq!(preview.possible, preview.failures.is_empty());
    preview
}

fn rules(preview: &Preview) -> Vec<Rule> {
    preview
        .failures
        .iter()
        .map(|failure: &Failure| failure.rule)
        .collect()
}

#[test]
fn each_operation_on_one_vm_is_foreseen_and_then_possible() {
    let world = acme("8.0.3");
    world.create("web");
    let ops = &world.operations;
    let take = TakeSnapshot {
        name: name("before"),
        description: String::new(),
    };
    let power =
        |to: PowerState| move |world: &World| world.operations.preview_power("web", to, false);

    let on = looked(&world, power(PowerState::On));
    assert_eq!((on.operation.as_str(), on.possible), ("power_on", true));
    assert_eq!(on.vms[0].effects.sealed_data, Fate::Kept);
    assert_eq!(
        rules(&looked(&world, power(PowerState::Off))),
        [Rule::PowerState]
    );
    done(ops.power_on("web", false));
    assert_eq!(
        rules(&looked(&world, power(PowerState::On))),
        [Rule::PowerState]
    );
    assert!(looked(&world, power(PowerState::Off)).possible);

    let gone = |world: &World| world.operations.preview_delete_vm("web");
    assert_eq!(rules(&looked(&world, gone)), [Rule::PowerState]);
    assert!(
        looked(&world, |world| world
            .operations
            .preview_take_snapshot("web", &take))
        .possible
    );
    done(ops.take_snapshot("web", take.clone()));
    let again = looked(&world, |world| {
        world.operations.preview_take_snapshot("web", &take)
    });
    assert_eq!(rules(&again), [Rule::Place]);
    let back = looked(&world, |world| {
        world.operations.preview_revert_vm("web", "before")
    });
    let effects = back.vms[0].effects;
    assert_eq!(
        (effects.ek_identity, effects.nv_indices),
        (Fate::Kept, Fate::Reverted)
    );
    assert_eq!(
        ops.preview_revert_vm("web", "nothing")
            .unwrap_err()
            .to_string(),
        ops.revert_vm("web", "nothing").err().unwrap().to_string(),
        "what is no rule is said in the same words"
    );
    let forget = looked(&world, |world| {
        world.operations.preview_forget_snapshot("web", "before")
    });
    assert_eq!(forget.vms[0].effects.snapshots, Fate::Lost);
    let deep = Rekey {
        provider: None,
        deep: true,
    };
    let deep = looked(&world, |world| {
        world.operations.preview_rekey_vm("web", &deep)
    });
    assert_eq!(rules(&deep), [Rule::PowerState, Rule::NoSnapshots]);
    done(ops.power_off("web"));
    let gone = looked(&world, gone);
    assert!(gone.possible && gone.vms[0].vm.is_none());
    assert_eq!(gone.vms[0].effects.ek_identity, Fate::Lost);
    assert_eq!(gone.vms[0].effects.snapshots, Fate::Lost);
    done(ops.delete_vm("web"));
    assert!(ops.preview_delete_vm("web").is_err());
}

#[test]
fn clones_and_new_vms_are_foreseen_with_every_rule_that_is_not_met() {
    let world = acme("7.0.3");
    world.create("web");
    let clone = |target: &str, tpm| {
        let request = crate::testing::clone_request(target, tpm);
        looked(&world, |world| {
            world.operations.preview_clone_vm("web", &request)
        })
    };
    let copied = clone("copy", COPY);
    assert_eq!(copied.vms[0].effects.ek_identity, Fate::Kept);
    assert_eq!(
        copied.vms[0].provider,
        world.operations.vm("web").unwrap().provider
    );
    // All at once: the choice, and the name.
    let mut both = rules(&clone("web", REPLACE));
    both.sort();
    assert_eq!(both, [Rule::TpmChoice, Rule::Place]);
    let new = |change: &dyn Fn(&mut CreateVm)| {
        let mut request = CreateVm {
            tpm: true,
            vcenter: Some(name("vc01")),
            ..CreateVm::named(name("new"))
        };
        change(&mut request);
        looked(&world, |world| world.operations.preview_create_vm(&request))
    };
    let made = new(&|_| ());
    assert_eq!(made.vms[0].effects.ek_identity, Fate::New);
    assert!(made.possible && made.vms[0].provider.is_some());
    let bios = new(&|request| {
        request.firmware = Some(crate::model::Firmware::Bios);
        request.hardware_version = Some(13);
    });
    assert_eq!(rules(&bios), [Rule::EfiFirmware, Rule::HardwareVersion]);
    assert_eq!(
        rules(&new(&|request| request.name = name("web"))),
        [Rule::Place]
    );
}

#[test]
fn a_clone_has_the_disks_and_the_hardware_of_its_source_and_goes_to_another_vcenter() {
    let world = acme("8.0.3");
    world.create("web");
    let ops = &world.operations;
    let disk = folder_of(&world, "web").join("web.vmdk");
    std::fs::write(&disk, b"what a guest has on its disk").unwrap();
    ops.change_vm_hardware("web", |hardware| hardware.cpus = 6)
        .unwrap();
    done(ops.power_on("web", false));
    let request = crate::testing::clone_request("copy", COPY);
    let refused = ops.clone_vm("web", &request).err().unwrap();
    assert!(
        refused.to_string().contains("disks change under the copy"),
        "{refused}"
    );
    done(ops.power_off("web"));
    done(ops.clone_vm("web", &request));
    let copied = std::fs::read(folder_of(&world, "copy").join("web.vmdk")).unwrap();
    assert_eq!(copied, std::fs::read(&disk).unwrap());
    assert_eq!(ops.vm_hardware("copy").unwrap().cpus, 6);
    // Across vCenters every rule between them counts (class P).
    world.add_vcenter("far", "8.0.3");
    let away = crate::CloneVm {
        vcenter: Some(name("far")),
        ..crate::testing::clone_request("away", COPY)
    };
    let away = looked(&world, |world| {
        world.operations.preview_clone_vm("web", &away)
    });
    let broken = rules(&away);
    assert!(
        broken.contains(&Rule::MutualTrust) && broken.contains(&Rule::SharedStorage),
        "{broken:?}"
    );
}

#[test]
fn who_only_looks_is_in_nobodys_way_and_says_who_is_in_theirs() {
    let world = acme("8.0.3");
    world.create("web");
    let ops = &world.operations;
    let ends = std::sync::Arc::new(|| Err(Error::Canceled));
    crate::acting::looking(ends, || {
        let (_vm, _looks) = ops.occupy_vm("web", "a look").unwrap();
        let other = || done(ops.power_on("web", false));
        std::thread::scope(|scope| scope.spawn(other).join().unwrap());
    });
    let (_vm, _busy) = ops.occupy_vm("web", "something").unwrap();
    let said = ops
        .preview_power("web", PowerState::Off, false)
        .unwrap_err();
    assert!(said.to_string().contains("something"), "{said}");
}

#[test]
fn a_choice_that_is_none_is_refused_also_where_there_is_no_tpm() {
    let world = acme("7.0.3");
    let ops = &world.operations;
    shop(&world);
    let only = vapp("plain", vec![new_vm("one", false), new_vm("two", false)]);
    done(ops.create_vapp(&only));
    // Not on vCenter 7, whoever is asked.
    let replaced = copy("new", None, REPLACE);
    assert_eq!(broken(ops.copy_vapp("plain", &replaced)), [Rule::TpmChoice]);
    assert_eq!(
        broken(ops.copy_vapp("shop", &replaced)),
        [Rule::TpmChoice; 2],
        "those with a TPM say it for the vApp"
    );
    // One choice for all is none for those without a TPM; one by name is a mistake.
    done(ops.copy_vapp("shop", &copy("new", None, COPY)));
    let mut by_name = copy("newer", None, None);
    by_name.vms.insert(name("log"), TpmProvisioning::Copy);
    assert_eq!(broken(ops.copy_vapp("shop", &by_name)), [Rule::TpmChoice]);
    let items = like("shop/log", COPY);
    assert_eq!(broken(ops.add_to_vapp("plain", &items)), [Rule::TpmChoice]);
    done(ops.add_to_vapp("plain", &like("shop/log", None)));
}

#[test]
fn a_rekeying_of_a_whole_provider_is_foreseen() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    done(ops.capture(&capture("shop", "gold", None)));
    done(ops.power_on("shop/web", false));
    let unsaved = CreateProvider::native(name("new"), Some(name("vc01")), false);
    ops.create_provider(unsaved).unwrap();
    let foreseen = |to: Option<&str>, deep: bool| {
        let request = RekeyAll {
            vcenter: Some(name("vc01")),
            to: to.map(name),
            deep,
        };
        let preview = looked(&world, |world| {
            world
                .operations
                .preview_rekey_provider(&name("kp1"), &request)
        });
        let refused = ops.rekey_provider(&name("kp1"), request);
        (preview, refused)
    };
    let (shallow, job) = foreseen(None, false);
    done(job);
    // Two of the vApp, two of the template.
    assert_eq!((shallow.vms.len(), shallow.possible), (4, true));
    let (deep, job) = foreseen(None, true);
    assert_eq!(rules(&deep), [Rule::PowerState]);
    failed(job);
    let (other, job) = foreseen(Some("new"), false);
    assert_eq!(rules(&other), [Rule::NativeProviderBackup]);
    assert_eq!(broken(job), [Rule::NativeProviderBackup]);
    assert!(other.vms.iter().all(|vm| vm.provider == Some(name("new"))));
}
