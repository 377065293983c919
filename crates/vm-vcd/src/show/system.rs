//! What administrators of the system see besides: vCenters, and the VMs there that can be imported.

use super::{action, begin, link, reference};
use crate::call::Call;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::{entity, request, section};
use uuid::Uuid;
use vm_inventory::VmView;
use vm_inventory::model::{PowerState, VCenter};

/// Something of a vCenter, by its reference in the vSphere API.
fn vim_object(call: &Call, vcenter: &str, reference_of: String, kind: &str) -> Node {
    Node::of(&section::VIM_OBJECT)
        .with(
            "VimServerRef",
            reference(call, Kind::VimServer, vcenter_id(vcenter), vcenter),
        )
        .with("MoRef", reference_of)
        .with("VimObjectType", kind)
}

fn extending() -> Node {
    Node::of(&section::VCLOUD_EXTENSION).with("required", false)
}

/// What a VM is on its vCenter.
pub(super) fn extension_of(call: &Call, vm: &VmView) -> Node {
    let vcenter = vm.vcenter.as_str();
    let object = |reference: String, kind: &str| vim_object(call, vcenter, reference, kind);
    let info = Node::of(&section::VM_VIM_INFO)
        .with("VmVimObjectRef", object(moref(vm.id.0), "VIRTUAL_MACHINE"))
        .with(
            "DatastoreVimObjectRef",
            object(format!("datastore-{}", vm.datastore), "DATASTORE"),
        )
        .with("HostVimObjectRef", object("host-9".to_owned(), "HOST"))
        .with("VirtualDisksMaxChainLength", 1_i64);
    extending().with("VmVimInfo", info)
}

/// Where a virtual data center is: the resource pool of its vCenter.
pub(super) fn place_of(call: &Call, vcenter: &str) -> Node {
    let pool = vim_object(call, vcenter, "resgroup-8".to_owned(), "RESOURCE_POOL");
    extending().with("VimObjectRef", pool)
}

/// The identifier of a vCenter.
pub(crate) fn vcenter_id(vcenter: &str) -> Uuid {
    ids::derived(Kind::VimServer, vcenter)
}

/// Where an administrator starts.
pub(crate) fn vcloud(call: &Call, organizations: &[String]) -> Node {
    let references = entity::inner(&entity::VCLOUD, "OrganizationReferences");
    let all = organizations
        .iter()
        .map(|name| reference(call, Kind::Org, ids::org(name), name));
    Node::of(&entity::VCLOUD)
        .with("href", format!("{}/api/admin", call.base))
        .with("type", entity::media(&entity::VCLOUD_ROOT))
        .with("name", "VMware Cloud Director")
        .with(
            "OrganizationReferences",
            Node::of(references).with_all("OrganizationReference", all),
        )
}

/// The extension.
pub(crate) fn extension(call: &Call) -> Node {
    let base = format!("{}/api/admin/extension", call.base);
    let servers = entity::media(&entity::VIM_SERVERS_ROOT);
    Node::of(&entity::EXTENSION)
        .with("href", base.as_str())
        .with("type", entity::media(&entity::EXTENSION_ROOT))
        .with(
            "Link",
            link(
                "down",
                format!("{base}/vimServerReferences"),
                Some(&servers),
            ),
        )
}

/// Every vCenter.
pub(crate) fn vim_servers(call: &Call, vcenters: &[VCenter]) -> Node {
    let all = vcenters.iter().map(|vcenter| {
        let name = vcenter.name.as_str();
        reference(call, Kind::VimServer, vcenter_id(name), name)
    });
    Node::of(&entity::VIM_SERVERS)
        .with(
            "href",
            format!("{}/api/admin/extension/vimServerReferences", call.base),
        )
        .with("type", entity::media(&entity::VIM_SERVERS_ROOT))
        .with_all("VimServerReference", all)
}

/// A vCenter.
pub(crate) fn vim_server(call: &Call, vcenter: &VCenter) -> Node {
    let name = vcenter.name.as_str();
    let id = vcenter_id(name);
    let href = Kind::VimServer.href(&call.base, id);
    let vms = entity::media(&entity::VM_OBJECTS_ROOT);
    begin(call, &entity::VIM_SERVER_ROOT, Kind::VimServer, id, name)
        .with(
            "Link",
            action(
                "importVmAsVApp",
                format!("{href}/importVmAsVApp"),
                &request::IMPORT_AS_VAPP_ROOT,
            ),
        )
        .with(
            "Link",
            action(
                "importVmAsVAppTemplate",
                format!("{href}/importVmAsVAppTemplate"),
                &request::IMPORT_AS_TEMPLATE_ROOT,
            ),
        )
        .with("Link", link("down", format!("{href}/vmsList"), Some(&vms)))
        .with("Url", format!("{}/{name}/sdk", call.base))
        .with("IsEnabled", true)
        .with("IsConnected", true)
        .with("VcVersion", vcenter.version.to_string())
}

/// The VMs of a vCenter that belong to no organization.
pub(crate) fn vms(call: &Call, vcenter: &VCenter, vms: &[VmView]) -> Node {
    let name = vcenter.name.as_str();
    let id = vcenter_id(name);
    let object = entity::inner(&entity::VM_OBJECTS, "VmObjectRef");
    let all = vms
        .iter()
        .filter(|vm| vm.vapp.is_none() && vm.vcenter == vcenter.name)
        .map(|vm| {
            let power = match vm.power {
                PowerState::On => "POWERED_ON",
                PowerState::Off => "POWERED_OFF",
                PowerState::Suspended => "SUSPENDED",
            };
            Node::of(object)
                .with("VimServerRef", reference(call, Kind::VimServer, id, name))
                .with("MoRef", moref(vm.id.0))
                .with("VimObjectType", "VIRTUAL_MACHINE")
                .with("Name", vm.name.as_str())
                .with("Status", power)
        });
    Node::of(&entity::VM_OBJECTS)
        .with(
            "href",
            format!("{}/vmsList", Kind::VimServer.href(&call.base, id)),
        )
        .with("type", entity::media(&entity::VM_OBJECTS_ROOT))
        .with_all("VmObjectRef", all)
}

/// The managed object reference of a VM.
pub(crate) fn moref(vm: Uuid) -> String {
    format!("vm-{vm}")
}
