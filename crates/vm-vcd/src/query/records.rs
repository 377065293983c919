//! The records of each query.

use crate::call::Call;
use crate::fault::Fault;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::record::Finds;
use crate::show::vapp::{profile_id, vapp_status, vm_status};
use crate::show::{self, date};
use uuid::Uuid;
use vm_inventory::ErrorKind;
use vm_inventory::model::{Role, Template, Vapp};
use vm_inventory::{TargetKind, VappView, VdcView};

/// Every record of a kind that somebody sees.
pub(crate) fn all(call: &Call, finds: Finds) -> Result<Vec<Node>, Fault> {
    match finds {
        Finds::Organizations => organizations(call),
        Finds::Vdcs => vdcs(call),
        Finds::StorageProfiles => storage_profiles(call),
        Finds::Vapps => vapps(call),
        Finds::Vms => vms(call),
        Finds::Catalogs => catalogs(call),
        Finds::CatalogItems => catalog_items(call),
        Finds::Templates => templates(call),
        Finds::Tasks => tasks(call),
        Finds::VCenters => vcenters(call),
        Finds::Users => users(call),
        Finds::Roles => roles(call),
    }
}

fn begin(call: &Call, finds: Finds, kind: Kind, id: Uuid, name: &str) -> Node {
    Node::of(finds.ty())
        .with("href", kind.href(&call.base, id))
        .with("id", kind.urn(id))
        .with("type", kind.media())
        .with("name", name)
}

fn org(call: &Call, name: &str) -> String {
    Kind::Org.href(&call.base, ids::org(name))
}

fn organizations(call: &Call) -> Result<Vec<Node>, Fault> {
    let all = call.operations.organizations()?;
    Ok(all
        .iter()
        .map(|it| {
            let name = it.name.as_str();
            begin(call, Finds::Organizations, Kind::Org, ids::org(name), name)
                .with("displayName", name)
                .with("isEnabled", true)
        })
        .collect())
}

fn vdcs(call: &Call) -> Result<Vec<Node>, Fault> {
    let all = call.operations.vdcs()?;
    let vapps = call.operations.vapps()?;
    Ok(all
        .iter()
        .map(|VdcView { vdc, .. }| {
            let inside = || vapps.iter().filter(|view| show::vdc::is_in(view, vdc));
            let vcenter = show::system::vcenter_id(vdc.vcenter.as_str());
            let own = vdc.organization.as_str();
            begin(
                call,
                Finds::Vdcs,
                Kind::Vdc,
                show::vdc::vdc_id(vdc),
                vdc.name.as_str(),
            )
            .with("org", org(call, own))
            .with("orgName", own)
            .with("isEnabled", true)
            .with("status", "READY")
            .with("vc", Kind::VimServer.href(&call.base, vcenter))
            .with("vcName", vdc.vcenter.as_str())
            .with("numberOfVApps", inside().count())
            .with(
                "numberOfVMs",
                inside().map(|view| view.vms.len()).sum::<usize>(),
            )
        })
        .collect())
}

fn storage_profiles(call: &Call) -> Result<Vec<Node>, Fault> {
    let vapps = call.operations.vapps()?;
    let mut all = Vec::new();
    for VdcView { vdc, .. } in call.operations.vdcs()? {
        for name in show::vdc::datastores(call, &vdc, &vapps) {
            let id = profile_id(vdc.organization.as_str(), vdc.name.as_str(), name.as_str());
            let own = show::vdc::vdc_id(&vdc);
            all.push(
                begin(
                    call,
                    Finds::StorageProfiles,
                    Kind::StorageProfile,
                    id,
                    name.as_str(),
                )
                .with("vdc", Kind::Vdc.href(&call.base, own))
                .with("vdcName", vdc.name.as_str())
                .with("isEnabled", true)
                .with(
                    "isDefaultStorageProfile",
                    show::vdc::own_datastore(call, &vdc).as_ref() == Some(&name),
                ),
            );
        }
    }
    Ok(all)
}

fn vdc_of(call: &Call, vapp: &Vapp) -> String {
    let id = ids::of_org(Kind::Vdc, vapp.organization.as_str(), vapp.vdc.as_str());
    Kind::Vdc.href(&call.base, id)
}

fn vapps(call: &Call) -> Result<Vec<Node>, Fault> {
    let views = call.operations.vapps()?;
    Ok(views
        .iter()
        .map(|VappView { vapp, vms }| {
            let (status, word) = vapp_status(vms);
            begin(call, Finds::Vapps, Kind::Vapp, vapp.id, vapp.name.as_str())
                .with("org", org(call, vapp.organization.as_str()))
                .with("vdc", vdc_of(call, vapp))
                .with("vdcName", vapp.vdc.as_str())
                .with("status", word)
                .with("creationDate", date(vapp.created))
                .with("isEnabled", true)
                .with("isDeployed", matches!(status, 4 | 10))
                .with("isBusy", false)
                .with("isAutoNature", vapp.standalone)
                .with("isInMaintenanceMode", false)
                .with("numberOfVMs", vms.len())
        })
        .collect())
}

fn vms(call: &Call) -> Result<Vec<Node>, Fault> {
    let mut all = Vec::new();
    for VappView { vapp, vms } in call.operations.vapps()? {
        for vm in vms {
            let (status, word) = vm_status(vm.power);
            let vcenter = show::system::vcenter_id(vm.vcenter.as_str());
            let node = begin(call, Finds::Vms, Kind::Vm, vm.id.0, vm.name.as_str())
                .with("org", org(call, vapp.organization.as_str()))
                .with("container", Kind::Vapp.href(&call.base, vapp.id))
                .with("containerName", vapp.name.as_str())
                .with("vdc", vdc_of(call, &vapp))
                .with("vdcName", vapp.vdc.as_str())
                .with("status", word)
                .with("guestOs", vm.guest.as_str())
                .with("storageProfileName", vm.datastore.as_str())
                .with("dateCreated", date(vm.created))
                .with("hardwareVersion", i64::from(vm.hardware_version))
                .with("isVAppTemplate", false)
                .with("isDeployed", status == 4)
                .with("isAutoNature", vapp.standalone)
                .with("isBusy", false)
                .with("isDeleted", false)
                .with("isInMaintenanceMode", false)
                .with("snapshot", vm.snapshot_count > 0)
                .with("encrypted", vm.provider.is_some())
                .with("firmware", vm.firmware.as_str())
                .with("tpmPresent", vm.tpm.present);
            all.push(if call.is_system() {
                node.with("vc", Kind::VimServer.href(&call.base, vcenter))
                    .with("moref", show::system::moref(vm.id.0))
            } else {
                node
            });
        }
    }
    for template in call.operations.templates()? {
        all.extend(template_vms(call, &template));
    }
    Ok(all)
}

fn template_vms(call: &Call, template: &Template) -> Vec<Node> {
    let vms = template.vms.iter();
    vms.map(|vm| {
        begin(
            call,
            Finds::Vms,
            Kind::TemplateVm,
            vm.id.0,
            vm.name.as_str(),
        )
        .with("org", org(call, template.organization.as_str()))
        .with("container", Kind::Template.href(&call.base, template.id))
        .with("containerName", template.name.as_str())
        .with("catalogName", template.catalog.as_str())
        .with("status", "POWERED_OFF")
        .with("guestOs", vm.guest.as_str())
        .with("dateCreated", date(vm.created))
        .with("hardwareVersion", i64::from(vm.hardware_version))
        .with("isVAppTemplate", true)
        .with("isDeployed", false)
        .with("isDeleted", false)
        .with("encrypted", vm.provider.is_some())
        .with("firmware", vm.firmware.as_str())
        .with("tpmPresent", vm.tpm.is_some())
    })
    .collect()
}

fn catalogs(call: &Call) -> Result<Vec<Node>, Fault> {
    let templates = call.operations.templates()?;
    let all = call.operations.catalogs()?;
    Ok(all
        .iter()
        .map(|catalog| {
            let id = show::catalog::catalog_id(catalog);
            let own = catalog.organization.as_str();
            let inside = templates
                .iter()
                .filter(|template| show::catalog::shelf_id(template) == id);
            begin(
                call,
                Finds::Catalogs,
                Kind::Catalog,
                id,
                catalog.name.as_str(),
            )
            .with("org", org(call, own))
            .with("orgName", own)
            .with("creationDate", date(catalog.created))
            .with("status", "READY")
            .with("isPublished", catalog.published)
            .with("isShared", false)
            .with("isLocal", catalog.subscription.is_none())
            .with("numberOfVAppTemplates", inside.count())
            .with("numberOfMedia", 0_i64)
        })
        .collect())
}

fn catalog_items(call: &Call) -> Result<Vec<Node>, Fault> {
    let all = call.operations.templates()?;
    Ok(all
        .iter()
        .map(|template| {
            let id = ids::catalog_item(template.id);
            let name = template.name.as_str();
            begin(call, Finds::CatalogItems, Kind::CatalogItem, id, name)
                .with("entity", Kind::Template.href(&call.base, template.id))
                .with("entityName", name)
                .with("entityType", "vapptemplate")
                .with(
                    "catalog",
                    Kind::Catalog.href(&call.base, show::catalog::shelf_id(template)),
                )
                .with("catalogName", template.catalog.as_str())
                .with("creationDate", date(template.created))
                .with("status", "RESOLVED")
        })
        .collect())
}

fn templates(call: &Call) -> Result<Vec<Node>, Fault> {
    let all = call.operations.templates()?;
    Ok(all
        .iter()
        .map(|template| {
            let item = ids::catalog_item(template.id);
            let shelf = show::catalog::shelf_id(template);
            begin(
                call,
                Finds::Templates,
                Kind::Template,
                template.id,
                template.name.as_str(),
            )
            .with("org", org(call, template.organization.as_str()))
            .with("catalog", Kind::Catalog.href(&call.base, shelf))
            .with("catalogItem", Kind::CatalogItem.href(&call.base, item))
            .with("catalogName", template.catalog.as_str())
            .with("creationDate", date(template.created))
            .with("status", "RESOLVED")
            .with("isGoldMaster", false)
            .with("isEnabled", true)
            .with("isBusy", false)
            .with("numberOfVMs", template.vms.len())
        })
        .collect())
}

fn tasks(call: &Call) -> Result<Vec<Node>, Fault> {
    let all = call.operations.tasks()?;
    Ok(all
        .iter()
        .map(|task| {
            let (name, words) = show::task::operation(&task.operation);
            let kind = match task.target {
                TargetKind::Vm => "vm",
                TargetKind::Vapp => "vapp",
                TargetKind::Template => "vappTemplate",
                TargetKind::Catalog => "catalog",
            };
            let object = show::task::owner(call, task);
            let organization = task.organization.as_ref();
            begin(call, Finds::Tasks, Kind::Task, task.id.0, name)
                .with_some("org", organization.map(|own| org(call, own.as_str())))
                .with_some("orgName", organization.map(ToString::to_string))
                .with(
                    "operationFull",
                    format!("{words} {}({})", task.vm_name, task.vm),
                )
                .with_some(
                    "message",
                    task.error.as_ref().map(|error| error.detail.clone()),
                )
                .with("startDate", date(task.created))
                .with_some("endDate", task.finished.map(date))
                .with("status", show::task::status(task.status))
                .with("progress", i64::from(task.progress))
                .with_some("ownerName", task.owner.clone())
                .with_some("object", object.text("href").map(str::to_owned))
                .with("objectType", kind)
                .with("objectName", task.vm_name.as_str())
                .with("serviceNamespace", "com.vmware.vcloud")
        })
        .collect())
}

/// The users of the organization, or of all of them; who may not know of the others is told of oneself.
fn users(call: &Call) -> Result<Vec<Node>, Fault> {
    let own = call.operations.principal();
    let mut all: Vec<(String, String, Role)> = match call.operations.users(None) {
        Ok(users) => users
            .iter()
            .map(|user| {
                (
                    user.name.to_string(),
                    user.organization.to_string(),
                    user.role,
                )
            })
            .collect(),
        Err(error) if error.kind() == ErrorKind::Forbidden => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if all.is_empty() {
        let home = show::org::own(call);
        all.push((own.name.to_string(), home, own.role));
    }
    Ok(all
        .iter()
        .map(|(name, home, role)| {
            let id = ids::derived(Kind::User, &format!("{name}@{home}"));
            let system = vm_inventory::is_system(home);
            let home = if system { show::org::SYSTEM } else { home };
            begin(call, Finds::Users, Kind::User, id, name)
                .with("fullName", name.as_str())
                .with("org", org(call, home))
                .with("orgName", home)
                .with("roleNames", show::org::role_name(*role, system))
                .with("isEnabled", true)
                .with("isLdapUser", false)
        })
        .collect())
}

fn roles(call: &Call) -> Result<Vec<Node>, Fault> {
    let home = show::org::own(call);
    Ok(show::org::roles()
        .map(|(name, _)| {
            let id = ids::derived(Kind::Role, &name);
            begin(call, Finds::Roles, Kind::Role, id, &name)
                .with("org", org(call, &home))
                .with("orgName", home.as_str())
                .with("isReadOnly", true)
        })
        .collect())
}

fn vcenters(call: &Call) -> Result<Vec<Node>, Fault> {
    let all = call.operations.vcenters()?;
    Ok(all
        .iter()
        .map(|vcenter| {
            let name = vcenter.name.as_str();
            let id = show::system::vcenter_id(name);
            begin(call, Finds::VCenters, Kind::VimServer, id, name)
                .with("url", format!("{}/{name}/sdk", call.base))
                .with("vcVersion", vcenter.version.to_string())
                .with("status", "READY")
                .with("isEnabled", true)
                .with("isBusy", false)
                .with("isSupported", true)
        })
        .collect())
}
