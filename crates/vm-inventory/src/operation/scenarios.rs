//! The acceptance scenarios of the behaviour specification, by number, on real files with real providers; a TPM is random
//! bytes of which a copy keeps the first half.

use super::*;
use crate::model::{CloudSettings, PowerState, TemplateOrigin};
use crate::provisioning::{TpmAction, TpmProvisioning};
use crate::requirements::Rule;
use crate::testing::{PASSWORD, World, clone_request, done, failed, name};
use std::collections::BTreeMap;

const COPY: Option<TpmProvisioning> = Some(TpmProvisioning::Copy);
const REPLACE: Option<TpmProvisioning> = Some(TpmProvisioning::Replace);

/// The rules that a refused request breaks.
fn broken(outcome: Result<Job>) -> Vec<Rule> {
    match outcome.err().unwrap() {
        Error::Rules { failures, .. } | Error::Requirements { failures, .. } => {
            failures.iter().map(|failure| failure.rule).collect()
        }
        Error::Provisioning { .. } => vec![Rule::TpmChoice],
        other => panic!("{other}"),
    }
}

fn message(outcome: Result<Job>) -> String {
    outcome.err().unwrap().to_string()
}

/// `acme` with the virtual data center `vdc1` and the catalog `shelf` on `vc01`.
fn acme(version: &str) -> World {
    let world = World::with_vcenter(version);
    world.operations.create_organization(name("acme")).unwrap();
    add_vdc(&world, "vdc1", "vc01");
    add_catalog(&world, "shelf", "vdc1");
    world
}

fn add_vdc(world: &World, vdc: &str, vcenter: &str) {
    world
        .operations
        .create_vdc(CreateVdc {
            name: name(vdc),
            organization: Some(name("acme")),
            vcenter: Some(name(vcenter)),
            datastore: None,
        })
        .unwrap();
}

fn add_catalog(world: &World, catalog: &str, vdc: &str) {
    world
        .operations
        .create_catalog(CreateCatalog {
            name: name(catalog),
            organization: Some(name("acme")),
            vdc: Some(vdc.to_owned()),
            subscribe: None,
        })
        .unwrap();
}

/// A second vCenter with `vdc2`, trusted; its provider is what `provider` says.
fn second(world: &World, version: &str, provider: Second) {
    let ops = &world.operations;
    ops.create_vcenter(CreateVCenter {
        name: name("vc02"),
        version: version.parse().unwrap(),
    })
    .unwrap();
    ops.create_datastore(name("ds-vc02"), vec![name("vc02")])
        .unwrap();
    ops.trust(&name("vc01"), &name("vc02")).unwrap();
    add_vdc(world, "vdc2", "vc02");
    let (restored, own) = match provider {
        Second::SameKeys => (true, None),
        Second::OtherKeys => (false, Some("kp1")),
        Second::OtherName => (false, Some("kp2")),
    };
    if restored {
        restore(world, "vc02");
    }
    if let Some(own) = own {
        ops.create_provider(CreateProvider::native(name(own), Some(name("vc02")), true))
            .unwrap();
        ops.back_up_provider(Some(&name("vc02")), &name(own), PASSWORD)
            .unwrap();
    }
}

enum Second {
    SameKeys,
    OtherKeys,
    OtherName,
}

/// Brings `kp1` of `vc01` to another vCenter.
fn restore(world: &World, vcenter: &str) {
    let backup = std::fs::read(world.folder.path().join("backups/vc01-kp1.p12")).unwrap();
    world
        .operations
        .restore_provider(RestoreProvider {
            name: name("kp1"),
            vcenter: Some(name(vcenter)),
            default: true,
            backup: &backup,
            password: PASSWORD,
        })
        .unwrap();
}

fn new_vm(vm: &str, tpm: bool) -> VappItem {
    VappItem {
        name: Some(name(vm)),
        vm: None,
        template: None,
        new: Some(NewVappVm {
            tpm,
            ..NewVappVm::default()
        }),
        tpm: None,
    }
}

fn vapp(vapp_name: &str, vms: Vec<VappItem>) -> CreateVapp {
    CreateVapp {
        name: name(vapp_name),
        organization: Some(name("acme")),
        vdc: Some("vdc1".to_owned()),
        vms,
    }
}

/// A vApp `shop` with the VMs `web` and `db`, which have TPMs, and `log`, which has none; each has a disk.
fn shop(world: &World) {
    let vms = vec![
        new_vm("web", true),
        new_vm("db", true),
        new_vm("log", false),
    ];
    done(world.operations.create_vapp(&vapp("shop", vms)));
    for vm in ["web", "db", "log"] {
        add_disk(world, &format!("shop/{vm}"), vm);
    }
}

fn folder_of(world: &World, vm: &str) -> std::path::PathBuf {
    let vm = world.operations.vm(vm).unwrap();
    world
        .folder
        .path()
        .join("datastores")
        .join(vm.datastore.as_str())
        .join(vm.folder.as_str())
}

fn add_disk(world: &World, vm: &str, content: &str) {
    std::fs::write(
        folder_of(world, vm).join("disk.vmdk"),
        content.repeat(30_000),
    )
    .unwrap();
}

fn assert_disk(world: &World, vm: &str, content: &str) {
    let disk = std::fs::read(folder_of(world, vm).join("disk.vmdk")).unwrap();
    assert!(
        disk == content.repeat(30_000).into_bytes(),
        "the disk of {vm}"
    );
}

fn copy(to: &str, vdc: Option<&str>, tpm: Option<TpmProvisioning>) -> CopyVapp {
    CopyVapp {
        name: name(to),
        vdc: vdc.map(str::to_owned),
        tpm,
        vms: BTreeMap::new(),
    }
}

fn like(vm: &str, tpm: Option<TpmProvisioning>) -> Vec<VappItem> {
    vec![VappItem {
        name: None,
        vm: Some(vm.to_owned()),
        template: None,
        new: None,
        tpm,
    }]
}

fn capture(from: &str, template: &str, tpm: Option<TpmProvisioning>) -> Capture {
    Capture {
        vapp: Some(from.to_owned()),
        vm: None,
        catalog: "shelf".to_owned(),
        name: name(template),
        tpm,
    }
}

fn instance(vapp_name: &str, vdc: &str, tpm: Option<TpmProvisioning>) -> Instantiate {
    Instantiate {
        name: name(vapp_name),
        vdc: Some(vdc.to_owned()),
        organization: None,
        tpm,
        standalone: false,
        vm: None,
        count: None,
    }
}

fn moved(vdc: &str, tpm: Option<TpmProvisioning>, api: bool) -> MoveVapp {
    MoveVapp {
        vdc: vdc.to_owned(),
        tpm,
        api,
    }
}

fn locator(world: &World, vm: &str) -> String {
    let folder = folder_of(world, vm);
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let text = std::fs::read_to_string(folder.join(format!("{name}.vmx"))).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("encryption.keySafe"));
    line.unwrap().to_owned()
}

fn create(vm: &str, guest: &str) -> CreateVm {
    CreateVm {
        tpm: true,
        guest: Some(guest.parse().unwrap()),
        ..CreateVm::named(name(vm))
    }
}

#[test]
fn scenario_1_a_windows_vm_gets_a_new_tpm_and_its_disks_stay_plain() {
    let world = World::with_vcenter("7.0.3");
    let mut request = create("win", "windows2019srv_64Guest");
    request.hardware_version = Some(14);
    done(world.operations.create_vm(request));
    add_disk(&world, "win", "plain");
    assert_eq!(
        world.operations.vm("win").unwrap().tpm.origin,
        Some(TpmAction::New)
    );
    done(
        world
            .operations
            .clone_vm("win", clone_request("win2", None)),
    );
    assert_disk(&world, "win", "plain");
    assert_eq!(world.seed("win"), world.seed("win2"));
}

#[test]
fn scenario_2_bios_and_old_hardware_are_refused_by_name_and_leave_no_file() {
    let world = acme("7.0.3");
    let mut item = new_vm("web", true);
    if let Some(new) = &mut item.new {
        new.firmware = Some(crate::model::Firmware::Bios);
        new.hardware_version = Some(13);
    }
    let before = world.files();
    let rules = broken(
        world
            .operations
            .create_vapp(&vapp("shop", vec![item, new_vm("db", true)])),
    );
    assert_eq!(rules, [Rule::EfiFirmware, Rule::HardwareVersion]);
    assert_eq!(world.files(), before);
    assert!(world.operations.vapps().unwrap().is_empty());
}

#[test]
fn scenarios_3_and_4_guests_and_versions() {
    let old = World::with_vcenter("7.0.1.0");
    // A native provider needs 7.0.2 itself, so the rule about the guest is looked at alone.
    let rules = |guest: &str| broken(old.operations.create_vm(create("vm", guest)));
    assert!(rules("ubuntu64Guest").contains(&Rule::VcenterForGuest));
    assert!(!rules("windows9_64Guest").contains(&Rule::VcenterForGuest));
    let new = World::with_vcenter("7.0.2.0");
    done(new.operations.create_vm(create("linux", "ubuntu64Guest")));
    for guest in ["winVistaGuest", "freebsd14_64Guest"] {
        assert_eq!(
            broken(new.operations.create_vm(create("vm", guest))),
            [Rule::GuestFloor]
        );
    }
    for (vm, guest) in [
        ("seven", "windows7_64Guest"),
        ("2008", "winLonghorn64Guest"),
    ] {
        done(new.operations.create_vm(create(vm, guest)));
    }
}

#[test]
fn scenario_5_a_tpm_needs_a_provider_that_was_backed_up() {
    let world = World::empty();
    let ops = &world.operations;
    ops.create_vcenter(CreateVCenter {
        name: name("vc01"),
        version: "8.0.3".parse().unwrap(),
    })
    .unwrap();
    ops.create_datastore(name("ds"), vec![name("vc01")])
        .unwrap();
    done(ops.create_vm(CreateVm::named(name("web"))));
    let add = EditTpm {
        present: true,
        provider: None,
        profile: None,
        confirm: false,
    };
    assert_eq!(broken(ops.edit_tpm("web", &add)), [Rule::KeyProvider]);
    ops.create_provider(CreateProvider::native(name("kp1"), None, false))
        .unwrap();
    assert_eq!(
        broken(ops.edit_tpm("web", &add)),
        [Rule::NativeProviderBackup]
    );
    ops.back_up_provider(None, &name("kp1"), PASSWORD).unwrap();
    done(ops.edit_tpm("web", &add));
    assert!(ops.vm("web").unwrap().tpm.present);
    done(ops.power_on("web", false));
}

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
fn scenarios_19_and_20_shared_storage_fast_instantiation_and_the_exception() {
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
    let tree = ops.lineage("one/web").unwrap().unwrap();
    assert_eq!(tree.tpm.name, name("web"));
    assert!(tree.tpm.ended.is_some());
    let captured = &tree.children[0];
    assert_eq!(captured.tpm.operation, "capture_vapp");
    assert_eq!(
        captured.children[0].tpm.operation,
        "instantiate_vapp_template"
    );
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
