//! Scenarios 16 to 20: from one vCenter to another; previews.

use super::*;

#[test]
fn scenario_16_a_vm_is_copied_to_another_vcenter_over_shared_storage() {
    let world = acme("8.0.3");
    shop(&world);
    second(&world, "8.0.3", Second::SameKeys);
    world
        .operations
        .share_datastore(&name("ds-vc01"), &name("vc02"))
        .unwrap();
    let before = world.files_of("shop");
    done(
        world
            .operations
            .copy_vapp("shop", &copy("far", Some("vdc2"), None)),
    );
    assert_eq!(world.seed("far/web"), world.seed("shop/web"));
    assert_eq!(
        world.operations.vm("far/web").unwrap().vcenter,
        name("vc02")
    );
    assert_eq!(world.files_of("shop"), before);
    done(world.operations.power_on("far/web", false));
}

#[test]
fn scenario_17_the_provider_must_have_the_same_name_on_the_target() {
    let world = acme("8.0.3");
    shop(&world);
    second(&world, "8.0.3", Second::OtherName);
    add_catalog(&world, "far-shelf", "vdc2");
    world
        .operations
        .share_datastore(&name("ds-vc01"), &name("vc02"))
        .unwrap();
    let before = world.files();
    let mut far = capture("shop", "gold", REPLACE);
    far.catalog = "far-shelf".to_owned();
    for refused in [
        world
            .operations
            .copy_vapp("shop", &copy("far", Some("vdc2"), None)),
        world
            .operations
            .move_vapp("shop", &moved("vdc2", None, false)),
        world.operations.capture(&far),
    ] {
        let text = message(refused);
        assert!(
            text.contains("kp1") && text.contains("vc02") && text.contains("1.6a"),
            "{text}"
        );
    }
    assert_eq!(world.files(), before);
}

#[test]
fn scenario_18_the_same_name_with_another_key_is_found_before_anything_is_written() {
    let world = acme("8.0.3");
    shop(&world);
    second(&world, "8.0.3", Second::OtherKeys);
    world
        .operations
        .share_datastore(&name("ds-vc01"), &name("vc02"))
        .unwrap();
    let before = world.files();
    let refused = world
        .operations
        .move_vapp("shop", &moved("vdc2", None, false));
    assert_eq!(broken(refused), vec![Rule::SameKey; 2]);
    assert_eq!(world.files(), before);
    // The cure: its own provider makes room for the backup. The log tells of it.
    let (there, kp1) = (name("vc02"), name("kp1"));
    world.operations.remove_provider(&there, &kp1).unwrap();
    restore(&world, "vc02");
    let seed = world.seed("shop/web");
    done(
        world
            .operations
            .copy_vapp("shop", &copy("twin", Some("vdc2"), None)),
    );
    assert_eq!(world.seed("twin/web"), seed);
    let log = world.operations.audit(0, usize::MAX).unwrap();
    let told: Vec<_> = log
        .iter()
        .filter(|entry| entry.name == "vc02/kp1")
        .map(|entry| entry.operation.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "key_provider_recorded",
            "key_provider_backed_up",
            "key_provider_removed",
            "key_provider_recorded"
        ]
    );
    // A vCenter to which the backup was brought takes the same VMs.
    let ops = &world.operations;
    ops.create_vcenter(CreateVCenter {
        name: name("vc03"),
        version: "8.0.3".parse().unwrap(),
    })
    .unwrap();
    restore(&world, "vc03");
    ops.trust(&name("vc01"), &name("vc03")).unwrap();
    ops.share_datastore(&name("ds-vc01"), &name("vc03"))
        .unwrap();
    add_vdc(&world, "vdc3", "vc03");
    let seed = world.seed("shop/web");
    done(ops.move_vapp("shop", &moved("vdc3", None, false)));
    assert_eq!(world.seed("shop/web"), seed);
}

#[test]
fn scenario_19_and_scenario_20_shared_storage_fast_instantiation_and_the_exception() {
    let world = acme("8.0.3");
    shop(&world);
    second(&world, "8.0.3", Second::SameKeys);
    let seed = world.seed("shop/web");
    let before = world.files();
    let refused = world
        .operations
        .move_vapp("shop", &moved("vdc2", None, false));
    assert_eq!(broken(refused), vec![Rule::SharedStorage; 2]);
    assert_eq!(world.files(), before);
    // 20: the API call moveVApp needs the provider alone.
    done(
        world
            .operations
            .move_vapp("shop", &moved("vdc2", None, true)),
    );
    assert_eq!(world.seed("shop/web"), seed);
    assert_disk(&world, "shop/log", "log");
    let old = world.folder.path().join("datastores/ds-vc01");
    let left = world
        .files()
        .into_keys()
        .filter(|path| path.starts_with(&old) && *path != old);
    assert_eq!(left.count(), 0, "the source is gone");
    // Back, by fast instantiation.
    world
        .operations
        .change_cloud_settings(CloudSettings {
            fast_cross_vcenter_instantiation: true,
        })
        .unwrap();
    done(
        world
            .operations
            .move_vapp("shop", &moved("vdc1", None, false)),
    );
    assert_eq!(world.seed("shop/web"), seed);
    done(world.operations.power_on("shop/web", false));
    let lone = acme("8.0.3");
    shop(&lone);
    second(&lone, "8.0.3", Second::OtherName);
    let refused = lone
        .operations
        .move_vapp("shop", &moved("vdc2", None, true));
    assert_eq!(broken(refused), vec![Rule::ProviderOnTarget; 2]);
}

#[test]
fn failures_of_all_vms_and_rules_come_at_once() {
    let world = acme("8.0.3");
    shop(&world);
    second(&world, "7.0.3", Second::OtherName);
    // No trust the other way either.
    done(world.operations.power_on("shop/db", false));
    let request = copy("far", Some("vdc2"), REPLACE);
    let preview = world
        .operations
        .preview_copy_vapp("shop", &request)
        .unwrap();
    assert!(!preview.possible);
    let of = |vm: &str| -> Vec<Rule> {
        let own = preview
            .failures
            .iter()
            .filter(|failure| failure.vm == Some(name(vm)));
        own.map(|failure| failure.rule).collect()
    };
    assert_eq!(
        of("web"),
        [Rule::TpmChoice, Rule::ProviderOnTarget, Rule::SharedStorage]
    );
    assert_eq!(
        of("db"),
        [
            Rule::TpmChoice,
            Rule::ProviderOnTarget,
            Rule::SharedStorage,
            Rule::PowerState
        ]
    );
    assert_eq!(
        broken(world.operations.copy_vapp("shop", &request)).len(),
        7
    );
}

#[test]
fn a_preview_says_what_each_tpm_keeps_or_loses_and_changes_nothing() {
    let world = acme("8.0.3");
    shop(&world);
    let before = world.files();
    let tasks = world.operations.tasks().unwrap().len();
    let mut request = copy("twin", None, None);
    request.vms.insert(name("db"), TpmProvisioning::Replace);
    let preview = world
        .operations
        .preview_copy_vapp("shop", &request)
        .unwrap();
    assert!(preview.possible);
    let of = |vm: &str| {
        preview
            .vms
            .iter()
            .find(|it| it.vm == Some(name(vm)))
            .unwrap()
    };
    assert_eq!(of("web").effects.sealed_data, Fate::Kept);
    assert_eq!(of("db").effects.ek_identity, Fate::Lost);
    assert_eq!(of("log").tpm, None);
    assert_eq!(world.files(), before);
    assert_eq!(world.operations.tasks().unwrap().len(), tasks);
}
