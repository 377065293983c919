//! VMs that are suspended: for every rule they are not off (1.10), and their TPMs go on from where they were.

use super::*;
use crate::testing::VOLATILE;
use vm_store::SectionKind;

fn power_of(world: &World, vm: &str) -> PowerState {
    world.operations.vm(vm).unwrap().power
}

/// What the TPM of a VM would go on from.
fn kept(world: &World, vm: &str) -> Option<Vec<u8>> {
    let contents = world.operations.contents_for_tests(vm);
    contents.get(SectionKind::TPM_VOLATILE).map(<[u8]>::to_vec)
}

#[test]
fn scenario_25_a_suspended_vm_is_not_off() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    add_vdc(&world, "vdc3", "vc01");
    done(ops.create_vm(create("plain", "ubuntu64Guest")));
    done(ops.edit_tpm("plain", &edit(false)));
    for vm in ["shop/web", "plain"] {
        let said = message(ops.suspend_vm(vm));
        assert!(said.contains("only a VM that runs"), "{said}");
        done(ops.power_on(vm, false));
        done(ops.suspend_vm(vm));
        assert_eq!(power_of(&world, vm), PowerState::Suspended);
        assert!(ops.suspend_vm(vm).is_err());
    }
    let files = world.files();
    for (what, outcome) in [
        ("remove", ops.edit_tpm("shop/web", &edit(false))),
        ("add", ops.edit_tpm("plain", &edit(true))),
        ("move", ops.move_vapp("shop", &moved("vdc3", None, false))),
        ("delete a vApp", ops.delete_vapp("shop")),
    ] {
        assert_eq!(broken(outcome), [Rule::PowerState], "{what}");
    }
    let deep = Rekey {
        provider: None,
        deep: true,
    };
    for (what, outcome) in [
        ("delete", ops.delete_vm("shop/web")),
        ("re-key", ops.rekey_vm("shop/web", deep)),
        ("encrypt", ops.encrypt_vm("plain", EncryptVm::default())),
    ] {
        let said = message(outcome);
        assert!(said.contains("suspended"), "{what}: {said}");
    }
    assert!(world.files() == files, "a refusal changed a file");
}

#[test]
fn a_suspended_tpm_goes_on_and_no_copy_of_it_does() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    done(ops.power_on("shop/web", false));
    done(ops.suspend_vm("shop/web"));
    assert_eq!(kept(&world, "shop/web").as_deref(), Some(VOLATILE));
    // A shallow re-key may come in any state, and leaves it as it is.
    done(ops.rekey_vm("shop/web", Rekey::default()));
    assert_eq!(kept(&world, "shop/web").as_deref(), Some(VOLATILE));
    // Copies begin as after a power cycle.
    done(ops.copy_vapp("shop", &copy("twin", None, COPY)));
    assert_eq!(
        (power_of(&world, "twin/web"), kept(&world, "twin/web")),
        (PowerState::Off, None)
    );
    let ek = |vm: &str| ops.vm(vm).unwrap().tpm.ek_name;
    assert_eq!(ek("twin/web"), ek("shop/web"));
    done(ops.power_on("shop/web", false));
    // Powering off gives up what it would have gone on from.
    done(ops.suspend_vm("shop/web"));
    done(ops.power_off("shop/web"));
    assert_eq!(
        (power_of(&world, "shop/web"), kept(&world, "shop/web")),
        (PowerState::Off, None)
    );
}

#[test]
fn of_a_vapp_those_that_run_are_suspended() {
    let world = acme("8.0.3");
    let ops = &world.operations;
    shop(&world);
    assert!(ops.power_vapp("shop", PowerState::Suspended).is_err());
    done(ops.power_on("shop/web", false));
    done(ops.power_on("shop/log", false));
    let foreseen = ops.preview_power_vapp("shop", PowerState::Suspended);
    assert!(foreseen.unwrap().possible);
    done(ops.power_vapp("shop", PowerState::Suspended));
    let states = || ["web", "db", "log"].map(|vm| power_of(&world, &format!("shop/{vm}")));
    let (on, off, suspended) = (PowerState::On, PowerState::Off, PowerState::Suspended);
    assert_eq!(states(), [suspended, off, suspended]);
    done(ops.power_vapp("shop", on));
    assert_eq!(states(), [on; 3]);
    done(ops.power_vapp("shop", suspended));
    done(ops.power_vapp("shop", off));
    assert_eq!(states(), [off; 3]);
}

fn edit(present: bool) -> EditTpm {
    EditTpm {
        present,
        provider: None,
        profile: None,
        confirm: true,
    }
}
