//! Scenarios 24 and 25: keys that are gone, TPMs that come and go (scenario 23 needs key servers that stop: `tests/kmip/outage.rs`).

use super::*;

#[test]
fn scenario_24_a_key_that_is_gone_makes_the_copy_fail_without_a_trace() {
    let world = acme("8.0.3");
    shop(&world);
    let provider = world.folder.path().join("providers/vc01/kp1.json");
    let path = if provider.exists() {
        provider
    } else {
        let folder = world.folder.path().join("providers/vc01");
        let mut files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        files
            .find(|path| path.is_file() && path.to_string_lossy().contains("kp1"))
            .unwrap()
    };
    let before = world.files();
    let hidden = world.folder.path().join("hidden");
    std::fs::rename(&path, &hidden).unwrap();
    let outcome = world
        .operations
        .copy_vapp("shop", &copy("twin", None, None));
    if let Ok(job) = outcome {
        assert_eq!(job.run().status, TaskStatus::Error);
    }
    assert_eq!(world.files(), before);
    assert!(world.operations.vapp("twin").is_err());
    std::fs::rename(&hidden, &path).unwrap();
    done(
        world
            .operations
            .copy_vapp("shop", &copy("twin", None, None)),
    );
}

#[test]
fn scenario_25_remove_then_add_makes_a_new_tpm_in_the_right_states_only() {
    let world = World::with_vcenter("8.0.3");
    world.create("web");
    let ops = &world.operations;
    let old = world.seed("web");
    let edit = |present, confirm| EditTpm {
        present,
        provider: None,
        profile: None,
        confirm,
    };
    assert_eq!(
        broken(ops.edit_tpm("web", &edit(false, false))),
        [Rule::Confirmation]
    );
    done(ops.power_on("web", false));
    assert_eq!(
        broken(ops.edit_tpm("web", &edit(false, true))),
        [Rule::PowerState]
    );
    done(ops.power_off("web"));
    let snapshot = TakeSnapshot {
        name: name("s"),
        description: String::new(),
    };
    done(ops.take_snapshot("web", snapshot));
    assert_eq!(
        broken(ops.edit_tpm("web", &edit(false, true))),
        [Rule::NoSnapshots]
    );
    done(ops.forget_snapshot("web", "s"));
    done(ops.edit_tpm("web", &edit(false, true)));
    assert!(!ops.vm("web").unwrap().tpm.present);
    assert_eq!(ops.vm("web").unwrap().provider, None);
    done(ops.edit_tpm("web", &edit(true, false)));
    assert_ne!(world.seed("web"), old);
    done(ops.power_on("web", false));
    assert_eq!(ops.vm("web").unwrap().power, PowerState::On);
    assert!(
        ops.edit_tpm("web", &edit(true, false)).is_err(),
        "it has one"
    );
}
