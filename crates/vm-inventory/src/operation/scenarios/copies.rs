//! Scenarios 6 to 10: copies and moves on one vCenter.

use super::*;

#[test]
fn scenario_6_a_copy_without_a_choice_has_the_same_tpm_and_key() {
    let world = acme("8.0.3");
    shop(&world);
    done(world.operations.create_vapp(&vapp("lab", Vec::new())));
    let before = world.files_of(
        folder_of(&world, "shop/web")
            .file_name()
            .unwrap()
            .to_str()
            .unwrap(),
    );
    done(world.operations.add_to_vapp("lab", &like("shop/web", None)));
    let after = world.files_of(
        folder_of(&world, "shop/web")
            .file_name()
            .unwrap()
            .to_str()
            .unwrap(),
    );
    assert!(before == after && before.len() == 3);
    assert_eq!(world.seed("shop/web"), world.seed("lab/web"));
    assert_eq!(locator(&world, "shop/web"), locator(&world, "lab/web"));
    assert_disk(&world, "lab/web", "web");
}

#[test]
fn scenario_7_replace_makes_a_new_tpm_and_leaves_the_source_alone() {
    let world = acme("8.0.3");
    shop(&world);
    let seed = world.seed("shop/web");
    done(world.operations.create_vapp(&vapp("lab", Vec::new())));
    done(
        world
            .operations
            .add_to_vapp("lab", &like("shop/web", REPLACE)),
    );
    assert_ne!(world.seed("lab/web"), seed);
    assert_eq!(world.seed("shop/web"), seed);
    assert_disk(&world, "lab/web", "web");
}

#[test]
fn scenario_8_replace_on_vcenter_7_is_refused_with_the_allowed_set() {
    let world = acme("7.0.3");
    shop(&world);
    let before = world.files();
    let refused = world
        .operations
        .copy_vapp("shop", &copy("twin", None, REPLACE));
    let text = message(refused);
    assert!(
        text.contains("possible: copy") && text.contains("web:") && text.contains("db:"),
        "{text}"
    );
    done(world.operations.create_vapp(&vapp("lab", Vec::new())));
    let refused = world
        .operations
        .add_to_vapp("lab", &like("shop/web", REPLACE));
    assert_eq!(broken(refused), [Rule::TpmChoice]);
    assert_eq!(world.files(), before);
}

#[test]
fn scenario_9_a_vapp_is_copied_with_new_distinct_tpms() {
    let world = acme("8.0.3");
    shop(&world);
    done(
        world
            .operations
            .copy_vapp("shop", &copy("twin", None, REPLACE)),
    );
    let seeds = ["shop/web", "shop/db", "twin/web", "twin/db"].map(|vm| world.seed(vm));
    for (number, seed) in seeds.iter().enumerate() {
        assert!(!seeds[..number].contains(seed));
    }
    assert!(!world.operations.vm("twin/log").unwrap().tpm.present);
    assert_disk(&world, "twin/log", "log");
    // The API has a choice for each VM.
    let mut mixed = copy("mixed", None, None);
    mixed.vms.insert(name("web"), TpmProvisioning::Replace);
    done(world.operations.copy_vapp("shop", &mixed));
    assert_ne!(world.seed("mixed/web"), seeds[0]);
    assert_eq!(world.seed("mixed/db"), seeds[1]);
    mixed.name = name("other");
    mixed.vms.insert(name("nobody"), TpmProvisioning::Copy);
    assert!(message(world.operations.copy_vapp("shop", &mixed)).contains("nobody"));
}

#[test]
fn scenario_10_a_move_keeps_the_tpm_and_replace_is_refused() {
    let world = acme("8.0.3");
    shop(&world);
    add_vdc(&world, "other", "vc01");
    world.create("single");
    add_disk(&world, "single", "single");
    let seed = world.seed("single");
    let request = |tpm| MoveVm {
        vapp: "shop".to_owned(),
        name: None,
        tpm,
    };
    let refused = world.operations.move_vm("single", &request(REPLACE));
    assert_eq!(broken(refused), [Rule::TpmChoice]);
    let snapshot = TakeSnapshot {
        name: name("before"),
        description: String::new(),
    };
    done(world.operations.take_snapshot("single", snapshot));
    done(world.operations.power_on("single", false));
    assert_eq!(
        broken(world.operations.move_vm("single", &request(None))),
        [Rule::PowerState]
    );
    done(world.operations.power_off("single"));
    done(world.operations.move_vm("single", &request(None)));
    assert_eq!(world.seed("shop/single"), seed);
    assert_eq!(world.operations.vms().unwrap().len(), 4);
    let tree = world.operations.snapshots("shop/single").unwrap();
    assert!(tree.snapshots.is_empty(), "moving drops snapshots");
    let left = world
        .files()
        .into_keys()
        .filter(|path| path.extension() == Some("vmsn".as_ref()));
    assert_eq!(left.count(), 0);
    // Its name on the vCenter is free again.
    world.create("single");
    let refused = world
        .operations
        .move_vapp("shop", &moved("other", REPLACE, false));
    assert_eq!(broken(refused), vec![Rule::TpmChoice; 3]);
    let web = world.seed("shop/web");
    done(
        world
            .operations
            .move_vapp("shop", &moved("other", None, false)),
    );
    let shop = world.operations.vapp("shop").unwrap();
    assert_eq!((shop.vapp.vdc.as_str(), shop.vms.len()), ("other", 4));
    assert_eq!(world.seed("shop/web"), web);
    assert_disk(&world, "shop/web", "web");
}
