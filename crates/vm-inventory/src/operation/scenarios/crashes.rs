//! Operations that are killed, canceled, or fail half-way.

use super::*;

#[test]
fn a_crash_at_any_transaction_leaves_the_whole_or_nothing() {
    for last_one_counts in [false, true] {
        for lives in 1..=3 {
            let world = acme("8.0.3");
            shop(&world);
            second(&world, "8.0.3", Second::SameKeys);
            let seed = world.seed("shop/web");
            let before = world.files().len();
            let request = copy("twin", None, None);
            let (world, died) = world.killed_at(lives, last_one_counts, |ops| {
                ops.copy_vapp("shop", &request)
            });
            match world.operations.vapp("twin") {
                Ok(twin) => {
                    assert_eq!(twin.vms.len(), 3);
                    assert_eq!(world.seed("twin/web"), seed);
                }
                Err(_) => {
                    assert!(died);
                    assert_eq!(world.files().len(), before, "files are left over");
                    done(world.operations.copy_vapp("shop", &request));
                }
            }
            let (world, _) = world.killed_at(lives, last_one_counts, |ops| {
                ops.move_vapp("shop", &moved("vdc2", None, true))
            });
            let at = world.operations.vapp("shop").unwrap();
            assert_eq!(at.vms.len(), 3);
            let whole = at
                .vms
                .iter()
                .all(|vm| (vm.vcenter == name("vc02")) == (at.vapp.vdc == name("vdc2")));
            assert!(whole, "a vApp in two places");
            assert_eq!(world.seed("shop/web"), seed);
            assert_disk(&world, "shop/db", "db");
            let folders = world.files().keys().filter(|path| path.is_dir()).count();
            assert_eq!(folders, 2 + 6, "{lives} {last_one_counts}");
            for task in world.operations.tasks().unwrap() {
                assert!(task.is_finished());
            }
        }
    }
}

#[test]
fn a_crash_while_a_tpm_is_added_or_removed_leaves_a_vm_without_one_or_with_all_of_it() {
    for last_one_counts in [false, true] {
        for lives in 1..=3 {
            let world = World::with_vcenter("8.0.3");
            world.create("web");
            let edit = |present| EditTpm {
                present,
                provider: None,
                profile: None,
                confirm: true,
            };
            let (world, _) = world.killed_at(lives, last_one_counts, |ops| {
                ops.edit_tpm("web", &edit(false))
            });
            let present = world.operations.vm("web").unwrap().tpm.present;
            if present {
                done(world.operations.edit_tpm("web", &edit(false)));
            }
            let (world, _) = world.killed_at(lives, last_one_counts, |ops| {
                ops.edit_tpm("web", &edit(true))
            });
            if !world.operations.vm("web").unwrap().tpm.present {
                assert_eq!(
                    world
                        .files_of("web")
                        .keys()
                        .filter(|path| path.to_string_lossy().ends_with(".nvram"))
                        .count(),
                    0
                );
                done(world.operations.edit_tpm("web", &edit(true)));
            }
            done(world.operations.power_on("web", false));
        }
    }
}

#[test]
fn a_canceled_task_leaves_nothing() {
    let world = acme("8.0.3");
    shop(&world);
    let before = world.files();
    let job = world
        .operations
        .copy_vapp("shop", &copy("twin", None, None))
        .unwrap();
    assert_eq!(job.task().status, TaskStatus::Queued);
    world.operations.cancel_task(job.task().id).unwrap();
    let ended = job.run();
    assert_eq!(ended.status, TaskStatus::Canceled);
    assert_eq!(world.files(), before);
    assert!(world.operations.vapp("twin").is_err());
    assert!(world.operations.cancel_task(ended.id).is_err(), "too late");
    done(
        world
            .operations
            .copy_vapp("shop", &copy("twin", None, None)),
    );
}

#[test]
fn a_failure_in_the_middle_undoes_the_vms_that_were_made() {
    let world = acme("8.0.3");
    shop(&world);
    let before = world.files();
    let job = world
        .operations
        .copy_vapp("shop", &copy("twin", None, None))
        .unwrap();
    // The state of one VM is gone when its turn comes.
    let folder = folder_of(&world, "shop/db");
    let nvram = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension() == Some("nvram".as_ref()))
        .unwrap();
    let hidden = world.folder.path().join("hidden");
    std::fs::rename(&nvram, &hidden).unwrap();
    assert!(failed(Ok(job)).contains("nvram"));
    std::fs::rename(&hidden, &nvram).unwrap();
    assert_eq!(world.files(), before);
}

#[test]
fn a_hundred_instances_are_one_task() {
    let world = acme("8.0.3");
    done(
        world
            .operations
            .create_vapp(&vapp("one", vec![new_vm("web", true)])),
    );
    done(world.operations.capture(&capture("one", "gold", REPLACE)));
    let mut request = instance("many", "vdc1", None);
    request.count = Some(100);
    done(world.operations.instantiate("gold", &request));
    let many = world.operations.vapp("many").unwrap();
    let identities: std::collections::BTreeSet<_> =
        many.vms.iter().map(|vm| vm.tpm.ek_name.clone()).collect();
    assert_eq!((many.vms.len(), identities.len()), (100, 100));
    request.name = name("too-many");
    request.count = Some(u32::MAX);
    assert!(world.operations.instantiate("gold", &request).is_err());
    done(world.operations.delete_vapp("many"));
    assert_eq!(world.operations.vms().unwrap().len(), 1);
    assert_eq!(
        world.files().keys().filter(|path| path.is_dir()).count(),
        1 + 2
    );
}
