//! Names, users, virtual data centers, lineage.

use super::*;

#[test]
fn names_and_references_are_of_one_organization() {
    let world = acme("8.0.3");
    shop(&world);
    let ops = &world.operations;
    assert!(matches!(
        ops.create_vapp(&vapp("shop", Vec::new())).err(),
        Some(Error::Exists { .. })
    ));
    let twice = vec![new_vm("a", true), new_vm("a", false)];
    assert_eq!(broken(ops.create_vapp(&vapp("x", twice))), [Rule::Place]);
    let both = VappItem {
        vm: Some("shop/web".into()),
        ..new_vm("a", true)
    };
    assert!(matches!(
        ops.create_vapp(&vapp("x", vec![both])).err(),
        Some(Error::BadValue(_))
    ));
    assert!(ops.vm("acme/shop/web").is_ok() && ops.vm("web").is_ok());
    assert!(ops.vm("acme/shop/nobody").is_err() && ops.vm("../web").is_err());
    assert!(ops.create_organization(name("acme")).is_err());
    let mut taken = capture("shop", "gold", None);
    done(ops.capture(&taken));
    assert!(matches!(
        ops.capture(&taken).err(),
        Some(Error::Exists { .. })
    ));
    taken.catalog = "nowhere".into();
    assert!(matches!(
        ops.capture(&taken).err(),
        Some(Error::NotFound { .. })
    ));
}

#[test]
fn lineage_is_a_tree_that_outlives_its_vms() {
    let world = acme("8.0.3");
    shop(&world);
    let ops = &world.operations;
    done(ops.capture(&capture("shop", "gold", None)));
    done(ops.instantiate("gold", &instance("one", "vdc1", None)));
    done(ops.delete_vapp("shop"));
    let tree = ops.lineage("one/web").unwrap();
    assert_eq!(tree[0].tpm.name, name("web"));
    assert!(tree[0].tpm.ended.is_some());
    let by: Vec<_> = tree
        .iter()
        .map(|node| (node.tpm.operation.as_str(), node.depth))
        .collect();
    let expected = [
        ("build_vapp", 0),
        ("capture_vapp", 1),
        ("instantiate_vapp_template", 2),
    ];
    assert_eq!(by, expected);
    assert_eq!(ops.lineage("one/log").unwrap(), []);
}

#[test]
fn an_organization_sees_the_part_of_a_tree_that_is_its_own() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    // a -> b -> c, and a -> d: who does not see b sees c below a, from nobody; who does not see a sees two trees.
    world.create("a");
    for (source, target) in [("a", "b"), ("b", "c"), ("a", "d")] {
        world.clone_vm(source, target, None);
    }
    let id = |vm: &str| ops.vm(vm).unwrap().id;
    let (a, b, c, d) = (id("a"), id("b"), id("c"), id("d"));
    let seen = |of, hidden| {
        let tree = ops.lineage("c").unwrap();
        let part = crate::lineage::visible(tree, of, |tpm| tpm.vm != hidden);
        let node = |node: &crate::LineageNode| {
            let source = node.tpm.source.as_ref().map(|source| source.id);
            (node.tpm.vm, node.depth, source)
        };
        part.iter().map(node).collect::<Vec<_>>()
    };
    let whole = vec![
        (a, 0, None),
        (b, 1, Some(a)),
        (c, 2, Some(b)),
        (d, 1, Some(a)),
    ];
    assert_eq!(seen(c, VmId::random()), whole);
    let without_b = vec![(a, 0, None), (c, 1, None), (d, 1, Some(a))];
    assert_eq!(seen(c, b), without_b);
    assert_eq!(seen(c, a), vec![(b, 0, None), (c, 1, Some(b))]);
    assert_eq!(seen(d, a), vec![(d, 0, None)]);
    assert_eq!(seen(a, a), vec![]);
}

#[test]
fn two_running_twins_are_an_event() {
    let world = acme("8.0.3");
    shop(&world);
    let ops = &world.operations;
    done(ops.copy_vapp("shop", &copy("twin", None, None)));
    let alone = done(ops.power_on("shop/web", false));
    assert!(alone.notes.iter().all(|note| !note.contains("event")));
    let second = done(ops.power_on("twin/web", false));
    let note = second.notes.iter().find(|note| note.contains("event"));
    assert!(note.unwrap().contains("acme/shop/web"));
    let audited = ops.audit(0, usize::MAX).unwrap();
    let last = audited.last().unwrap();
    assert!(last.operation == "power_on" && last.notes.iter().any(|note| note.contains("event")));
    // Another TPM is nobody's twin.
    let other = done(ops.power_on("twin/db", false));
    assert!(other.notes.iter().all(|note| !note.contains("event")));
}

#[test]
fn a_twin_in_another_organization_is_not_named() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    ops.create_organization(name("rival")).unwrap();
    ops.create_vdc(CreateVdc {
        name: name("theirs"),
        organization: Some(name("rival")),
        vcenter: Some(name("vc01")),
        datastore: None,
    })
    .unwrap();
    world.create("secret");
    for (vapp, vdc) in [("a", "acme/vdc1"), ("b", "rival/theirs")] {
        let import = Import {
            vdc: Some(vdc.to_owned()),
            catalog: None,
            name: name(vapp),
            moves: false,
            tpm: None,
        };
        done(ops.import_vm("secret", &import));
    }
    let event = |vm: &str| {
        let task = done(ops.power_on(vm, false));
        let mut notes = task.notes.into_iter();
        notes
            .find(|note| note.contains("event"))
            .unwrap_or_default()
    };
    assert_eq!(event("rival/b/secret"), "");
    let told = event("acme/a/secret");
    assert!(told.contains("outside the organization"), "{told}");
    assert!(!told.contains("rival"), "{told}");
    // Whoever looks after all of them is told.
    let told = event("secret");
    assert!(told.contains("/secret"), "{told}");
}

#[test]
fn users_have_roles_and_passwords_that_are_hashed() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    let acme = name("acme");
    ops.create_user(
        None,
        name("eve"),
        crate::model::Role::VappAuthor,
        "a long password",
    )
    .unwrap();
    assert!(
        ops.create_user(
            None,
            name("eve"),
            crate::model::Role::VappUser,
            "another password"
        )
        .is_err()
    );
    assert!(
        ops.create_user(None, name("bob"), crate::model::Role::VappUser, "short")
            .is_err()
    );
    assert!(
        ops.authenticate(&acme, &name("eve"), "a long password")
            .unwrap()
            .is_some()
    );
    assert!(
        ops.authenticate(&acme, &name("eve"), "a long passworD")
            .unwrap()
            .is_none()
    );
    assert!(
        ops.authenticate(&acme, &name("nobody"), "a long password")
            .unwrap()
            .is_none()
    );
    let bytes = std::fs::read(world.folder.path().join("inventory.redb")).unwrap();
    assert!(!bytes.windows(15).any(|window| window == b"a long password"));
}

#[test]
fn a_vdc_says_whether_it_supports_tpms() {
    let world = acme("8.0.3");
    assert!(world.operations.vdcs().unwrap()[0].tpm_supported);
    let ops = &world.operations;
    ops.create_vcenter(CreateVCenter {
        name: name("old"),
        version: "6.5.0".parse().unwrap(),
    })
    .unwrap();
    ops.create_datastore(name("ds-old"), vec![name("old")])
        .unwrap();
    add_vdc(&world, "vdc-old", "old");
    let old = ops
        .vdcs()
        .unwrap()
        .into_iter()
        .find(|it| it.vdc.name == name("vdc-old"))
        .unwrap();
    assert!(!old.tpm_supported && old.reason.unwrap().contains("6.7"));
}
