//! Scenarios 1 to 5: who may get a TPM.

use super::*;

#[test]
fn scenario_1_a_windows_vm_gets_a_new_tpm_and_its_disks_stay_plain() {
    let world = World::with_vcenter("7.0.3");
    let mut request = create("win", "windows2019srv_64Guest");
    request.hardware_version = Some(14);
    done(world.operations.create_vm(request));
    add_disk(&world, "win", "plain");
    assert_eq!(
        world.operations.vm("win").unwrap().tpm.origin,
        Some(TpmAction::New)
    );
    done(
        world
            .operations
            .clone_vm("win", &clone_request("win2", None)),
    );
    assert_disk(&world, "win", "plain");
    assert_eq!(world.seed("win"), world.seed("win2"));
}

#[test]
fn scenario_2_bios_and_old_hardware_are_refused_by_name_and_leave_no_file() {
    let world = acme("7.0.3");
    let mut item = new_vm("web", true);
    if let Some(new) = &mut item.new {
        new.firmware = Some(crate::model::Firmware::Bios);
        new.hardware_version = Some(13);
    }
    let before = world.files();
    let rules = broken(
        world
            .operations
            .create_vapp(&vapp("shop", vec![item, new_vm("db", true)])),
    );
    assert_eq!(rules, [Rule::EfiFirmware, Rule::HardwareVersion]);
    assert_eq!(world.files(), before);
    assert!(world.operations.vapps().unwrap().is_empty());
}

#[test]
fn scenario_3_and_scenario_4_guests_and_versions() {
    let old = World::with_vcenter("7.0.1.0");
    // A native provider needs 7.0.2 itself, so the rule about the guest is looked at alone.
    let rules = |guest: &str| broken(old.operations.create_vm(create("vm", guest)));
    assert!(rules("ubuntu64Guest").contains(&Rule::VcenterForGuest));
    assert!(!rules("windows9_64Guest").contains(&Rule::VcenterForGuest));
    let new = World::with_vcenter("7.0.2.0");
    done(new.operations.create_vm(create("linux", "ubuntu64Guest")));
    for guest in ["winVistaGuest", "freebsd14_64Guest"] {
        assert_eq!(
            broken(new.operations.create_vm(create("vm", guest))),
            [Rule::GuestFloor]
        );
    }
    for (vm, guest) in [
        ("seven", "windows7_64Guest"),
        ("2008", "winLonghorn64Guest"),
    ] {
        done(new.operations.create_vm(create(vm, guest)));
    }
}

#[test]
fn scenario_5_a_tpm_needs_a_provider_that_was_backed_up() {
    let world = World::empty();
    let ops = &world.operations;
    ops.create_vcenter(CreateVCenter {
        name: name("vc01"),
        version: "8.0.3".parse().unwrap(),
    })
    .unwrap();
    ops.create_datastore(name("ds"), vec![name("vc01")])
        .unwrap();
    done(ops.create_vm(CreateVm::named(name("web"))));
    let add = EditTpm {
        present: true,
        provider: None,
        profile: None,
        confirm: false,
    };
    assert_eq!(broken(ops.edit_tpm("web", &add)), [Rule::KeyProvider]);
    ops.create_provider(CreateProvider::native(name("kp1"), None, false))
        .unwrap();
    assert_eq!(
        broken(ops.edit_tpm("web", &add)),
        [Rule::NativeProviderBackup]
    );
    ops.back_up_provider(None, &name("kp1"), PASSWORD).unwrap();
    done(ops.edit_tpm("web", &add));
    assert!(ops.vm("web").unwrap().tpm.present);
    done(ops.power_on("web", false));
}
