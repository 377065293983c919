//! Properties of VMs and their snapshots.

use super::{entity, files};
use crate::fault::{Fault, Outcome, power_word};
use crate::inventory::{self, World};
use crate::machine;
use crate::server::Call;
use crate::value::{MoRef, Object, Value};
use uuid::Uuid;
use vm_inventory::model::{Firmware, PowerState};
use vm_inventory::{Snapshot, SnapshotTree, VmHardware, VmView};

/// The key of the TPM among a VM's devices, as the real product numbers it.
pub(crate) const TPM_KEY: i32 = 11000;

pub(super) fn property(
    call: &Call,
    world: &World,
    of: &MoRef,
    name: &str,
) -> Outcome<Option<Value>> {
    let vm = world.vm(of)?;
    Ok(match name {
        "config" => Some(config(call, of, Some(vm))?.into()),
        "runtime" => Some(runtime(vm).into()),
        "summary" => {
            let hardware = hardware_of(call, vm)?;
            let devices = told(vm, &hardware);
            let storage = files::storage_summary(call, vm, devices.capacity())?;
            Some(summary(vm, &hardware, &devices, storage).into())
        }
        "guest" => Some(
            Object::new("GuestInfo")
                .with(
                    "toolsStatus",
                    Value::choice("VirtualMachineToolsStatus", "toolsNotInstalled"),
                )
                .with("toolsRunningStatus", "guestToolsNotRunning")
                .with("guestState", if on(vm) { "running" } else { "notRunning" })
                .with("guestOperationsReady", false)
                .into(),
        ),
        "capability" => Some(capability().into()),
        "environmentBrowser" => Some(inventory::environment_browser().into()),
        "resourcePool" => {
            let hardware = hardware_of(call, vm)?;
            // Templates are in none.
            (!hardware.template).then(|| inventory::resource_pool().into())
        }
        "datastore" => Some(Value::refs([inventory::datastore(&vm.datastore)])),
        "network" => {
            let hardware = hardware_of(call, vm)?;
            let at = told(vm, &hardware).is_connected();
            Some(Value::refs(at.then(inventory::network)))
        }
        "layout" => Some(files::layout(call, vm)?.into()),
        "layoutEx" => Some(files::layout_ex(call, vm)?.into()),
        "storage" => {
            let hardware = hardware_of(call, vm)?;
            Some(files::storage(call, vm, told(vm, &hardware).capacity())?.into())
        }
        "snapshot" => {
            let tree = tree(call, vm)?;
            snapshot_info(vm, &tree).map(Value::from)
        }
        "rootSnapshot" => {
            let tree = tree(call, vm)?;
            Some(Value::refs(
                tree.after(None).map(|it| inventory::snapshot(it.id)),
            ))
        }
        "guestHeartbeatStatus" => Some(Value::choice("ManagedEntityStatus", "gray")),
        other => entity::common(call, world, of, other),
    })
}

fn on(vm: &VmView) -> bool {
    vm.power == PowerState::On
}

fn tree(call: &Call, vm: &VmView) -> Outcome<SnapshotTree> {
    let of = inventory::vm(vm.id);
    call.act()?
        .snapshots(&vm.id.to_string())
        .map_err(Call::about(&of))
}

/// Path of a VM's settings: `[DATASTORE] FOLDER/NAME.vmx`.
pub(crate) fn settings_path(vm: &VmView) -> String {
    format!("[{}] {}/{}.vmx", vm.datastore, vm.folder, vm.folder)
}

fn config(call: &Call, of: &MoRef, known: Option<&VmView>) -> Outcome<Object> {
    let id = inventory::vm_id(of).ok_or_else(|| Fault::object_not_found(of))?;
    let act = call.act()?;
    // Read again, unless it was read alone: only of one VM its key is told.
    let vm = match known {
        Some(vm) if vm.key_id.is_some() || vm.provider.is_none() => vm.clone(),
        _ => act.vm(&id.to_string()).map_err(Call::about(of))?,
    };
    let hardware = hardware_of(call, &vm)?;
    let kept = machine::kept(&hardware.settings);
    let mut devices = machine::Told::of(&vm, machine::devices_in(&kept)).devices;
    let mut options = machine::options_in(&kept);
    if options.iter().all(|it| it.text("key") != Some("nvram")) {
        let nvram = Object::new("OptionValue").with("key", "nvram");
        options.push(nvram.with("value", format!("{}.nvram", vm.folder)));
    }
    if vm.tpm.present {
        let (certificates, requests) = certificates(call, of)?;
        devices.push(
            Object::new("VirtualTPM")
                .with("key", TPM_KEY)
                .with(
                    "deviceInfo",
                    Object::new("Description")
                        .with("label", "Virtual TPM")
                        .with("summary", "Trusted Platform Module"),
                )
                .with(
                    "endorsementKeyCertificateSigningRequest",
                    Value::List(
                        "base64Binary",
                        requests.into_iter().map(Value::Bytes).collect(),
                    ),
                )
                .with(
                    "endorsementKeyCertificate",
                    Value::List(
                        "base64Binary",
                        certificates.into_iter().map(Value::Bytes).collect(),
                    ),
                ),
        );
    }
    let key = vm
        .provider
        .as_ref()
        .zip(vm.key_id.as_ref())
        .map(|(provider, key)| inventory::key_id(provider.as_str(), key));
    let folder = format!("[{}] {}", vm.datastore, vm.folder);
    let mut info = machine::usual(hardware.cpus, hardware.memory_mb);
    info.overlay(kept);
    info.overlay(
        Object::new("VirtualMachineConfigInfo")
            .with("changeVersion", vm.instance_id.to_string())
            .with("modified", vm.created)
            .with("name", vm.name.as_str())
            .with("guestFullName", guest_name(vm.guest.as_str()))
            .with("version", format!("vmx-{}", vm.hardware_version))
            .with("uuid", vm.id.to_string())
            .with("createDate", vm.created)
            .with("instanceUuid", vm.id.to_string())
            .with("template", hardware.template)
            .with("guestId", vm.guest.as_str())
            .with("annotation", hardware.annotation.as_str())
            .with(
                "files",
                Object::new("VirtualMachineFileInfo")
                    .with("vmPathName", settings_path(&vm))
                    .with("snapshotDirectory", folder.as_str())
                    .with("suspendDirectory", folder.as_str())
                    .with("logDirectory", folder.as_str()),
            )
            .with(
                "hardware",
                Object::new("VirtualHardware")
                    .with("numCPU", number_of(hardware.cpus))
                    .with("numCoresPerSocket", number_of(hardware.cores_per_socket))
                    .with("memoryMB", number_of(hardware.memory_mb))
                    .with("device", Value::objects("VirtualDevice", devices)),
            )
            .with("extraConfig", Value::objects("OptionValue", options))
            .with(
                "datastoreUrl",
                Value::objects(
                    "VirtualMachineConfigInfoDatastoreUrlPair",
                    [Object::new("VirtualMachineConfigInfoDatastoreUrlPair")
                        .with("name", vm.datastore.as_str())
                        .with("url", format!("ds:///vmfs/volumes/{}/", vm.datastore))],
                ),
            )
            .with(
                "firmware",
                match vm.firmware {
                    Firmware::Efi => "efi",
                    Firmware::Bios => "bios",
                },
            )
            .with_some("keyId", key),
    );
    Ok(info)
}

/// What a VM is said to have.
pub(super) fn hardware_of(call: &Call, vm: &VmView) -> Outcome<VmHardware> {
    call.act()?
        .vm_hardware(&vm.id.to_string())
        .map_err(Call::about(&inventory::vm(vm.id)))
}

/// The devices of a VM.
pub(super) fn told(vm: &VmView, hardware: &VmHardware) -> machine::Told {
    machine::Told::of(vm, machine::devices_in(&machine::kept(&hardware.settings)))
}

/// The certificates and certificate requests of a VM's endorsement keys, DER each.
type Certificates = (Vec<Vec<u8>>, Vec<Vec<u8>>);

fn certificates(call: &Call, of: &MoRef) -> Outcome<Certificates> {
    let id = inventory::vm_id(of).ok_or_else(|| Fault::object_not_found(of))?;
    let keys = call
        .act()?
        .endorsement_keys(&id.to_string())
        .map_err(Call::about(of))?;
    let certificates = keys.iter().filter_map(|key| key.certificate.as_ref());
    Ok((
        certificates.map(|it| it.der.0.clone()).collect(),
        keys.iter().map(|key| key.request.0.clone()).collect(),
    ))
}

fn runtime(vm: &VmView) -> Object {
    let locked = vm.locked.is_some();
    let state = if locked { "invalid" } else { "connected" };
    Object::new("VirtualMachineRuntimeInfo")
        .with("host", inventory::host())
        .with(
            "connectionState",
            Value::choice("VirtualMachineConnectionState", state),
        )
        .with("powerState", power_word(vm.power))
        .with(
            "faultToleranceState",
            Value::choice("VirtualMachineFaultToleranceState", "notConfigured"),
        )
        .with("toolsInstallerMounted", false)
        .with("numMksConnections", 0)
        .with(
            "recordReplayState",
            Value::choice("VirtualMachineRecordReplayState", "inactive"),
        )
        .with("onlineStandby", false)
        .with("consolidationNeeded", false)
        .with_some(
            "cryptoState",
            vm.provider
                .as_ref()
                .map(|_| if locked { "locked" } else { "unlocked" }),
        )
}

fn summary(vm: &VmView, hardware: &VmHardware, devices: &machine::Told, storage: Object) -> Object {
    Object::new("VirtualMachineSummary")
        .with("vm", inventory::vm(vm.id))
        .with("runtime", runtime(vm))
        .with(
            "guest",
            Object::new("VirtualMachineGuestSummary")
                .with("guestId", vm.guest.as_str())
                .with("guestFullName", guest_name(vm.guest.as_str()))
                .with(
                    "toolsStatus",
                    Value::choice("VirtualMachineToolsStatus", "toolsNotInstalled"),
                )
                .with("toolsRunningStatus", "guestToolsNotRunning")
                .with("hwVersion", format!("vmx-{}", vm.hardware_version)),
        )
        .with(
            "config",
            Object::new("VirtualMachineConfigSummary")
                .with("name", vm.name.as_str())
                .with("template", hardware.template)
                .with("vmPathName", settings_path(vm))
                .with("memorySizeMB", number_of(hardware.memory_mb))
                .with("numCpu", number_of(hardware.cpus))
                .with("annotation", hardware.annotation.as_str())
                .with("cpuReservation", 0)
                .with("memoryReservation", 0)
                .with("numEthernetCards", devices.count("VirtualEthernetCard"))
                .with("numVirtualDisks", devices.count("VirtualDisk"))
                .with("uuid", vm.id.to_string())
                .with("instanceUuid", vm.id.to_string())
                .with("guestId", vm.guest.as_str())
                .with("guestFullName", guest_name(vm.guest.as_str()))
                .with("tpmPresent", vm.tpm.present)
                .with("hwVersion", format!("vmx-{}", vm.hardware_version)),
        )
        .with("storage", storage)
        .with(
            "quickStats",
            Object::new("VirtualMachineQuickStats").with(
                "guestHeartbeatStatus",
                Value::choice("ManagedEntityStatus", "gray"),
            ),
        )
        .with(
            "overallStatus",
            Value::choice("ManagedEntityStatus", "green"),
        )
}

fn number_of(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(crate) fn capability() -> Object {
    Object::new("VirtualMachineCapability")
        .with("snapshotOperationsSupported", true)
        .with("multipleSnapshotsSupported", true)
        .with("snapshotConfigSupported", true)
        .with("poweredOffSnapshotsSupported", true)
        .with("memorySnapshotsSupported", true)
        .with("revertToSnapshotSupported", true)
        .with("quiescedSnapshotsSupported", false)
        .with("bootOptionsSupported", true)
        .with("secureBootSupported", true)
}

fn snapshot_info(vm: &VmView, tree: &SnapshotTree) -> Option<Object> {
    if tree.snapshots.is_empty() {
        return None;
    }
    Some(
        Object::new("VirtualMachineSnapshotInfo")
            .with_some(
                "currentSnapshot",
                tree.current().map(|it| inventory::snapshot(it.id)),
            )
            .with("rootSnapshotList", branch(vm, tree, None)),
    )
}

/// The snapshots that follow one. The inventory has no chain that is longer than 32.
fn branch(vm: &VmView, tree: &SnapshotTree, parent: Option<Uuid>) -> Value {
    Value::objects(
        "VirtualMachineSnapshotTree",
        tree.after(parent).map(|it| {
            Object::new("VirtualMachineSnapshotTree")
                .with("snapshot", inventory::snapshot(it.id))
                .with("vm", inventory::vm(vm.id))
                .with("name", it.name.as_str())
                .with("description", it.description.as_str())
                .with("id", number(tree, it))
                .with("createTime", it.created)
                .with(
                    "state",
                    power_word(if it.powered_on {
                        PowerState::On
                    } else {
                        PowerState::Off
                    }),
                )
                .with("quiesced", false)
                .with("childSnapshotList", branch(vm, tree, Some(it.id)))
        }),
    )
}

fn number(tree: &SnapshotTree, of: &Snapshot) -> i32 {
    let at = tree.snapshots.iter().position(|it| it.id == of.id);
    at.and_then(|at| i32::try_from(at).ok())
        .map_or(0, |at| at + 1)
}

/// The VM and the tree that a snapshot is in.
pub(crate) fn of_snapshot(
    call: &Call,
    world: Option<&World>,
    of: &MoRef,
) -> Outcome<(VmView, SnapshotTree)> {
    let missing = || Fault::object_not_found(of);
    let id = inventory::snapshot_id(of).ok_or_else(missing)?;
    for vm in &world.ok_or_else(missing)?.vms {
        if vm.snapshot_count == 0 {
            continue;
        }
        let tree = tree(call, vm)?;
        if tree.snapshots.iter().any(|it| it.id == id) {
            return Ok((vm.clone(), tree));
        }
    }
    Err(missing())
}

pub(super) fn snapshot_property(
    call: &Call,
    world: Option<&World>,
    of: &MoRef,
    name: &str,
) -> Outcome<Option<Value>> {
    let (vm, tree) = of_snapshot(call, world, of)?;
    Ok(match name {
        "vm" => Some(inventory::vm(vm.id).into()),
        "config" => Some(config(call, &inventory::vm(vm.id), Some(&vm))?.into()),
        "childSnapshot" => Some(Value::refs(
            tree.after(inventory::snapshot_id(of))
                .map(|it| inventory::snapshot(it.id)),
        )),
        _ => None,
    })
}

/// What guests are called in full; one that is not listed is called by its identifier.
pub(crate) fn guest_name(id: &str) -> &str {
    const NAMES: &[(&str, &str)] = &[
        ("ubuntu64Guest", "Ubuntu Linux (64-bit)"),
        ("debian11_64Guest", "Debian GNU/Linux 11 (64-bit)"),
        ("debian12_64Guest", "Debian GNU/Linux 12 (64-bit)"),
        ("rhel8_64Guest", "Red Hat Enterprise Linux 8 (64-bit)"),
        ("rhel9_64Guest", "Red Hat Enterprise Linux 9 (64-bit)"),
        ("other5xLinux64Guest", "Other 5.x Linux (64-bit)"),
        ("other6xLinux64Guest", "Other 6.x or later Linux (64-bit)"),
        ("vmwarePhoton64Guest", "VMware Photon OS (64-bit)"),
        ("windows9_64Guest", "Microsoft Windows 10 (64-bit)"),
        ("windows11_64Guest", "Microsoft Windows 11 (64-bit)"),
        (
            "windows2019srv_64Guest",
            "Microsoft Windows Server 2019 (64-bit)",
        ),
        (
            "windows2019srvNext_64Guest",
            "Microsoft Windows Server 2022 (64-bit)",
        ),
        ("otherGuest", "Other (32-bit)"),
        ("otherGuest64", "Other (64-bit)"),
    ];
    NAMES
        .iter()
        .find(|(name, _)| *name == id)
        .map_or(id, |(_, full)| full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_vm_has_only_fields_of_the_table() {
        let world = inventory::tests::world();
        let vm = world.vms.first().unwrap();
        let hardware = VmHardware {
            vm: vm.id,
            cpus: 2,
            cores_per_socket: 1,
            memory_mb: 4,
            annotation: String::new(),
            template: false,
            settings: String::new(),
            folder: None,
        };
        let devices = told(vm, &hardware);
        let storage = Object::new("VirtualMachineStorageSummary");
        let summary = summary(vm, &hardware, &devices, storage);
        for object in [runtime(vm), summary, capability()] {
            assert_eq!(object.strangers(), Vec::<String>::new());
        }
    }

    #[test]
    fn snapshots_are_a_tree() {
        let world = inventory::tests::world();
        let vm = world.vms.first().unwrap();
        let snapshot = |number: u128, parent: Option<u128>| {
            serde_json::json!({
                "id": Uuid::from_u128(number), "name": format!("s{number}"), "parent": parent.map(Uuid::from_u128),
                "created": 1, "powered_on": false, "generation": 1,
            })
        };
        let tree: SnapshotTree = serde_json::from_value(serde_json::json!({
            "vm": vm.id, "current": Uuid::from_u128(2), "snapshots": [snapshot(1, None), snapshot(2, Some(1))],
            "reverts": [], "revert_count": 0,
        }))
        .unwrap();
        let info = snapshot_info(vm, &tree).unwrap();
        assert_eq!(info.strangers(), Vec::<String>::new());
        let Some(Value::List(_, roots)) = info.get("rootSnapshotList") else {
            panic!("no list");
        };
        assert_eq!(roots.len(), 1);
        assert_eq!(
            info.get("currentSnapshot"),
            Some(&inventory::snapshot(Uuid::from_u128(2)).into())
        );
    }
}
