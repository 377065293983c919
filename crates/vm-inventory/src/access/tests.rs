//! Two organizations that attack each other, and roles.

use super::*;
use crate::ErrorKind;
use crate::model::VmId;
use crate::operation::{
    Capture, CopyVapp, CreateCatalog, CreateVapp, CreateVdc, EditTpm, Instantiate, Job, MoveVapp,
    MoveVm, NewVappVm, Rekey, TakeSnapshot, VappItem,
};
use crate::provisioning::TpmProvisioning;
use crate::testing::{World, clone_request, done, name};

fn user(organization: &str, role: Role) -> Principal {
    Principal {
        name: name("eve"),
        organization: (organization != SYSTEM).then(|| name(organization)),
        role,
    }
}

fn item(vm: &str) -> VappItem {
    VappItem {
        name: Some(name(vm)),
        vm: None,
        template: None,
        new: Some(NewVappVm {
            tpm: true,
            ..NewVappVm::default()
        }),
        tpm: None,
    }
}

/// `acme` and `rival`, each with a virtual data center `vdc1`, a catalog `shelf`, a vApp `NAME-shop` with the VM `NAME-web` and a
/// template `NAME-gold`.
fn world() -> World {
    let world = World::with_vcenter("8.0.3");
    let all = world.operations.as_user(Principal::local());
    for organization in ["acme", "rival"] {
        all.create_organization(name(organization)).unwrap();
        all.create_vdc(CreateVdc {
            name: name("vdc1"),
            organization: Some(name(organization)),
            vcenter: None,
            datastore: None,
        })
        .unwrap();
        let own = world
            .operations
            .as_user(user(organization, Role::Administrator));
        own.create_catalog(CreateCatalog {
            name: name("shelf"),
            organization: None,
            vdc: None,
            subscribe: None,
        })
        .unwrap();
        done(own.create_vapp(&CreateVapp {
            name: name(&format!("{organization}-shop")),
            organization: None,
            vdc: None,
            vms: vec![item(&format!("{organization}-web"))],
        }));
        done(own.capture(&Capture {
            vapp: Some(format!("{organization}-shop")),
            vm: None,
            catalog: "shelf".to_owned(),
            name: name(&format!("{organization}-gold")),
            tpm: None,
        }));
    }
    world
}

fn unknown<T>(outcome: Result<T>, what: &str) -> String {
    let error = outcome
        .err()
        .unwrap_or_else(|| panic!("{what} was allowed"));
    assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
    error.to_string()
}

/// Every operation that names a VM.
fn on_vm(scoped: &Scoped, vm: &str) -> Vec<(&'static str, Result<()>)> {
    let job = |outcome: Result<Job>| outcome.map(|_| ());
    let edit = EditTpm {
        present: false,
        provider: None,
        profile: None,
        confirm: true,
    };
    let to = MoveVm {
        vapp: "rival-shop".to_owned(),
        name: None,
        tpm: None,
    };
    let snapshot = TakeSnapshot {
        name: name("s"),
        description: String::new(),
    };
    let copy = VappItem {
        vm: Some(vm.to_owned()),
        new: None,
        ..item("copy")
    };
    let capture = Capture {
        vapp: None,
        vm: Some(vm.to_owned()),
        catalog: "shelf".to_owned(),
        name: name("t"),
        tpm: None,
    };
    let build = CreateVapp {
        name: name("loot"),
        organization: None,
        vdc: None,
        vms: vec![copy.clone()],
    };
    vec![
        ("vm", scoped.vm(vm).map(|_| ())),
        ("delete_vm", job(scoped.delete_vm(vm))),
        ("power_on", job(scoped.power_on(vm, false))),
        ("suspend_vm", job(scoped.suspend_vm(vm))),
        ("power_off", job(scoped.power_off(vm))),
        (
            "clone_vm",
            job(scoped.clone_vm(vm, &clone_request("x", None))),
        ),
        ("edit_tpm", job(scoped.edit_tpm(vm, &edit))),
        ("preview", scoped.preview_edit_tpm(vm, &edit).map(|_| ())),
        ("rekey_vm", job(scoped.rekey_vm(vm, Rekey::default()))),
        ("unlock_vm", job(scoped.unlock_vm(vm))),
        ("snapshots", scoped.snapshots(vm).map(|_| ())),
        ("take_snapshot", job(scoped.take_snapshot(vm, snapshot))),
        ("revert_vm", job(scoped.revert_vm(vm, "s"))),
        ("forget_snapshot", job(scoped.forget_snapshot(vm, "s"))),
        ("move_vm", job(scoped.move_vm(vm, &to))),
        ("lineage", scoped.lineage(vm).map(|_| ())),
        (
            "add_to_vapp",
            job(scoped.add_to_vapp("rival-shop", &[copy])),
        ),
        ("capture", job(scoped.capture(&capture))),
        ("create_vapp", job(scoped.create_vapp(&build))),
    ]
}

#[test]
fn what_belongs_to_another_organization_is_unknown_in_the_words_for_what_is_not_there() {
    let world = world();
    let acme = world.operations.as_user(user("acme", Role::Administrator));
    let rival = world.operations.as_user(user("rival", Role::Administrator));
    let before = world.engine.list("").unwrap();
    let vm = acme.vm("acme-web").unwrap();
    let vapp = acme.vapp("acme-shop").unwrap().vapp;
    let template = acme.template("acme-gold").unwrap();
    let ghost = VmId::random().to_string();

    let real = [
        vm.id.to_string(),
        format!("urn:vcloud:vm:{}", vm.id),
        "acme-web".to_owned(),
        "acme-shop/acme-web".to_owned(),
        "acme/acme-shop/acme-web".to_owned(),
        template.vms[0].id.to_string(),
    ];
    for reference in real {
        for ((what, theirs), (_, nobodys)) in on_vm(&rival, &reference)
            .into_iter()
            .zip(on_vm(&rival, &ghost))
        {
            let said = unknown(theirs, what).replace(&reference, "?");
            assert_eq!(said, unknown(nobodys, what).replace(&ghost, "?"), "{what}");
        }
    }

    for reference in [
        vapp.id.to_string(),
        "acme-shop".to_owned(),
        "acme/acme-shop".to_owned(),
    ] {
        let copy = CopyVapp {
            name: name("loot"),
            vdc: None,
            tpm: None,
            vms: std::collections::BTreeMap::new(),
        };
        let away = MoveVapp {
            vdc: "vdc1".to_owned(),
            tpm: None,
            api: true,
        };
        let to = MoveVm {
            vapp: reference.clone(),
            name: None,
            tpm: None,
        };
        let capture = Capture {
            vapp: Some(reference.clone()),
            vm: None,
            catalog: "shelf".to_owned(),
            name: name("t"),
            tpm: None,
        };
        unknown(rival.vapp(&reference), "vapp");
        unknown(rival.copy_vapp(&reference, &copy), "copy_vapp");
        unknown(rival.preview_copy_vapp(&reference, &copy), "preview");
        unknown(rival.move_vapp(&reference, &away), "move_vapp");
        unknown(rival.delete_vapp(&reference), "delete_vapp");
        unknown(rival.preview_delete_vapp(&reference), "preview");
        unknown(rival.add_to_vapp(&reference, &[item("x")]), "add_to_vapp");
        unknown(rival.move_vm("rival-web", &to), "move_vm");
        unknown(rival.capture(&capture), "capture");
    }

    let instantiate = |organization: Option<&str>, vdc: Option<&str>| Instantiate {
        name: name("loot"),
        vdc: vdc.map(str::to_owned),
        organization: organization.map(name),
        tpm: None,
        standalone: false,
        vm: None,
        count: None,
    };
    for reference in [
        template.id.to_string(),
        "acme-gold".to_owned(),
        "acme/shelf/acme-gold".to_owned(),
    ] {
        unknown(rival.template(&reference), "template");
        unknown(rival.delete_template(&reference), "delete_template");
        unknown(
            rival.instantiate(&reference, &instantiate(None, None)),
            "instantiate",
        );
        let item = VappItem {
            template: Some(reference),
            new: None,
            ..item("x")
        };
        unknown(rival.add_to_vapp("rival-shop", &[item]), "add_to_vapp");
    }
    let into = instantiate(Some("acme"), None);
    unknown(
        rival.instantiate("rival-gold", &into),
        "into an organization",
    );
    let into = instantiate(None, Some("acme/vdc1"));
    unknown(rival.instantiate("rival-gold", &into), "into a vdc");

    unknown(rival.publish_catalog("acme/shelf", true), "publish");
    unknown(rival.sync_catalog("acme/shelf"), "sync");
    unknown(rival.users(Some(&name("acme"))), "users");
    let made = rival.create_user(
        Some(&name("acme")),
        name("mole"),
        Role::VappUser,
        "longenough",
    );
    unknown(made, "create_user");
    let follow = |offer: &str| {
        rival.create_catalog(CreateCatalog {
            name: name("mirror"),
            organization: None,
            vdc: None,
            subscribe: Some(offer.to_owned()),
        })
    };
    let there = unknown(follow("acme/shelf"), "subscribe");
    assert_eq!(
        there.replace("acme/shelf", "?"),
        unknown(follow("no/such"), "").replace("no/such", "?")
    );

    let tasks = acme.tasks().unwrap();
    assert!(!tasks.is_empty());
    for task in tasks {
        assert_eq!(task.owner.as_deref(), Some("eve@acme"));
        unknown(rival.task(task.id), "task");
        unknown(rival.cancel_task(task.id), "cancel_task");
    }
    assert_eq!(world.engine.list("").unwrap(), before, "nothing changed");

    let rival_sees = serde_json::to_string(&(
        rival.vms().unwrap(),
        rival.vapps().unwrap(),
        rival.templates().unwrap(),
        rival.catalogs().unwrap(),
        rival.vdcs().unwrap(),
        rival.tasks().unwrap(),
        rival.organizations().unwrap(),
        rival.users(None).unwrap(),
        rival.audit(0, usize::MAX).unwrap(),
        rival.published_catalogs().unwrap(),
        rival.lineage("rival-web").unwrap(),
    ))
    .unwrap();
    assert!(
        rival_sees.contains("rival-web") && !rival_sees.contains("acme"),
        "{rival_sees}"
    );
}

#[test]
fn a_vapp_called_like_the_id_of_another_is_not_in_its_way() {
    let world = world();
    let acme = world.operations.as_user(user("acme", Role::Administrator));
    let rival = world.operations.as_user(user("rival", Role::Administrator));
    let id = acme.vapp("acme-shop").unwrap().vapp.id.to_string();
    done(rival.create_vapp(&CreateVapp {
        name: name(&id),
        organization: None,
        vdc: None,
        vms: vec![],
    }));
    for scoped in [acme, world.operations.as_user(Principal::local())] {
        assert_eq!(scoped.vapp(&id).unwrap().vapp.name, name("acme-shop"));
    }
}

#[test]
fn what_belongs_to_no_organization_is_the_systems() {
    let world = world();
    world.create("alone");
    let acme = world.operations.as_user(user("acme", Role::Administrator));
    unknown(acme.vm("alone"), "a VM outside vApps");
    assert!(
        acme.vms()
            .unwrap()
            .iter()
            .all(|vm| vm.name != name("alone"))
    );
    let forbidden = |outcome: Result<()>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Forbidden);
    };
    forbidden(acme.vcenters().map(|_| ()));
    forbidden(acme.datastores().map(|_| ()));
    forbidden(acme.providers().map(|_| ()));
    forbidden(acme.provider(None, &name("kp1")).map(|_| ()));
    forbidden(acme.forget_keys(None, &name("kp1")).map(|_| ()));
    forbidden(acme.create_organization(name("mine")).map(|_| ()));
    forbidden(acme.check_audit().map(|_| ()));
    forbidden(
        acme.clone_vm("acme-web", &clone_request("x", None))
            .map(|_| ()),
    );
    let error = acme
        .create_vm(crate::CreateVm::named(name("x")))
        .map(|_| ());
    forbidden(error);
    let state = vec![7; 32].into();
    let vm = crate::CreateVm::named(name("x"));
    forbidden(acme.adopt_tpm(crate::AdoptTpm { vm, state }).map(|_| ()));
    let administrator = world.operations.as_user(user(SYSTEM, Role::Administrator));
    assert_eq!(administrator.vms().unwrap().len(), 3);
}

#[test]
fn a_role_without_a_privilege_over_keys_builds_without_tpms_only() {
    let world = world();
    let acme = |role| world.operations.as_user(user("acme", role));
    let limited = acme(Role::NoCryptographyAdministrator);
    let copy = CopyVapp {
        name: name("copy"),
        vdc: None,
        tpm: Some(TpmProvisioning::Copy),
        vms: std::collections::BTreeMap::new(),
    };
    let error = limited.copy_vapp("acme-shop", &copy).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(error.to_string().contains("Cryptographer.Clone"), "{error}");
    let with_tpm = |tpm| CreateVapp {
        name: name("bare"),
        organization: None,
        vdc: None,
        vms: vec![VappItem {
            new: Some(NewVappVm {
                tpm,
                ..NewVappVm::default()
            }),
            ..item("x")
        }],
    };
    let error = limited.create_vapp(&with_tpm(true)).err().unwrap();
    assert!(
        error.to_string().contains("Cryptographer.EncryptNew"),
        "{error}"
    );
    done(limited.create_vapp(&with_tpm(false)));
    // Nor can it make somebody who may.
    let error = limited.create_user(None, name("puppet"), Role::Administrator, "longenough");
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Forbidden);

    let looker = acme(Role::VappUser);
    assert!(looker.vm("acme-web").is_ok());
    done(looker.power_on("acme-web", false));
    done(looker.power_off("acme-web"));
    assert_eq!(
        looker.delete_vapp("acme-shop").err().unwrap().kind(),
        ErrorKind::Forbidden
    );
    assert_eq!(looker.users(None).unwrap_err().kind(), ErrorKind::Forbidden);
    let shelf = acme(Role::CatalogAuthor);
    assert!(shelf.publish_catalog("shelf", true).is_ok());
    assert_eq!(
        shelf.power_on("acme-web", false).err().unwrap().kind(),
        ErrorKind::Forbidden
    );
    // What is published is known to others; why something is withheld is not.
    let rival = world.operations.as_user(user("rival", Role::Administrator));
    let offers = rival.published_catalogs().unwrap();
    assert_eq!((offers.len(), offers[0].withheld.len()), (1, 0));
}

#[test]
fn the_first_administrator_is_made_once_and_logs_in_under_both_names_of_the_system() {
    let world = World::with_vcenter("8.0.3");
    let first = |password: &str| {
        let password = zeroize::Zeroizing::new(password.to_owned());
        world
            .operations
            .first_administrator::<Error>(|| Ok(password))
    };
    assert_eq!(first("").unwrap_err().kind(), ErrorKind::BadRequest);
    assert_eq!(
        first("first password").unwrap().unwrap().as_str(),
        "first password"
    );
    assert_eq!(first("another password").unwrap(), None);
    for login in [
        "administrator@vsphere.local",
        "Administrator@VSPHERE.LOCAL",
        "administrator@system",
        r"vsphere.local\administrator",
    ] {
        let login = LoginName::parse(login).unwrap();
        let found = world
            .operations
            .authenticate(&login.organization, &login.user, "first password")
            .unwrap();
        assert_eq!(found.unwrap().role, Role::Administrator);
    }
    for organization in ["System", "vsphere.local"] {
        let refused = world.operations.create_organization(name(organization));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::BadRequest);
    }
    assert!(LoginName::parse("nobody").is_err() && LoginName::parse("a/b@acme").is_err());
    let audited = world.operations.audit(0, usize::MAX).unwrap();
    assert!(
        audited
            .iter()
            .any(|entry| entry.name == "system/administrator")
    );
}
