//! Virtual data centers and the datastores that they see.

use super::vapp::storage_profile;
use super::{action, begin, link_to, reference};
use crate::call::Call;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::{Root, entity, request};
use std::collections::BTreeSet;
use vm_inventory::model::{Catalog, Template, Vdc};
use vm_inventory::{Name, VappView};

/// The identifier of a virtual data center.
pub(crate) fn vdc_id(vdc: &Vdc) -> uuid::Uuid {
    ids::of_org(Kind::Vdc, vdc.organization.as_str(), vdc.name.as_str())
}

/// Where new VMs of a virtual data center go.
pub(crate) fn own_datastore(call: &Call, vdc: &Vdc) -> Option<Name> {
    call.operations.datastore_of_vdc(vdc).ok()
}

/// The datastores of a virtual data center: its own, and those that its VMs are on.
pub(crate) fn datastores(call: &Call, vdc: &Vdc, vapps: &[VappView]) -> BTreeSet<Name> {
    vapps
        .iter()
        .filter(|view| is_in(view, vdc))
        .flat_map(|view| view.vms.iter().map(|vm| vm.datastore.clone()))
        .chain(own_datastore(call, vdc))
        .collect()
}

/// Whether a vApp is in a virtual data center.
pub(crate) fn is_in(view: &VappView, vdc: &Vdc) -> bool {
    view.vapp.organization == vdc.organization && view.vapp.vdc == vdc.name
}

/// The vCenter that holds a template.
fn home_of<'a>(template: &'a Template, catalog: &'a Catalog) -> &'a Name {
    template
        .vms
        .first()
        .map_or(&catalog.vcenter, |vm| &vm.vcenter)
}

/// What can be made in a virtual data center, by the last part of the address.
const ACTIONS: &[(&str, &Root)] = &[
    ("composeVApp", &request::COMPOSE_ROOT),
    ("cloneVApp", &request::CLONE_ROOT),
    ("moveVApp", &request::MOVE_ROOT),
    (
        "instantiateVAppTemplate",
        &request::INSTANTIATE_TEMPLATE_ROOT,
    ),
    ("instantiateVmTemplate", &request::INSTANTIATE_VM_ROOT),
    ("createVm", &request::CREATE_VM_ROOT),
];

/// A virtual data center.
pub(crate) fn vdc(
    call: &Call,
    record: &Vdc,
    vapps: &[VappView],
    catalogs: &[Catalog],
    templates: &[Template],
) -> Node {
    let id = vdc_id(record);
    let org = record.organization.as_str();
    let href = Kind::Vdc.href(&call.base, id);
    let mut node =
        begin(call, &entity::VDC_ROOT, Kind::Vdc, id, record.name.as_str()).with("status", 1_i64);
    node.push("Link", link_to(call, "up", Kind::Org, ids::org(org), org));
    node.push("Link", super::vapp::metadata_link(&href));
    super::access::links(&mut node, &href);
    if call.is_system() {
        let place = super::system::place_of(call, record.vcenter.as_str());
        node.push("VCloudExtension", place);
    }
    for (what, body) in ACTIONS {
        node.push("Link", action("add", format!("{href}/action/{what}"), body));
    }
    let entities = entity::inner(&entity::VDC, "ResourceEntities");
    let own = vapps
        .iter()
        .filter(|view| is_in(view, record))
        .map(|view| reference(call, Kind::Vapp, view.vapp.id, view.vapp.name.as_str()));
    let shelved = templates.iter().filter(|template| {
        catalogs.iter().any(|catalog| {
            home_of(template, catalog) == &record.vcenter
                && catalog.organization == template.organization
                && catalog.name == template.catalog
                && catalog.organization == record.organization
        })
    });
    let shelved = shelved
        .map(|template| reference(call, Kind::Template, template.id, template.name.as_str()));
    let profiles = entity::inner(&entity::VDC, "VdcStorageProfiles");
    let seen = datastores(call, record, vapps);
    let seen = seen
        .iter()
        .map(|name| storage_profile(call, org, record.name.as_str(), name.as_str()));
    node.with("AllocationModel", "Flex")
        .with(
            "ResourceEntities",
            Node::of(entities)
                .with_all("ResourceEntity", own)
                .with_all("ResourceEntity", shelved),
        )
        .with("IsEnabled", true)
        .with(
            "VdcStorageProfiles",
            Node::of(profiles).with_all("VdcStorageProfile", seen),
        )
}
