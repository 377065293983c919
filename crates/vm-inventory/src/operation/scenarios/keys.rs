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

#[test]
fn keys_change_with_a_chain_of_snapshots_at_most_and_the_data_key_without_any() {
    let world = World::with_vcenter("8.0.3");
    world.create("web");
    let ops = &world.operations;
    let rekey = |deep| Rekey {
        provider: None,
        deep,
    };
    let take = |of: &str, it: &str| {
        let request = TakeSnapshot {
            name: name(it),
            description: String::new(),
        };
        done(ops.take_snapshot(of, request));
    };
    take("web", "first");
    take("web", "second");
    done(ops.rekey_vm("web", rekey(false)));
    let before = world.files();
    assert_eq!(
        broken(ops.rekey_vm("web", rekey(true))),
        [Rule::NoSnapshots]
    );
    done(ops.revert_vm("web", "first"));
    take("web", "branch");
    assert_ne!(world.files(), before);
    assert_eq!(
        broken(ops.rekey_vm("web", rekey(false))),
        [Rule::NoSnapshots]
    );
    let preview = ops.preview_rekey_vm("web", &rekey(false)).unwrap();
    assert!(!preview.possible);
    let all = RekeyAll::default();
    let preview = ops.preview_rekey_provider(&name("kp1"), &all).unwrap();
    assert_eq!(preview.failures.len(), 1);
    for snapshot in ["branch", "second", "first"] {
        done(ops.forget_snapshot("web", snapshot));
    }
    let seed = world.seed("web");
    done(ops.rekey_vm("web", rekey(true)));
    assert_eq!(world.seed("web"), seed);
    // All that speaks against it is said at once.
    done(ops.power_on("web", false));
    take("web", "again");
    assert_eq!(
        broken(ops.rekey_vm("web", rekey(true))),
        [Rule::PowerState, Rule::NoSnapshots]
    );
}

#[test]
fn a_provider_whose_vms_and_templates_were_all_rekeyed_is_needed_by_nobody() {
    for deep in [false, true] {
        let request = RekeyAll {
            vcenter: None,
            to: Some(name("kp2")),
            deep,
        };
        for lives in 1.. {
            let world = acme("8.0.3");
            let ops = &world.operations;
            ops.create_provider(CreateProvider::native(name("kp2"), None, false))
                .unwrap();
            ops.back_up_provider(None, &name("kp2"), PASSWORD).unwrap();
            shop(&world);
            done(ops.capture(&capture("shop", "gold", None)));
            let seed = world.seed("shop/web");
            let refused = ops.remove_provider(&name("vc01"), &name("kp1"));
            assert!(refused.is_err());
            let all = |ops: &std::sync::Arc<Operations>| {
                ops.rekey_provider(&name("kp1"), request.clone())
            };
            let (world, died) = world.killed_at(lives, true, all);
            let ops = &world.operations;
            let resumed = ops.resume_rekeyings().unwrap();
            let nothing_began = resumed.is_empty() && died;
            for job in resumed {
                assert_eq!(job.run().error, None, "{deep} {lives}");
            }
            let left = ops.provider_keys(None, &name("kp1")).unwrap();
            if nothing_began && !left.is_empty() {
                let mut templates = left.iter().flat_map(|key| &key.templates);
                assert!(templates.all(|template| template == "shelf/gold"));
                done(all(ops));
            }
            assert_eq!(ops.provider_keys(None, &name("kp1")).unwrap(), []);
            let keys = ops.provider_keys(None, &name("kp2")).unwrap();
            let [key] = keys.as_slice() else {
                panic!("{keys:?}");
            };
            assert_eq!(key.templates, ["shelf/gold"]);
            let template = ops.template("gold").unwrap();
            for vm in template.vms.iter().filter(|vm| vm.tpm.is_some()) {
                assert_eq!(vm.provider, Some(name("kp2")), "{deep} {lives}");
            }
            ops.remove_provider(&name("vc01"), &name("kp1")).unwrap();
            done(ops.instantiate("gold", &instance("one", "vdc1", None)));
            assert_eq!(world.seed("one/web"), seed, "{deep} {lives}");
            if !died {
                break;
            }
        }
    }
}
