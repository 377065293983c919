//! Scenarios 11 to 15, 21 and 22: templates and catalogs.

use super::*;

#[test]
fn scenario_11_instances_of_a_replace_template_have_new_tpms() {
    let world = acme("7.0.3");
    shop(&world);
    done(world.operations.capture(&capture("shop", "gold", REPLACE)));
    let template = world.operations.template("shelf/gold").unwrap();
    assert_eq!(template.provisioning, TpmProvisioning::Replace);
    let source = world.seed("shop/web");
    // The template itself holds nothing of the source's TPM.
    assert!(
        template
            .vms
            .iter()
            .all(|vm| vm.tpm.as_ref().is_none_or(|tpm| {
                tpm.ek_name
                    != world
                        .operations
                        .vm("shop/web")
                        .unwrap()
                        .tpm
                        .ek_name
                        .unwrap()
            }))
    );
    for vapp in ["one", "two"] {
        done(
            world
                .operations
                .instantiate("gold", &instance(vapp, "vdc1", None)),
        );
    }
    let (one, two) = (world.seed("one/web"), world.seed("two/web"));
    assert!(one != two && one != source && two != source);
    assert_disk(&world, "two/db", "db");
}

#[test]
fn scenario_12_instances_of_a_copy_template_have_the_tpm_of_the_capture() {
    let world = acme("8.0.3");
    shop(&world);
    let seed = world.seed("shop/web");
    done(world.operations.capture(&capture("shop", "gold", None)));
    assert_eq!(
        world.operations.template("gold").unwrap().origin,
        TemplateOrigin::Captured
    );
    // The source goes on: it gets another TPM.
    let edit = |present| EditTpm {
        present,
        provider: None,
        profile: None,
        confirm: true,
    };
    done(world.operations.edit_tpm("shop/web", &edit(false)));
    done(world.operations.edit_tpm("shop/web", &edit(true)));
    assert_ne!(world.seed("shop/web"), seed);
    for vapp in ["one", "two"] {
        done(
            world
                .operations
                .instantiate("gold", &instance(vapp, "vdc1", None)),
        );
        assert_eq!(world.seed(&format!("{vapp}/web")), seed);
    }
    // Deleting the template leaves the instances, and no file of its own.
    done(world.operations.delete_template("gold"));
    assert_eq!(world.seed("one/web"), seed);
    assert_eq!(
        world
            .files()
            .iter()
            .filter(|(path, _)| path.is_dir())
            .count(),
        1 + 9
    );
}

#[test]
fn scenario_14_what_is_imported_keeps_its_tpm() {
    let world = acme("7.0.3");
    for vm in ["one", "two", "three"] {
        world.create(vm);
        add_disk(&world, vm, vm);
    }
    let seeds = ["one", "two", "three"].map(|vm| world.seed(vm));
    let import = |vapp: &str, catalog: Option<&str>, moves| Import {
        vdc: catalog.is_none().then(|| "vdc1".to_owned()),
        catalog: catalog.map(str::to_owned),
        name: name(vapp),
        moves,
        tpm: None,
    };
    done(world.operations.import_vm("one", &import("a", None, false)));
    assert_eq!(world.seed("a/one"), seeds[0]);
    done(world.operations.import_vm("two", &import("b", None, true)));
    assert_eq!(world.seed("b/two"), seeds[1]);
    done(
        world
            .operations
            .import_vm("three", &import("t", Some("shelf"), true)),
    );
    assert!(world.operations.vm("three").is_err());
    assert_eq!(
        world.operations.template("t").unwrap().origin,
        TemplateOrigin::Vcenter
    );
    done(
        world
            .operations
            .instantiate("t", &instance("c", "vdc1", None)),
    );
    assert_eq!(world.seed("c/three"), seeds[2]);
    assert_disk(&world, "c/three", "three");
    let mut refused = import("d", None, false);
    refused.tpm = REPLACE;
    assert_eq!(
        broken(world.operations.import_vm("one", &refused)),
        [Rule::TpmChoice]
    );
}

#[test]
fn scenario_15_nobody_overrides_a_template() {
    let world = acme("8.0.3");
    shop(&world);
    done(world.operations.capture(&capture("shop", "gold", REPLACE)));
    let refused = world
        .operations
        .instantiate("gold", &instance("one", "vdc1", COPY));
    assert_eq!(broken(refused), vec![Rule::TemplateDecides; 2]);
    done(
        world
            .operations
            .instantiate("gold", &instance("one", "vdc1", REPLACE)),
    );
    assert_ne!(world.seed("one/web"), world.seed("shop/web"));
}

#[test]
fn scenario_21_a_replace_template_goes_where_the_target_meets_the_requirements() {
    let world = acme("8.0.3");
    shop(&world);
    second(&world, "8.0.3", Second::OtherName);
    done(world.operations.capture(&capture("shop", "gold", REPLACE)));
    done(
        world
            .operations
            .instantiate("gold", &instance("far", "vdc2", None)),
    );
    let vm = world.operations.vm("far/web").unwrap();
    assert_eq!((vm.provider, vm.vcenter), (Some(name("kp2")), name("vc02")));
    done(world.operations.power_on("far/web", false));
    // One that copies is of class P.
    done(world.operations.capture(&capture("shop", "copies", COPY)));
    let refused = world
        .operations
        .instantiate("copies", &instance("far2", "vdc2", None));
    let rules = broken(refused);
    assert!(rules.contains(&Rule::ProviderOnTarget) && rules.contains(&Rule::SharedStorage));
}

#[test]
fn scenario_22_only_replace_templates_are_published_and_synchronized() {
    let world = acme("8.0.3");
    shop(&world);
    done(world.operations.capture(&capture("shop", "copies", COPY)));
    done(world.operations.capture(&capture("shop", "fresh", REPLACE)));
    let ops = &world.operations;
    ops.create_organization(name("other")).unwrap();
    ops.create_vdc(CreateVdc {
        name: name("theirs"),
        organization: Some(name("other")),
        vcenter: Some(name("vc01")),
        datastore: None,
    })
    .unwrap();
    let follow = CreateCatalog {
        name: name("followed"),
        organization: Some(name("other")),
        vdc: None,
        subscribe: Some("acme/shelf".to_owned()),
    };
    assert!(
        ops.create_catalog(follow.clone()).is_err(),
        "it is not published yet"
    );
    let offer = ops.publish_catalog("acme/shelf", true).unwrap();
    assert_eq!(offer.templates, [name("fresh")]);
    assert_eq!(offer.withheld[0].rule, Rule::PublishReplaceOnly);
    ops.create_catalog(follow).unwrap();
    for job in ops.sync_catalog("other/followed").unwrap() {
        done(Ok(job));
    }
    let synced: Vec<_> = ops
        .templates()
        .unwrap()
        .into_iter()
        .filter(|it| it.organization == name("other"))
        .collect();
    assert_eq!((synced.len(), synced[0].name.as_str()), (1, "fresh"));
    assert!(
        ops.sync_catalog("other/followed").unwrap().is_empty(),
        "nothing new"
    );
    done(ops.instantiate("other/followed/fresh", &instance("theirs", "theirs", None)));
    assert_ne!(world.seed("theirs/web"), world.seed("shop/web"));
    // Templates of another organization are not there for it.
    let mut foreign = instance("x", "theirs", None);
    foreign.organization = Some(name("other"));
    assert!(ops.instantiate("acme/shelf/copies", &foreign).is_err());
}

#[test]
fn a_catalog_that_follows_another_adds_renews_and_drops_templates() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    ops.create_organization(name("beta")).unwrap();
    ops.create_vdc(CreateVdc {
        name: name("vdcb"),
        organization: Some(name("beta")),
        vcenter: Some(name("vc01")),
        datastore: None,
    })
    .unwrap();
    ops.publish_catalog("acme/shelf", true).unwrap();
    ops.create_catalog(CreateCatalog {
        name: name("mirror"),
        organization: Some(name("beta")),
        vdc: Some("vdcb".to_owned()),
        subscribe: Some("acme/shelf".to_owned()),
    })
    .unwrap();
    let sync = || {
        let jobs = ops.sync_catalog("beta/mirror").unwrap();
        let tasks: Vec<String> = jobs
            .into_iter()
            .map(|job| {
                let task = job.run();
                assert!(task.error.is_none(), "{:?}", task.error);
                task.operation
            })
            .collect();
        tasks
    };
    let find = |template: &str| ops.template(&format!("beta/mirror/{template}")).ok();
    for template in ["one", "two"] {
        done(ops.capture(&capture("acme/shop", template, REPLACE)));
    }
    assert_eq!(sync().len(), 2);
    let (first, second) = (find("one").unwrap(), find("two").unwrap());
    assert_eq!(sync().len(), 0, "nothing has changed");
    // One goes, one is saved anew from a vApp that has changed.
    done(ops.delete_template("acme/shelf/one"));
    done(ops.delete_template("acme/shelf/two"));
    done(ops.add_to_vapp("acme/shop", &[new_vm("more", false)]));
    done(ops.capture(&capture("acme/shop", "two", REPLACE)));
    let folders = |template: &crate::model::Template| -> Vec<std::path::PathBuf> {
        let datastores = world.folder.path().join("datastores");
        let at = |vm: &Vm| {
            datastores
                .join(vm.datastore.as_str())
                .join(vm.folder.as_str())
        };
        template.vms.iter().map(at).collect()
    };
    assert_eq!(sync(), ["delete_template", "sync_catalog_template"]);
    assert_eq!(find("one"), None);
    let renewed = find("two").unwrap();
    assert_eq!((renewed.vms.len(), second.vms.len()), (4, 3));
    assert!(folders(&renewed).iter().all(|folder| folder.is_dir()));
    for gone in folders(&first).iter().chain(&folders(&second)) {
        assert!(!gone.exists(), "{}", gone.display());
    }
    // A template that copies is withheld, and so it goes from those who had it.
    done(ops.delete_template("acme/shelf/two"));
    done(ops.capture(&capture("acme/shop", "two", COPY)));
    assert_eq!(sync(), ["delete_template"]);
    assert_eq!(ops.templates().unwrap().len(), 1);
}

#[test]
fn the_vm_that_a_template_was_saved_from_keeps_its_name_when_the_template_goes() {
    let world = acme("8.0.3");
    world.create("web01");
    let request = Capture {
        vapp: None,
        vm: Some("web01".to_owned()),
        ..capture("", "gold", COPY)
    };
    done(world.operations.capture(&request));
    done(world.operations.delete_template("gold"));
    assert_eq!(world.operations.vm("web01").unwrap().name, name("web01"));
    assert!(
        world
            .operations
            .create_vm(create("web01", "ubuntu64Guest"))
            .is_err()
    );
}

#[test]
fn a_catalog_for_no_virtual_data_center_keeps_templates_where_their_sources_are() {
    let world = acme("8.0.3");
    second(&world, "8.0.3", Second::OtherName);
    shop(&world);
    let ops = &world.operations;
    done(ops.create_vapp(&CreateVapp {
        vdc: Some("vdc2".to_owned()),
        ..vapp("far", vec![new_vm("alone", true)])
    }));
    ops.create_catalog(CreateCatalog {
        name: name("anywhere"),
        organization: Some(name("acme")),
        vdc: None,
        subscribe: None,
    })
    .unwrap();
    let request = Capture {
        catalog: "anywhere".to_owned(),
        ..capture("shop", "gold", None)
    };
    done(ops.capture(&request));
    let first = ops.template("anywhere/gold").unwrap();
    assert!(first.vms.iter().all(|vm| vm.vcenter == name("vc01")));
    let far = Capture {
        vapp: Some("far".to_owned()),
        name: name("far gold"),
        ..request.clone()
    };
    done(ops.capture(&far));
    let template = ops.template("anywhere/far gold").unwrap();
    assert!(template.vms.iter().all(|vm| vm.vcenter == name("vc02")));
    let seed = world.seed("far/alone");
    done(ops.instantiate("far gold", &instance("back", "vdc2", None)));
    assert_eq!(world.seed("back/alone"), seed);
    let pinned = Capture {
        catalog: "shelf".to_owned(),
        ..far
    };
    assert!(broken(ops.capture(&pinned)).contains(&Rule::ProviderOnTarget));
    // In its place, and only in that of one of its name.
    let renamed = Capture {
        name: name("silver"),
        ..request.clone()
    };
    assert!(ops.capture_over("anywhere/gold", &renamed).is_err());
    done(ops.capture_over("anywhere/gold", &request));
    let again = ops.template("anywhere/gold").unwrap();
    assert_ne!(again.id, first.id);
    assert_eq!(ops.templates().unwrap().len(), 2);
}

#[test]
fn a_template_stays_until_the_last_instance_of_it_is_made() {
    let world = acme("8.0.3");
    shop(&world);
    let ops = &world.operations;
    done(ops.capture(&capture("shop", "gold", None)));
    let one = ops.instantiate("gold", &instance("one", "vdc1", None));
    let two = ops.instantiate("gold", &instance("two", "vdc1", None));
    let busy = |outcome: Result<Job>| {
        let error = outcome.err().expect("it is busy");
        assert!(matches!(error, Error::Busy { .. }), "{error}");
        error.to_string()
    };
    assert!(busy(ops.delete_template("gold")).contains("being instantiated"));
    assert!(
        ops.preview_delete_template("gold").is_ok(),
        "looking is free"
    );
    done(one);
    busy(ops.delete_template("gold"));
    done(two);
    // While it goes, nothing is made of it.
    let gone = ops.delete_template("gold");
    let said = busy(ops.instantiate("gold", &instance("three", "vdc1", None)));
    assert!(said.contains("being deleted"), "{said}");
    done(gone);
    assert!(ops.vapp("three").is_err());
}

#[test]
fn a_template_is_found_by_its_catalog_and_its_organization() {
    let world = acme("8.0.3");
    shop(&world);
    add_catalog(&world, "other", "vdc1");
    let ops = &world.operations;
    let in_catalog = |template: &str, catalog: &str| Capture {
        catalog: catalog.to_owned(),
        ..capture("shop", template, REPLACE)
    };
    done(ops.capture(&in_catalog("gold", "shelf")));
    done(ops.capture(&in_catalog("gold", "other")));
    done(ops.capture(&in_catalog("blank", "other")));
    for reference in ["gold", "acme/gold"] {
        let said = ops.template(reference).unwrap_err().to_string();
        assert!(said.contains("CATALOG/NAME"), "{said}");
    }
    for (reference, catalog) in [
        ("shelf/gold", "shelf"),
        ("acme/other/gold", "other"),
        ("acme/blank", "other"),
        ("blank", "other"),
    ] {
        let found = ops.template(reference).unwrap();
        assert_eq!(found.catalog.as_str(), catalog, "{reference}");
    }
    let none = Instantiate {
        count: Some(0),
        ..instance("none", "vdc1", None)
    };
    assert!(message(ops.instantiate("blank", &none)).contains("1 or more"));
    for reference in ["shelf/blank", "rival/blank", "acme/shelf/blank"] {
        assert!(ops.template(reference).is_err(), "{reference}");
    }
}
