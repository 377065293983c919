//! VMs that are encrypted for themselves, in vApps, templates, between vCenters and through crashes.

use super::*;
use crate::EncryptVm;

fn encrypt(world: &World, vm: &str) {
    done(world.operations.encrypt_vm(vm, EncryptVm::default()));
}

/// Whether a VM is encrypted for itself, and whose key it is under.
fn key_of(world: &World, vm: &str) -> (bool, Option<String>) {
    let vm = world.operations.vm(vm).unwrap();
    (vm.encrypted, vm.provider.map(|it| it.to_string()))
}

#[test]
fn a_vm_without_a_tpm_crosses_with_its_key_or_not_at_all() {
    let world = acme("8.0.3");
    shop(&world);
    encrypt(&world, "shop/log");
    second(&world, "8.0.3", Second::OtherName);
    let ops = &world.operations;
    ops.share_datastore(&name("ds-vc01"), &name("vc02"))
        .unwrap();
    let before = world.files();
    let far = copy("far", Some("vdc2"), None);
    // The other two have TPMs.
    let refused = broken(ops.copy_vapp("shop", &far));
    assert_eq!(refused, vec![Rule::ProviderOnTarget; 3]);
    assert_eq!(world.files(), before);
    restore(&world, "vc02");
    done(ops.copy_vapp("shop", &far));
    assert_eq!(key_of(&world, "far/log"), (true, Some("kp1".to_owned())));
    assert_eq!(locator(&world, "far/log"), locator(&world, "shop/log"));
    assert_disk(&world, "far/log", "log");
    done(ops.power_on("far/log", false));
    done(ops.move_vapp("shop", &moved("vdc2", None, true)));
    assert_eq!(key_of(&world, "shop/log"), (true, Some("kp1".to_owned())));
    done(ops.power_on("shop/log", false));
}

#[test]
fn a_template_that_replaces_takes_it_under_the_key_of_the_other_side() {
    let world = acme("8.0.3");
    shop(&world);
    encrypt(&world, "shop/log");
    second(&world, "8.0.3", Second::OtherName);
    let ops = &world.operations;
    done(ops.capture(&capture("shop", "gold", REPLACE)));
    ops.share_datastore(&name("ds-vc01"), &name("vc02"))
        .unwrap();
    done(ops.instantiate("gold", &instance("far", "vdc2", None)));
    assert_eq!(key_of(&world, "far/log"), (true, Some("kp2".to_owned())));
    done(ops.power_on("far/log", false));
    done(ops.instantiate("gold", &instance("near", "vdc1", None)));
    assert_eq!(key_of(&world, "near/log"), (true, Some("kp1".to_owned())));
}

#[test]
fn a_provider_is_needed_by_vms_that_are_unregistered_too() {
    let world = World::with_vcenter("8.0.3");
    world.create("vm");
    let ops = &world.operations;
    let vm = ops.vm("vm").unwrap();
    let (vcenter, provider) = (vm.vcenter.clone(), vm.provider.clone().unwrap());
    ops.unregister_vm("vm").unwrap();
    let used = ops.remove_provider(&vcenter, &provider).unwrap_err();
    assert!(used.to_string().contains("1 VMs"), "{used}");
    done(ops.register_vm(&vcenter, &vm.datastore, &vm.folder, None));
    done(ops.delete_vm("vm"));
    ops.remove_provider(&vcenter, &provider).unwrap();
}

#[test]
fn a_crash_while_a_vm_is_encrypted_or_decrypted_leaves_it_one_or_the_other() {
    for last_one_counts in [false, true] {
        for lives in 1..=3 {
            let world = World::with_vcenter("8.0.3");
            done(world.operations.create_vm(create("vm", "ubuntu64Guest")));
            let edit = EditTpm {
                present: false,
                provider: None,
                profile: None,
                confirm: true,
            };
            if world.operations.vm("vm").unwrap().tpm.present {
                done(world.operations.edit_tpm("vm", &edit));
            }
            let (world, _) = world.killed_at(lives, last_one_counts, |ops| {
                ops.encrypt_vm("vm", EncryptVm::default())
            });
            if !key_of(&world, "vm").0 {
                assert_eq!(key_of(&world, "vm").1, None);
                encrypt(&world, "vm");
            }
            done(world.operations.power_on("vm", false));
            done(world.operations.power_off("vm"));
            let add = EditTpm {
                present: true,
                ..edit.clone()
            };
            let (world, _) =
                world.killed_at(lives, last_one_counts, |ops| ops.edit_tpm("vm", &add));
            assert!(key_of(&world, "vm").0);
            if !world.operations.vm("vm").unwrap().tpm.present {
                done(world.operations.edit_tpm("vm", &add));
            }
            done(world.operations.power_on("vm", false));
            done(world.operations.power_off("vm"));
            let (world, _) =
                world.killed_at(lives, last_one_counts, |ops| ops.edit_tpm("vm", &edit));
            assert!(key_of(&world, "vm").0);
            if world.operations.vm("vm").unwrap().tpm.present {
                done(world.operations.edit_tpm("vm", &edit));
            }
            let (world, _) = world.killed_at(lives, last_one_counts, |ops| ops.decrypt_vm("vm"));
            if key_of(&world, "vm").0 {
                done(world.operations.decrypt_vm("vm"));
            }
            assert_eq!(key_of(&world, "vm"), (false, None));
            done(world.operations.power_on("vm", false));
            for task in world.operations.tasks().unwrap() {
                assert!(task.is_finished());
            }
        }
    }
}

#[test]
fn encryption_begins_and_ends_without_snapshots_only() {
    let world = acme("8.0.3");
    shop(&world);
    let ops = &world.operations;
    let take = || {
        let request = TakeSnapshot {
            name: name("s"),
            description: String::new(),
        };
        done(ops.take_snapshot("shop/log", request));
    };
    take();
    assert_eq!(
        broken(ops.encrypt_vm("shop/log", EncryptVm::default())),
        [Rule::NoSnapshots]
    );
    done(ops.forget_snapshot("shop/log", "s"));
    done(ops.encrypt_vm("shop/log", EncryptVm::default()));
    take();
    assert_eq!(broken(ops.decrypt_vm("shop/log")), [Rule::NoSnapshots]);
    done(ops.forget_snapshot("shop/log", "s"));
    done(ops.decrypt_vm("shop/log"));
}
