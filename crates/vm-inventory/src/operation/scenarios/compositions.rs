//! vApps of parts: each VM from somewhere else, with a name and a choice of its own, all in one operation.

use super::*;
use crate::operation::{Compose, Part};
use crate::provisioning::Operation;

fn copy_of(vm: &str, as_name: &str, tpm: Option<TpmProvisioning>) -> Part {
    Part::Copy {
        vm: vm.to_owned(),
        name: Some(name(as_name)),
        tpm,
    }
}

fn arrival(vm: &str) -> Part {
    Part::Move {
        vm: vm.to_owned(),
        name: None,
        tpm: None,
    }
}

fn fresh(vm: &str) -> Part {
    Part::New {
        name: name(vm),
        vm: NewVappVm {
            tpm: true,
            ..NewVappVm::default()
        },
    }
}

fn composed(vapp: &str, parts: Vec<Part>, standalone: bool) -> Compose {
    Compose {
        name: name(vapp),
        vdc: "acme/vdc1".to_owned(),
        operation: Operation::BuildVapp,
        source: None,
        parts,
        standalone,
    }
}

fn names(world: &World, vapp: &str) -> Vec<String> {
    let view = world.operations.vapp(vapp).unwrap();
    view.vms.iter().map(|vm| vm.name.to_string()).collect()
}

#[test]
fn each_part_has_a_name_and_a_choice_of_its_own() {
    let world = acme("8.0.3");
    shop(&world);
    done(world.operations.capture(&capture("shop", "gold", REPLACE)));
    let of_template = Part::Template {
        template: "gold".to_owned(),
        vm: Some(name("db")),
        name: Some(name("d")),
        tpm: None,
    };
    let parts = vec![
        copy_of("shop/web", "a", None),
        copy_of("shop/web", "b", COPY),
        copy_of("shop/web", "c", REPLACE),
        of_template,
        fresh("e"),
    ];
    done(world.operations.compose(&composed("mixed", parts, false)));
    assert_eq!(names(&world, "mixed"), ["a", "b", "c", "d", "e"]);
    let web = world.seed("shop/web");
    assert_eq!(world.seed("mixed/a"), web);
    assert_eq!(world.seed("mixed/b"), web);
    assert_ne!(world.seed("mixed/c"), web);
    assert_ne!(world.seed("mixed/d"), world.seed("shop/db"));
}

#[test]
fn one_part_that_is_refused_refuses_all_of_them() {
    let world = acme("7.0.3");
    shop(&world);
    let files = world.files();
    let parts = vec![
        copy_of("shop/web", "a", None),
        copy_of("shop/web", "b", REPLACE),
        copy_of("shop/db", "a", None),
    ];
    let rules = broken(world.operations.compose(&composed("mixed", parts, false)));
    assert_eq!(rules, [Rule::TpmChoice, Rule::Place]);
    assert!(world.files() == files);
    assert_eq!(world.operations.vapps().unwrap().len(), 1);
}

#[test]
fn one_recomposition_adds_moves_and_deletes() {
    let world = acme("8.0.3");
    shop(&world);
    done(
        world
            .operations
            .create_vapp(&vapp("target", vec![new_vm("old", true)])),
    );
    let web = world.seed("shop/web");
    let parts = [
        arrival("shop/web"),
        copy_of("shop/db", "copy", None),
        fresh("new"),
    ];
    let removed = ["target/old".to_owned()];
    done(world.operations.recompose("target", &parts, &removed));
    assert_eq!(names(&world, "target"), ["copy", "new", "web"]);
    assert_eq!(names(&world, "shop"), ["db", "log"]);
    assert_eq!(world.seed("target/web"), web);
    assert_disk(&world, "target/web", "web");

    done(world.operations.power_on("target/web", false));
    let rules = broken(
        world
            .operations
            .recompose("target", &[], &["target/web".to_owned()]),
    );
    assert_eq!(rules, [Rule::PowerState]);
    let foreign = world
        .operations
        .recompose("target", &[], &["shop/db".to_owned()]);
    assert!(message(foreign).contains("not in the vApp target"));
    assert!(message(world.operations.recompose("target", &[], &[])).contains("names no VM"));
}

#[test]
fn what_is_around_a_standalone_vm_comes_and_goes_with_it() {
    let world = acme("8.0.3");
    shop(&world);
    let task = done(
        world
            .operations
            .compose(&composed("alone", vec![fresh("alone")], true)),
    );
    assert_eq!(task.vm_name, name("alone"));
    let vm = world.operations.vm(&task.vm.to_string()).unwrap();
    let around = vm.vapp.unwrap();
    assert!(
        world
            .operations
            .vapp(&around.id.to_string())
            .unwrap()
            .vapp
            .standalone
    );
    let into = world
        .operations
        .recompose(&around.id.to_string(), &[fresh("more")], &[]);
    assert!(message(into).contains("standalone"));

    done(
        world
            .operations
            .recompose("shop", &[arrival(&task.vm.to_string())], &[]),
    );
    assert_eq!(names(&world, "shop"), ["alone", "db", "log", "web"]);
    assert!(world.operations.vapp(&around.id.to_string()).is_err());
    let two = vec![fresh("x"), fresh("y")];
    assert!(world.operations.compose(&composed("z", two, true)).is_err());
}

#[test]
fn a_vapp_is_powered_as_a_whole_and_what_is_made_can_be_powered_on_at_once() {
    let world = acme("8.0.3");
    shop(&world);
    let on = |vapp: &str| -> Vec<bool> {
        let view = world.operations.vapp(vapp).unwrap();
        view.vms
            .iter()
            .map(|vm| vm.power == PowerState::On)
            .collect()
    };
    done(world.operations.power_vapp("shop", PowerState::On));
    assert_eq!(on("shop"), [true, true, true]);
    assert!(world.operations.power_vapp("shop", PowerState::On).is_err());
    done(world.operations.power_vapp("shop", PowerState::Off));
    assert_eq!(on("shop"), [false, false, false]);
    let job = world
        .operations
        .compose(&composed("new", vec![fresh("a"), fresh("b")], false));
    done(job.map(Job::then_power_on));
    assert_eq!(on("new"), [true, true]);
}
