//! vApps and VMs.

use super::{action, begin, date, link, link_to, reference};
use crate::call::Call;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::{entity, request, section};
use uuid::Uuid;
use vm_inventory::guest::{GuestFamily, GuestOs};
use vm_inventory::model::{PowerState, Vapp};
use vm_inventory::{TargetKind, Task, VappView, VmHardware, VmView};

/// The status of a VM: its number and its word in queries.
pub(crate) fn vm_status(power: PowerState) -> (i64, &'static str) {
    match power {
        PowerState::On => (4, "POWERED_ON"),
        PowerState::Off => (8, "POWERED_OFF"),
        PowerState::Suspended => (3, "SUSPENDED"),
    }
}

/// The status of a vApp: that of its VMs.
pub(crate) fn vapp_status(vms: &[VmView]) -> (i64, &'static str) {
    match vms.split_first() {
        None => (1, "RESOLVED"),
        Some((first, rest)) if rest.iter().all(|vm| vm.power == first.power) => {
            vm_status(first.power)
        }
        Some(_) => (10, "MIXED"),
    }
}

/// The links to power something on and off: what of it is in which state.
fn power_links(node: &mut Node, href: &str, is: impl Fn(PowerState) -> bool) {
    let (on, suspended) = (is(PowerState::On), is(PowerState::Suspended));
    let power = |what: &str| format!("{href}/power/action/{what}");
    if suspended || is(PowerState::Off) {
        node.push("Link", link("power:powerOn", power("powerOn"), None));
        let deploy = format!("{href}/action/deploy");
        node.push("Link", action("deploy", deploy, &request::DEPLOY_ROOT));
    }
    if on {
        for what in ["shutdown", "suspend", "reboot", "reset"] {
            let rel = format!("power:{what}");
            node.push("Link", link(&rel, power(what), None));
        }
    }
    if suspended {
        let discard = format!("{href}/action/discardSuspendedState");
        node.push("Link", link("discardState", discard, None));
    }
    if on || suspended {
        node.push("Link", link("power:powerOff", power("powerOff"), None));
        let undeploy = format!("{href}/action/undeploy");
        node.push(
            "Link",
            action("undeploy", undeploy, &request::UNDEPLOY_ROOT),
        );
    }
}

/// The link to what is said about something.
pub(super) fn metadata_link(href: &str) -> Node {
    let media = entity::media(&entity::METADATA_ROOT);
    link("down", format!("{href}/metadata"), Some(&media))
}

/// The links to take, go back to, and remove snapshots.
fn snapshot_links(node: &mut Node, href: &str, some: bool) {
    let take = format!("{href}/action/createSnapshot");
    node.push(
        "Link",
        action("snapshot:create", take, &request::SNAPSHOT_ROOT),
    );
    if some {
        for (rel, what) in [
            ("snapshot:revertToCurrent", "revertToCurrentSnapshot"),
            ("snapshot:removeAll", "removeAllSnapshots"),
        ] {
            node.push("Link", link(rel, format!("{href}/action/{what}"), None));
        }
    }
}

/// The TPM of a VM.
pub(crate) fn tpm(call: &Call, vm: &VmView) -> Node {
    let href = Kind::Vm.href(&call.base, vm.id.0);
    let edit = format!("{href}/action/editTrustedPlatformModule");
    Node::of(&entity::TPM)
        .with("href", format!("{href}/trustedPlatformModule"))
        .with("type", entity::media(&entity::TPM_ROOT))
        .with("Link", action("edit", edit, &request::EDIT_TPM_ROOT))
        .with("TpmPresent", vm.tpm.present)
}

/// The operating system of a VM, by vSphere's identifier.
pub(crate) fn operating_system(guest: &GuestOs) -> Node {
    // CIM's numbers for systems that it does not tell apart any further.
    let number: i64 = match guest.family() {
        GuestFamily::Linux => 101,
        GuestFamily::Windows | GuestFamily::OldWindows => 103,
        GuestFamily::Other => 1,
    };
    let ty = entity::inner(&entity::VM, "OperatingSystemSection");
    Node::of(ty)
        .with("id", number)
        .with("osType", guest.as_str())
        .with("Info", "Specifies the operating system installed")
        .with("Description", guest.as_str())
}

/// What a VM is like.
pub(crate) fn spec(guest: &GuestOs, hardware: u16, firmware: &str) -> Node {
    let version = entity::inner(&entity::VM_SPEC, "HardwareVersion");
    Node::of(&entity::VM_SPEC)
        .with("Modified", false)
        .with("Info", "Virtual Machine specification")
        .with("OsType", guest.as_str())
        .with(
            "HardwareVersion",
            Node::of(version).with("value", format!("vmx-{hardware}")),
        )
        .with("Firmware", firmware)
}

/// The same with processors and memory, of a VM.
fn spec_of(vm: &VmView, hardware: Option<&VmHardware>) -> Node {
    let spec = spec(&vm.guest, vm.hardware_version, vm.firmware.as_str());
    let Some(hardware) = hardware else {
        return spec;
    };
    let memory = entity::inner(&entity::VM_SPEC, "MemoryResourceMb");
    spec.with("NumCpus", i64::from(hardware.cpus))
        .with("NumCoresPerSocket", i64::from(hardware.cores_per_socket))
        .with(
            "MemoryResourceMb",
            Node::of(memory).with("Configured", i64::from(hardware.memory_mb)),
        )
}

/// The networks of a VM, which has none.
pub(crate) fn connections(call: &Call, vm: Uuid) -> Node {
    let href = Kind::Vm.href(&call.base, vm);
    Node::of(&section::NETWORK_CONNECTIONS)
        .with("href", format!("{href}/networkConnectionSection/"))
        .with("type", entity::media(&entity::NETWORK_CONNECTIONS_ROOT))
        .with("Info", "Specifies the available VM network connections")
}

/// The networks of a vApp, which has none.
pub(crate) fn networks(call: &Call, vapp: Uuid) -> Node {
    let href = Kind::Vapp.href(&call.base, vapp);
    Node::of(&section::NETWORK_CONFIGS)
        .with("href", format!("{href}/networkConfigSection/"))
        .with("type", entity::media(&entity::NETWORK_CONFIGS_ROOT))
        .with("Info", "The configuration parameters for logical networks")
}

/// Processors or memory of a VM, as an item of its hardware.
pub(crate) fn hardware_item(call: &Call, vm: &VmView, memory: bool, hardware: &VmHardware) -> Node {
    let quantity = if memory {
        hardware.memory_mb
    } else {
        hardware.cpus
    };
    let (what, number, units, name) = if memory {
        (
            "memory",
            4_i64,
            "byte * 2^20",
            format!("{quantity} MB of memory"),
        )
    } else {
        (
            "cpu",
            3_i64,
            "hertz * 10^6",
            format!("{quantity} virtual CPU(s)"),
        )
    };
    let href = format!(
        "{}/virtualHardwareSection/{what}",
        Kind::Vm.href(&call.base, vm.id.0)
    );
    let description = if memory {
        "Memory Size"
    } else {
        "Number of Virtual CPUs"
    };
    let item = Node::of(&section::RASD_ITEM)
        .with("href", href.as_str())
        .with("type", entity::media(&entity::RASD_ITEM_ROOT))
        .with("AllocationUnits", units)
        .with("Description", description)
        .with("ElementName", name)
        .with("InstanceID", number.to_string())
        .with("Reservation", 0_i64)
        .with("ResourceType", number)
        .with("VirtualQuantity", i64::from(quantity))
        .with("Weight", 0_i64)
        .with(
            "Link",
            action("edit", href.clone(), &request::RASD_ITEM_EDIT_ROOT),
        );
    if memory {
        item
    } else {
        item.with("CoresPerSocket", i64::from(hardware.cores_per_socket))
    }
}

/// A reference to the datastore of a VM as its virtual data center sees it.
pub(crate) fn storage_profile(call: &Call, organization: &str, vdc: &str, datastore: &str) -> Node {
    reference(
        call,
        Kind::StorageProfile,
        profile_id(organization, vdc, datastore),
        datastore,
    )
}

/// The identifier of a datastore as a virtual data center sees it.
pub(crate) fn profile_id(organization: &str, vdc: &str, datastore: &str) -> Uuid {
    ids::derived(
        Kind::StorageProfile,
        &format!("{organization}/{vdc}/{datastore}"),
    )
}

/// The snapshots of a VM.
pub(crate) fn snapshots(call: &Call, vm: &VmView, taken: &[(String, bool)]) -> Node {
    let section = entity::inner(&entity::VM, "SnapshotSection");
    let snapshot = entity::inner(section, "Snapshot");
    let href = Kind::Vm.href(&call.base, vm.id.0);
    Node::of(section)
        .with("href", format!("{href}/snapshotSection"))
        .with("type", entity::media(&entity::SNAPSHOT_ROOT))
        .with("Info", "Snapshot information section")
        .with_all(
            "Snapshot",
            taken.iter().map(|(created, on)| {
                Node::of(snapshot)
                    .with("created", created.as_str())
                    .with("poweredOn", *on)
                    .with("size", 0_i64)
            }),
        )
}

/// A VM of a vApp.
pub(crate) fn vm(call: &Call, vapp: &Vapp, vm: &VmView, tasks: &[Task]) -> Node {
    let (status, _) = vm_status(vm.power);
    let on = vm.power == PowerState::On;
    let href = Kind::Vm.href(&call.base, vm.id.0);
    // A VM that goes while it is looked at has nothing to tell.
    let hardware = call.operations.vm_hardware(&vm.id.to_string()).ok();
    let mut node = begin(call, &entity::VM_ROOT, Kind::Vm, vm.id.0, vm.name.as_str())
        .with("deployed", on)
        .with("status", status)
        .with("needsCustomization", false)
        .with("nestedHypervisorEnabled", false);
    power_links(&mut node, &href, |state| vm.power == state);
    if call.is_system() {
        node.push("VCloudExtension", super::system::extension_of(call, vm));
    }
    node.push("Link", metadata_link(&href));
    node.push(
        "Link",
        link_to(call, "up", Kind::Vapp, vapp.id, vapp.name.as_str()),
    );
    if vm.power == PowerState::Off {
        node.push("Link", link("remove", href.as_str(), None));
    }
    let reconfigure = format!("{href}/action/reconfigureVm");
    node.push(
        "Link",
        action("reconfigureVm", reconfigure, &request::RECONFIGURE_ROOT),
    );
    node.push(
        "Link",
        action("edit", href.clone(), &request::RECONFIGURE_ROOT),
    );
    for (what, media) in [
        ("cpu", &entity::RASD_ITEM_ROOT),
        ("memory", &entity::RASD_ITEM_ROOT),
        ("disks", &entity::RASD_ITEMS_ROOT),
        ("media", &entity::RASD_ITEMS_ROOT),
        ("networkCards", &entity::RASD_ITEMS_ROOT),
    ] {
        let at = format!("{href}/virtualHardwareSection/{what}");
        node.push("Link", link("down", at, Some(&entity::media(media))));
    }
    let tpm_section = format!("{href}/trustedPlatformModule");
    if call.version >= crate::version::ApiVersion::TPM {
        node.push(
            "Link",
            link("down", tpm_section, Some(&entity::media(&entity::TPM_ROOT))),
        );
    }
    snapshot_links(&mut node, &href, vm.snapshot_count > 0);
    node.with_some(
        "Tasks",
        super::task::in_progress(call, tasks, TargetKind::Vm, vm.id.0),
    )
    .with(
        "VAppParent",
        reference(call, Kind::Vapp, vapp.id, vapp.name.as_str()),
    )
    .with("OperatingSystemSection", operating_system(&vm.guest))
    .with("VmSpecSection", spec_of(vm, hardware.as_ref()))
    .with_some(
        "Description",
        hardware
            .map(|it| it.annotation)
            .filter(|text| !text.is_empty()),
    )
    .with("NetworkConnectionSection", connections(call, vm.id.0))
    .with("DateCreated", date(vm.created))
    .with("VAppScopedLocalId", vm.id.to_string())
    .with(
        "StorageProfile",
        storage_profile(
            call,
            vapp.organization.as_str(),
            vapp.vdc.as_str(),
            vm.datastore.as_str(),
        ),
    )
    .with("Encrypted", vm.provider.is_some())
    .with("TrustedPlatformModule", tpm(call, vm))
}

/// A vApp.
pub(crate) fn vapp(call: &Call, view: &VappView, tasks: &[Task]) -> Node {
    let record = &view.vapp;
    let (status, _) = vapp_status(&view.vms);
    let on = view.vms.iter().any(|vm| vm.power == PowerState::On);
    let off = view.vms.iter().all(|vm| vm.power == PowerState::Off);
    let href = Kind::Vapp.href(&call.base, record.id);
    let mut node = begin(
        call,
        &entity::VAPP_ROOT,
        Kind::Vapp,
        record.id,
        record.name.as_str(),
    )
    .with("deployed", on)
    .with("status", status)
    .with("ovfDescriptorUploaded", true);
    power_links(&mut node, &href, |state| {
        view.vms.iter().any(|vm| vm.power == state)
    });
    node.push("Link", metadata_link(&href));
    let vdc = ids::of_org(Kind::Vdc, record.organization.as_str(), record.vdc.as_str());
    node.push(
        "Link",
        link_to(call, "up", Kind::Vdc, vdc, record.vdc.as_str()),
    );
    if !record.standalone {
        let recompose = format!("{href}/action/recomposeVApp");
        node.push(
            "Link",
            action("recompose", recompose, &request::RECOMPOSE_ROOT),
        );
    }
    if off {
        node.push("Link", link("remove", href.as_str(), None));
    }
    node.push(
        "Link",
        action("edit", href.clone(), &request::VAPP_EDIT_ROOT),
    );
    super::access::links(&mut node, &href);
    let taken = view.vms.iter().any(|vm| vm.snapshot_count > 0);
    snapshot_links(&mut node, &href, taken);
    let children = entity::inner(&entity::VAPP, "Children");
    let vms = view.vms.iter().map(|it| vm(call, record, it, tasks));
    let children = (!view.vms.is_empty()).then(|| Node::of(children).with_all("Vm", vms));
    node.with_some(
        "Tasks",
        super::task::in_progress(call, tasks, TargetKind::Vapp, record.id),
    )
    .with("NetworkConfigSection", networks(call, record.id))
    .with(
        "LeaseSettingsSection",
        super::access::leases(call, record.id, on),
    )
    .with("DateCreated", date(record.created))
    .with(
        "Owner",
        crate::act::remarks::owner(
            call,
            &vm_inventory::Remarked::Vapp(record.id.to_string()),
            record.organization.as_str(),
        ),
    )
    .with("autoNature", record.standalone)
    .with("InMaintenanceMode", false)
    .with_some("Children", children)
}

/// A vApp that is being made: there is nothing of it but its task.
pub(crate) fn coming(call: &Call, task: &Task) -> Node {
    begin(
        call,
        &entity::VAPP_ROOT,
        Kind::Vapp,
        task.vm.0,
        task.vm_name.as_str(),
    )
    .with("deployed", false)
    .with("status", 0_i64)
    .with("ovfDescriptorUploaded", true)
    .with(
        "Tasks",
        Node::of(&entity::TASKS).with("Task", super::task::task(call, task)),
    )
}
