//! The acceptance scenarios of the behaviour specification, by number, on real files with real providers; a TPM is random
//! bytes of which a copy keeps the first half.

mod across;
mod changes;
mod compositions;
mod copies;
mod crashes;
mod creation;
mod encrypted;
mod foreseen;
mod inventory;
mod keys;
mod packages;
mod suspended;
mod templates;

use crate::model::{CloudSettings, PowerState, TemplateOrigin};
use crate::operation::*;
use crate::provisioning::{TpmAction, TpmProvisioning};
use crate::requirements::Rule;
use crate::testing::{PASSWORD, World, clone_request, done, failed, name};
use std::collections::BTreeMap;

const COPY: Option<TpmProvisioning> = Some(TpmProvisioning::Copy);
const REPLACE: Option<TpmProvisioning> = Some(TpmProvisioning::Replace);

/// The rules that a refused request breaks.
pub(super) fn broken(outcome: Result<Job>) -> Vec<Rule> {
    match outcome.err().unwrap() {
        Error::Rules { failures, .. } | Error::Requirements { failures, .. } => {
            failures.iter().map(|failure| failure.rule).collect()
        }
        Error::Provisioning { .. } => vec![Rule::TpmChoice],
        other => panic!("{other}"),
    }
}

pub(super) fn message(outcome: Result<Job>) -> String {
    outcome.err().unwrap().to_string()
}

/// `acme` with the virtual data center `vdc1` and the catalog `shelf` on `vc01`.
pub(super) fn acme(version: &str) -> World {
    let world = World::with_vcenter(version);
    world.operations.create_organization(name("acme")).unwrap();
    add_vdc(&world, "vdc1", "vc01");
    add_catalog(&world, "shelf", "vdc1");
    world
}

pub(super) fn add_vdc(world: &World, vdc: &str, vcenter: &str) {
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

pub(super) fn add_catalog(world: &World, catalog: &str, vdc: &str) {
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
pub(super) fn second(world: &World, version: &str, provider: Second) {
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

pub(super) enum Second {
    SameKeys,
    OtherKeys,
    OtherName,
}

/// Brings `kp1` of `vc01` to another vCenter.
pub(super) fn restore(world: &World, vcenter: &str) {
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

pub(super) fn new_vm(vm: &str, tpm: bool) -> VappItem {
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

pub(super) fn vapp(vapp_name: &str, vms: Vec<VappItem>) -> CreateVapp {
    CreateVapp {
        name: name(vapp_name),
        organization: Some(name("acme")),
        vdc: Some("vdc1".to_owned()),
        vms,
    }
}

/// A vApp `shop` with the VMs `web` and `db`, which have TPMs, and `log`, which has none; each has a disk.
pub(super) fn shop(world: &World) {
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

pub(super) fn folder_of(world: &World, vm: &str) -> std::path::PathBuf {
    let vm = world.operations.vm(vm).unwrap();
    world
        .folder
        .path()
        .join("datastores")
        .join(vm.datastore.as_str())
        .join(vm.folder.as_str())
}

pub(super) fn add_disk(world: &World, vm: &str, content: &str) {
    std::fs::write(
        folder_of(world, vm).join("disk.vmdk"),
        content.repeat(30_000),
    )
    .unwrap();
}

pub(super) fn assert_disk(world: &World, vm: &str, content: &str) {
    let disk = std::fs::read(folder_of(world, vm).join("disk.vmdk")).unwrap();
    assert!(
        disk == content.repeat(30_000).into_bytes(),
        "the disk of {vm}"
    );
}

pub(super) fn copy(to: &str, vdc: Option<&str>, tpm: Option<TpmProvisioning>) -> CopyVapp {
    CopyVapp {
        name: name(to),
        vdc: vdc.map(str::to_owned),
        tpm,
        vms: BTreeMap::new(),
    }
}

pub(super) fn like(vm: &str, tpm: Option<TpmProvisioning>) -> Vec<VappItem> {
    vec![VappItem {
        name: None,
        vm: Some(vm.to_owned()),
        template: None,
        new: None,
        tpm,
    }]
}

pub(super) fn capture(from: &str, template: &str, tpm: Option<TpmProvisioning>) -> Capture {
    Capture {
        vapp: Some(from.to_owned()),
        vm: None,
        catalog: "shelf".to_owned(),
        name: name(template),
        tpm,
    }
}

pub(super) fn instance(vapp_name: &str, vdc: &str, tpm: Option<TpmProvisioning>) -> Instantiate {
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

pub(super) fn moved(vdc: &str, tpm: Option<TpmProvisioning>, api: bool) -> MoveVapp {
    MoveVapp {
        vdc: vdc.to_owned(),
        tpm,
        api,
    }
}

pub(super) fn locator(world: &World, vm: &str) -> String {
    let folder = folder_of(world, vm);
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let text = std::fs::read_to_string(folder.join(format!("{name}.vmx"))).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("encryption.keySafe"));
    line.unwrap().to_owned()
}

pub(super) fn create(vm: &str, guest: &str) -> CreateVm {
    CreateVm {
        tpm: true,
        guest: Some(guest.parse().unwrap()),
        ..CreateVm::named(name(vm))
    }
}
