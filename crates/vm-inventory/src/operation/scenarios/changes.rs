//! Names, marks, settings, and what takes several operations.

use super::*;
use crate::model::Firmware;

fn power_of(world: &World, vm: &str) -> PowerState {
    world.operations.vm(vm).unwrap().power
}

#[test]
fn a_vm_is_renamed_on_or_off_and_its_name_is_free_again() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    done(ops.create_vm(create("one", "ubuntu64Guest")));
    done(ops.create_vm(create("two", "ubuntu64Guest")));
    done(ops.power_on("one", false));
    let id = ops.vm("one").unwrap().id;
    assert!(message(ops.rename_vm("one", &name("two"))).contains("vCenter vc01 already has a VM"));
    done(ops.rename_vm("one", &name("uno")));
    done(ops.rename_vm("uno", &name("uno")));
    assert!(ops.vm("one").is_err());
    assert_eq!(ops.vm("uno").unwrap().id, id);
    let settings = || {
        let folder = folder_of(&world, "uno");
        std::fs::read_to_string(folder.join("one.vmx")).unwrap()
    };
    assert!(
        settings().contains("displayName = \"uno\""),
        "{}",
        settings()
    );
    done(ops.power_off("uno"));
    done(ops.rename_vm("uno", &name("eins")));
    done(ops.power_on("eins", false));
    done(ops.power_off("eins"));
    done(ops.create_vm(create("one", "ubuntu64Guest")));
    assert!(message(ops.rename_vm("shop/web", &name("db"))).contains("the vApp acme/shop already"));
    done(ops.rename_vm("shop/web", &name("www")));
    assert!(ops.vm("shop/www").is_ok() && ops.vm("shop/web").is_err());
}

#[test]
fn vapps_templates_and_catalogs_are_renamed_with_what_is_in_them() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    done(ops.create_vapp(&vapp("other", vec![])));
    assert!(message(ops.rename_vapp("shop", &name("other"))).contains("already has a vApp"));
    done(ops.power_on("shop/web", false));
    done(ops.rename_vapp("shop", &name("store")));
    assert!(ops.vapp("shop").is_err());
    let web = ops.vm("store/web").unwrap();
    assert_eq!(web.vapp.unwrap().name, name("store"));
    done(ops.power_vapp("store", PowerState::Off));

    done(ops.capture(&capture("store", "gold", None)));
    done(ops.capture(&capture("store", "silver", None)));
    assert!(
        message(ops.rename_template("gold", &name("silver"))).contains("already has a template")
    );
    done(ops.rename_template("gold", &name("best")));
    assert!(ops.delete_catalog("shelf").is_err());
    add_catalog(&world, "second", "vdc1");
    assert!(ops.rename_catalog("shelf", &name("second")).is_err());
    ops.rename_catalog("shelf", &name("rack")).unwrap();
    done(ops.instantiate("rack/best", &instance("fresh", "vdc1", None)));
    ops.delete_catalog("second").unwrap();
    let left: Vec<_> = ops.catalogs().unwrap();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_template_of_vsphere_is_cloned_and_not_powered_on() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    done(ops.create_vm(create("base", "ubuntu64Guest")));
    ops.mark_vm("base", true).unwrap();
    assert!(ops.mark_vm("base", true).is_err());
    assert!(message(ops.power_on("base", false)).contains("template"));
    world.clone_vm("base", "clone", None);
    done(ops.power_on("clone", false));
    assert!(ops.mark_vm("clone", true).is_err());
    ops.mark_vm("base", false).unwrap();
    done(ops.power_on("base", false));
}

#[test]
fn what_a_vm_is_made_for_changes_while_it_is_off_and_with_a_tpm_by_the_rules_for_one() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    done(ops.create_vm(CreateVm {
        firmware: Some(Firmware::Bios),
        hardware_version: Some(13),
        guest: Some("freebsd14_64Guest".parse().unwrap()),
        ..CreateVm::named(name("old"))
    }));
    let change = |firmware, version, tpm| ReconfigureVm {
        firmware,
        hardware_version: version,
        guest: Some("ubuntu64Guest".parse().unwrap()),
        tpm,
        ..ReconfigureVm::default()
    };
    // The TPM is refused, so nothing has changed.
    let said = failed(ops.reconfigure_vm("old", change(None, Some(19), Some(true))));
    assert!(said.contains("EFI"), "{said}");
    let old = ops.vm("old").unwrap();
    assert_eq!((old.hardware_version, old.tpm.present), (13, false));
    done(ops.reconfigure_vm("old", change(Some(Firmware::Efi), Some(19), Some(true))));
    let new = ops.vm("old").unwrap();
    assert_eq!((new.hardware_version, new.tpm.present), (19, true));
    assert_eq!(
        broken(ops.reconfigure_vm("old", change(Some(Firmware::Bios), None, None))),
        [Rule::EfiFirmware]
    );
    assert!(
        message(ops.reconfigure_vm("old", change(None, Some(9999), None)))
            .to_string()
            .contains("9999")
    );
    done(ops.power_on("old", false));
    assert!(
        message(ops.reconfigure_vm("old", change(None, Some(20), None)))
            .contains("while it is off")
    );
    done(ops.reconfigure_vm(
        "old",
        ReconfigureVm {
            name: Some(name("new")),
            annotation: Some("renamed".to_owned()),
            ..ReconfigureVm::default()
        },
    ));
    assert_eq!(ops.vm_hardware("new").unwrap().annotation, "renamed");
}

#[test]
fn a_vm_that_is_unregistered_keeps_its_files_and_comes_back_with_its_tpm() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    done(ops.create_vm(create("away", "ubuntu64Guest")));
    let before = ops.vm("away").unwrap();
    let (vcenter, datastore) = (name("vc01"), before.datastore.clone());
    done(ops.power_on("away", false));
    assert!(ops.unregister_vm("away").is_err());
    done(ops.power_off("away"));
    assert!(ops.unregister_vm("shop/web").is_err());
    assert!(
        ops.register_vm(&vcenter, &datastore, &name("away"), None)
            .is_err()
    );
    ops.unregister_vm("away").unwrap();
    assert!(ops.vm("away").is_err());
    assert!(
        ops.register_vm(&vcenter, &datastore, &name("nothing"), None)
            .is_err()
    );
    done(ops.register_vm(&vcenter, &datastore, &name("away"), Some(&name("back"))));
    let after = ops.vm("back").unwrap();
    assert_eq!(
        (after.id, &after.tpm.ek_name),
        (before.id, &before.tpm.ek_name)
    );
    done(ops.power_on("back", false));
    done(ops.power_off("back"));
    // What a template is made of is no VM.
    done(ops.capture(&capture("shop", "gold", None)));
    let inside = ops.templates().unwrap().remove(0).vms.remove(0);
    let taken = ops.register_vm(&vcenter, &inside.datastore, &inside.folder, None);
    assert!(message(taken).contains("template"));
    // What the inventory never knew of it, its files tell.
    ops.unregister_vm("back").unwrap();
    let mut forget = crate::inventory::Transaction::default();
    forget.remove_key(format!("unregistered/{datastore}/away"));
    ops.inventory().commit(forget).unwrap();
    done(ops.register_vm(&vcenter, &datastore, &name("away"), None));
    let again = ops.vm("back").unwrap();
    assert_eq!(
        (again.id, again.tpm.ek_name),
        (before.id, before.tpm.ek_name)
    );
    done(ops.power_on("back", false));
}

#[test]
fn whole_vapps_are_restarted_and_have_snapshots_as_one() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    assert!(ops.restart_vapp("shop").is_err());
    assert!(ops.restart_vm("shop/web").is_err());
    done(ops.power_vapp("shop", PowerState::On));
    done(ops.restart_vapp("shop"));
    done(ops.restart_vm("shop/web"));
    assert_eq!(power_of(&world, "shop/log"), PowerState::On);
    done(ops.power_vapp("shop", PowerState::Off));
    let take = |text: &str| TakeSnapshot {
        name: name(text),
        description: String::new(),
    };
    done(ops.snapshot_vapp("shop", take("one")));
    done(ops.snapshot_vapp("shop", take("two")));
    assert_eq!(ops.snapshots("shop/db").unwrap().snapshots.len(), 2);
    done(ops.revert_vapp("shop"));
    done(ops.forget_snapshots("shop/db"));
    done(ops.forget_vapp_snapshots("shop"));
    for vm in ["shop/web", "shop/db"] {
        assert!(ops.snapshots(vm).unwrap().snapshots.is_empty());
    }
}
