//! Catalogs, their entries, and vApp templates.

use super::vapp::{operating_system, spec};
use super::{action, begin, date, link, link_to, reference};
use crate::call::Call;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::{entity, request};
use vm_inventory::model::{Catalog, Template, Vm};
use vm_inventory::provisioning::TpmProvisioning;
use vm_inventory::{TargetKind, Task};

/// The identifier of a catalog.
pub(crate) fn catalog_id(catalog: &Catalog) -> uuid::Uuid {
    ids::of_org(
        Kind::Catalog,
        catalog.organization.as_str(),
        catalog.name.as_str(),
    )
}

/// The identifier of the catalog that a template is in.
pub(crate) fn shelf_id(template: &Template) -> uuid::Uuid {
    ids::of_org(
        Kind::Catalog,
        template.organization.as_str(),
        template.catalog.as_str(),
    )
}

/// A catalog with its entries.
pub(crate) fn catalog(call: &Call, record: &Catalog, templates: &[Template]) -> Node {
    let id = catalog_id(record);
    let org = record.organization.as_str();
    let href = Kind::Catalog.href(&call.base, id);
    let mut node = begin(
        call,
        &entity::CATALOG_ROOT,
        Kind::Catalog,
        id,
        record.name.as_str(),
    );
    node.push("Link", link_to(call, "up", Kind::Org, ids::org(org), org));
    if record.subscription.is_none() {
        let capture = format!("{href}/action/captureVApp");
        node.push("Link", action("add", capture, &request::CAPTURE_ROOT));
        let upload = format!("{href}/action/upload");
        node.push("Link", action("add", upload, &request::UPLOAD_ROOT));
    }
    let publish = format!("{}/api/admin/catalog/{id}/action/publish", call.base);
    node.push("Link", action("publish", publish, &request::PUBLISH_ROOT));
    let admin = format!("{}/api/admin/catalog/{id}", call.base);
    node.push("Link", link("remove", admin.as_str(), None));
    node.push("Link", action("edit", admin, &request::CATALOG_EDIT_ROOT));
    node.push("Link", super::vapp::metadata_link(&href));
    super::access::links(&mut node, &href);
    let owner = format!("{}/api/admin/catalog/{id}/owner", call.base);
    let media = entity::media(&entity::OWNER_ROOT);
    node.push("Link", link("down", owner, Some(&media)));
    let of = vm_inventory::Remarked::Catalog(format!("{org}/{}", record.name));
    let node = node.with("Owner", crate::act::remarks::owner(call, &of, org));
    let items = templates
        .iter()
        .filter(|template| shelf_id(template) == id)
        .map(|template| {
            let item = ids::catalog_item(template.id);
            reference(call, Kind::CatalogItem, item, template.name.as_str())
        });
    let list = entity::inner(&entity::CATALOG, "CatalogItems");
    node.with(
        "CatalogItems",
        Node::of(list).with_all("CatalogItem", items),
    )
    .with("IsPublished", record.published)
    .with("DateCreated", date(record.created))
    .with("VersionNumber", 1_i64)
}

/// An entry of a catalog.
pub(crate) fn item(call: &Call, template: &Template) -> Node {
    let id = ids::catalog_item(template.id);
    let name = template.name.as_str();
    let mut node = begin(
        call,
        &entity::CATALOG_ITEM_ROOT,
        Kind::CatalogItem,
        id,
        name,
    );
    let shelf = link_to(
        call,
        "up",
        Kind::Catalog,
        shelf_id(template),
        template.catalog.as_str(),
    );
    node.push("Link", shelf);
    let own = Kind::CatalogItem.href(&call.base, id);
    node.push("Link", super::vapp::metadata_link(&own));
    node.push("Link", link("remove", own, None));
    node.with("Entity", reference(call, Kind::Template, template.id, name))
        .with("DateCreated", date(template.created))
        .with("VersionNumber", 1_i64)
}

/// The TPM of a VM of a template.
pub(crate) fn template_tpm(call: &Call, vm: &Vm) -> Node {
    let href = Kind::TemplateVm.href(&call.base, vm.id.0);
    Node::of(&entity::TPM)
        .with("href", format!("{href}/trustedPlatformModule"))
        .with("type", entity::media(&entity::TPM_ROOT))
        .with("TpmPresent", vm.tpm.is_some())
}

/// A VM of a template.
pub(crate) fn template_vm(call: &Call, template: &Template, vm: &Vm) -> Node {
    begin(
        call,
        &entity::TEMPLATE_VM_ROOT,
        Kind::TemplateVm,
        vm.id.0,
        vm.name.as_str(),
    )
    .with("status", 8_i64)
    .with("goldMaster", false)
    .with(
        "Link",
        link_to(
            call,
            "up",
            Kind::Template,
            template.id,
            template.name.as_str(),
        ),
    )
    .with("OperatingSystemSection", operating_system(&vm.guest))
    .with(
        "VmSpecSection",
        spec(&vm.guest, vm.hardware_version, vm.firmware.as_str()),
    )
    .with("VAppScopedLocalId", vm.id.to_string())
    .with("DateCreated", date(vm.created))
    .with("TrustedPlatformModule", template_tpm(call, vm))
}

/// A vApp template.
pub(crate) fn template(call: &Call, record: &Template, tasks: &[Task]) -> Node {
    let mut node = begin(
        call,
        &entity::TEMPLATE_ROOT,
        Kind::Template,
        record.id,
        record.name.as_str(),
    )
    .with("status", 8_i64)
    .with("ovfDescriptorUploaded", true)
    .with("goldMaster", false);
    let own = Kind::Template.href(&call.base, record.id);
    node.push("Link", super::vapp::metadata_link(&own));
    node.push("Link", link("remove", own.as_str(), None));
    node.push("Link", action("edit", own, &request::TEMPLATE_EDIT_ROOT));
    let item = ids::catalog_item(record.id);
    node.push(
        "Link",
        link_to(
            call,
            "catalogItem",
            Kind::CatalogItem,
            item,
            record.name.as_str(),
        ),
    );
    let children = entity::inner(&entity::VAPP_TEMPLATE, "Children");
    let vms = record.vms.iter().map(|vm| template_vm(call, record, vm));
    node.with_some(
        "Tasks",
        super::task::in_progress(call, tasks, TargetKind::Template, record.id),
    )
    .with("Children", Node::of(children).with_all("Vm", vms))
    .with("DateCreated", date(record.created))
    .with(
        "CopyTpmOnInstantiate",
        record.provisioning == TpmProvisioning::Copy,
    )
}

/// A template that is being made: there is nothing of it but its task.
pub(crate) fn coming(call: &Call, task: &Task) -> Node {
    begin(
        call,
        &entity::TEMPLATE_ROOT,
        Kind::Template,
        task.vm.0,
        task.vm_name.as_str(),
    )
    .with("status", 0_i64)
    .with("ovfDescriptorUploaded", true)
    .with(
        "Tasks",
        Node::of(&entity::TASKS).with("Task", super::task::task(call, task)),
    )
}
