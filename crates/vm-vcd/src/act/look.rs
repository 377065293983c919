//! Looking at things.

use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::entity;
use crate::show;
use crate::uploads::Shown;
use uuid::Uuid;
use vm_inventory::model::{Catalog, Template, VCenter, Vapp, Vm};
use vm_inventory::{TargetKind, Task, TaskId, VappView, VdcView, VmView};

/// The names of the organizations that somebody sees; the system is one for its own users.
pub(crate) fn organizations(call: &Call) -> Result<Vec<String>, Fault> {
    let mut names: Vec<String> = call
        .operations
        .organizations()?
        .iter()
        .map(|organization| organization.name.to_string())
        .collect();
    if call.is_system() {
        names.push(show::org::SYSTEM.to_owned());
    }
    Ok(names)
}

/// The name of an organization.
pub(crate) fn organization(call: &Call, id: Uuid) -> Result<String, Fault> {
    organizations(call)?
        .into_iter()
        .find(|name| ids::org(name) == id)
        .ok_or_else(|| Fault::no_access("org", &id.to_string()))
}

/// A virtual data center.
pub(crate) fn vdc(call: &Call, id: Uuid) -> Result<VdcView, Fault> {
    call.operations
        .vdcs()?
        .into_iter()
        .find(|view| show::vdc::vdc_id(&view.vdc) == id)
        .ok_or_else(|| Fault::no_access("vdc", &id.to_string()))
}

/// How operations call a virtual data center.
pub(crate) fn vdc_name(view: &VdcView) -> String {
    format!("{}/{}", view.vdc.organization, view.vdc.name)
}

/// A vApp.
pub(crate) fn vapp(call: &Call, id: Uuid) -> Result<VappView, Fault> {
    let none = || Fault::no_access("vapp", &id.to_string());
    let found = call.operations.vapp(&id.to_string()).map_err(|error| {
        let fault = Fault::from(error);
        if fault.status == 403 { none() } else { fault }
    })?;
    // A name may look like an identifier.
    if found.vapp.id == id {
        Ok(found)
    } else {
        Err(none())
    }
}

/// A VM and the vApp that it is in. VMs of vCenters that belong to no vApp are none of this API's.
pub(crate) fn vm(call: &Call, id: Uuid) -> Result<(Vapp, VmView), Fault> {
    let none = || Fault::no_access("vm", &id.to_string());
    let found = call.operations.vm(&id.to_string()).map_err(|error| {
        let fault = Fault::from(error);
        if fault.status == 403 { none() } else { fault }
    })?;
    let reference = found.vapp.as_ref().ok_or_else(none)?;
    let vapp = vapp(call, reference.id)?.vapp;
    Ok((vapp, found))
}

/// A template.
pub(crate) fn template(call: &Call, id: Uuid) -> Result<Template, Fault> {
    call.operations
        .templates()?
        .into_iter()
        .find(|template| template.id == id)
        .ok_or_else(|| Fault::no_access("vapptemplate", &id.to_string()))
}

/// How operations call a template.
pub(crate) fn template_name(template: &Template) -> String {
    format!(
        "{}/{}/{}",
        template.organization, template.catalog, template.name
    )
}

/// A VM of a template, and the template.
pub(crate) fn template_vm(call: &Call, id: Uuid) -> Result<(Template, Vm), Fault> {
    call.operations
        .templates()?
        .into_iter()
        .find_map(|template| {
            let vm = template.vms.iter().find(|vm| vm.id.0 == id)?.clone();
            Some((template, vm))
        })
        .ok_or_else(|| Fault::no_access("vm", &id.to_string()))
}

/// A catalog.
pub(crate) fn catalog(call: &Call, id: Uuid) -> Result<Catalog, Fault> {
    call.operations
        .catalogs()?
        .into_iter()
        .find(|catalog| show::catalog::catalog_id(catalog) == id)
        .ok_or_else(|| Fault::no_access("catalog", &id.to_string()))
}

/// How operations call a catalog.
pub(crate) fn catalog_name(catalog: &Catalog) -> String {
    format!("{}/{}", catalog.organization, catalog.name)
}

/// A vCenter, for administrators of the system.
pub(crate) fn vcenter(call: &Call, id: Uuid) -> Result<VCenter, Fault> {
    call.operations
        .vcenters()?
        .into_iter()
        .find(|vcenter| show::system::vcenter_id(vcenter.name.as_str()) == id)
        .ok_or_else(|| Fault::no_access("vimserver", &id.to_string()))
}

/// The task that makes something that is not there yet.
fn making(call: &Call, kind: TargetKind, id: Uuid) -> Result<Option<Task>, Fault> {
    let all = call.operations.tasks()?;
    Ok(all
        .into_iter()
        .find(|task| task.target == kind && task.vm.0 == id && !task.is_finished()))
}

/// `GET /api/session`.
pub(crate) fn show_session(call: &Call) -> Answer {
    Ok(Reply::ok(&entity::SESSION_ROOT, show::org::session(call)))
}

/// `GET /api/org`.
pub(crate) fn list_organizations(call: &Call) -> Answer {
    let names = organizations(call)?;
    Ok(Reply::ok(
        &entity::ORG_LIST_ROOT,
        show::org::list(call, &names),
    ))
}

/// `GET /api/org/{id}`.
pub(crate) fn show_organization(call: &Call) -> Answer {
    let name = organization(call, call.id())?;
    let mut vdcs: Vec<_> = call
        .operations
        .vdcs()?
        .into_iter()
        .map(|view| view.vdc)
        .collect();
    vdcs.retain(|vdc| vdc.organization.as_str() == name);
    let mut catalogs = call.operations.catalogs()?;
    catalogs.retain(|catalog| catalog.organization.as_str() == name);
    let node = show::org::org(call, &name, &vdcs, &catalogs);
    Ok(Reply::ok(&entity::ORG_ROOT, node))
}

/// `GET /api/vdc/{id}`.
pub(crate) fn show_vdc(call: &Call) -> Answer {
    let view = vdc(call, call.id())?;
    let node = show::vdc::vdc(
        call,
        &view.vdc,
        &call.operations.vapps()?,
        &call.operations.catalogs()?,
        &call.operations.templates()?,
    );
    Ok(Reply::ok(&entity::VDC_ROOT, node))
}

/// `GET /api/vdcStorageProfile/{id}`.
pub(crate) fn show_storage_profile(call: &Call) -> Answer {
    let id = call.id();
    let vapps = call.operations.vapps()?;
    for VdcView { vdc, .. } in call.operations.vdcs()? {
        for name in show::vdc::datastores(call, &vdc, &vapps) {
            let (organization, own) = (vdc.organization.as_str(), vdc.name.as_str());
            if show::vapp::profile_id(organization, own, name.as_str()) == id {
                let root = &entity::STORAGE_PROFILE_ROOT;
                let up = show::link_to(call, "up", Kind::Vdc, show::vdc::vdc_id(&vdc), own);
                let node = show::begin(call, root, Kind::StorageProfile, id, name.as_str())
                    .with("Link", up)
                    .with("Enabled", true)
                    .with(
                        "Default",
                        show::vdc::own_datastore(call, &vdc).as_ref() == Some(&name),
                    );
                return Ok(Reply::ok(root, node));
            }
        }
    }
    Err(Fault::no_access("vdcstorageProfile", &id.to_string()))
}

/// `GET /api/admin/vdcStorageProfile/{id}`: the same under the name that administrators see.
pub(crate) fn show_admin_storage_profile(call: &Call) -> Answer {
    let mut reply = show_storage_profile(call)?;
    if let Some((root, _)) = &mut reply.document {
        root.element = "AdminVdcStorageProfile";
        root.media = "application/vnd.vmware.admin.vdcStorageProfile";
    }
    Ok(reply)
}

/// `GET /api/vApp/vapp-{id}`. One that is being made shows its task.
pub(crate) fn show_vapp(call: &Call) -> Answer {
    let node = match vapp(call, call.id()) {
        Ok(view) => show::vapp::vapp(call, &view, &call.operations.tasks()?),
        Err(fault) => match making(call, TargetKind::Vapp, call.id())? {
            Some(task) => show::vapp::coming(call, &task),
            None => return Err(fault),
        },
    };
    Ok(Reply::ok(&entity::VAPP_ROOT, node))
}

/// `GET /api/vApp/vm-{id}`.
pub(crate) fn show_vm(call: &Call) -> Answer {
    let (vapp, vm) = vm(call, call.id())?;
    let node = show::vapp::vm(call, &vapp, &vm, &call.operations.tasks()?);
    Ok(Reply::ok(&entity::VM_ROOT, node))
}

/// `GET /api/vApp/vm-{id}/trustedPlatformModule`.
pub(crate) fn show_tpm(call: &Call) -> Answer {
    let (_, vm) = vm(call, call.id())?;
    Ok(Reply::ok(&entity::TPM_ROOT, show::vapp::tpm(call, &vm)))
}

/// `GET /api/vAppTemplate/vappTemplate-{id}`. One that is being made shows its task.
pub(crate) fn show_template(call: &Call) -> Answer {
    let node = match template(call, call.id()) {
        Ok(record) => show::catalog::template(call, &record, &call.operations.tasks()?),
        Err(fault) => match making(call, TargetKind::Template, call.id())? {
            Some(task) => show::catalog::coming(call, &task),
            None => return show_upload(call, fault),
        },
    };
    Ok(Reply::ok(&entity::TEMPLATE_ROOT, node))
}

/// A template that is being uploaded, or that came of it under an identifier of its own.
fn show_upload(call: &Call, fault: Fault) -> Answer {
    let node = match call.uploads.show(call, call.id()) {
        None => return Err(fault),
        Some(Err(failed)) => return Err(failed),
        Some(Ok(Shown::Node(node))) => *node,
        Some(Ok(Shown::Task(task))) => {
            let task = call.operations.task(task.id)?;
            match Shown::template(&task) {
                Some(id) => {
                    show::catalog::template(call, &template(call, id)?, &call.operations.tasks()?)
                }
                None => show::catalog::coming(call, &task),
            }
        }
    };
    Ok(Reply::ok(&entity::TEMPLATE_ROOT, node))
}

/// `GET /api/vAppTemplate/vm-{id}`.
pub(crate) fn show_template_vm(call: &Call) -> Answer {
    let (template, vm) = template_vm(call, call.id())?;
    let node = show::catalog::template_vm(call, &template, &vm);
    Ok(Reply::ok(&entity::TEMPLATE_VM_ROOT, node))
}

/// `GET /api/vAppTemplate/vm-{id}/trustedPlatformModule`.
pub(crate) fn show_template_tpm(call: &Call) -> Answer {
    let (_, vm) = template_vm(call, call.id())?;
    let node = show::catalog::template_tpm(call, &vm);
    Ok(Reply::ok(&entity::TPM_ROOT, node))
}

/// `GET /api/catalog/{id}`.
pub(crate) fn show_catalog(call: &Call) -> Answer {
    let record = catalog(call, call.id())?;
    let node = show::catalog::catalog(call, &record, &call.operations.templates()?);
    Ok(Reply::ok(&entity::CATALOG_ROOT, node))
}

/// `GET /api/vApp/vapp-{id}/networkConfigSection`.
pub(crate) fn show_networks(call: &Call) -> Answer {
    let vapp = vapp(call, call.id())?.vapp;
    Ok(Reply::ok(
        &entity::NETWORK_CONFIGS_ROOT,
        show::vapp::networks(call, vapp.id),
    ))
}

/// `GET /api/vApp/vm-{id}/networkConnectionSection`.
pub(crate) fn show_connections(call: &Call) -> Answer {
    let (_, vm) = vm(call, call.id())?;
    Ok(Reply::ok(
        &entity::NETWORK_CONNECTIONS_ROOT,
        show::vapp::connections(call, vm.id.0),
    ))
}

/// `GET /api/admin/catalog/{id}`.
pub(crate) fn show_admin_catalog(call: &Call) -> Answer {
    let record = catalog(call, call.id())?;
    super::catalog::shown_to_administrators(call, &record, 200)
}

/// The template that an entry of a catalog stands for.
pub(crate) fn item(call: &Call, id: Uuid) -> Result<Template, Fault> {
    call.operations
        .templates()?
        .into_iter()
        .find(|template| ids::catalog_item(template.id) == id)
        .ok_or_else(|| Fault::no_access("catalogitem", &id.to_string()))
}

/// `GET /api/catalogItem/{id}`.
pub(crate) fn show_item(call: &Call) -> Answer {
    let template = item(call, call.id())?;
    let node = show::catalog::item(call, &template);
    Ok(Reply::ok(&entity::CATALOG_ITEM_ROOT, node))
}

/// `GET /api/task/{id}`.
pub(crate) fn show_task(call: &Call) -> Answer {
    let task = call.operations.task(TaskId(call.id()))?;
    Ok(Reply::ok(&entity::TASK_ROOT, show::task::task(call, &task)))
}

/// `GET /api/tasksList/{id}`: the tasks of an organization.
pub(crate) fn list_tasks(call: &Call) -> Answer {
    let name = organization(call, call.id())?;
    let own = (name != show::org::SYSTEM).then_some(name);
    let all = call.operations.tasks()?;
    let all = all
        .iter()
        .filter(|task| task.organization.as_ref().map(ToString::to_string) == own)
        .map(|task| show::task::task(call, task));
    let node = Node::of(&entity::TASKS_LIST)
        .with("href", format!("{}/api/tasksList/{}", call.base, call.id()))
        .with("name", "Tasks Lists")
        .with_all("Task", all);
    Ok(Reply::ok(&entity::TASKS_ROOT, node))
}

/// `POST /api/task/{id}/action/cancel`.
pub(crate) fn cancel_task(call: &Call) -> Answer {
    call.operations.cancel_task(TaskId(call.id()))?;
    Ok(Reply::nothing())
}

/// `GET /api/admin/user/{id}`: oneself, and for administrators everybody of the organization.
pub(crate) fn show_user(call: &Call) -> Answer {
    let id = call.id();
    let own = call.operations.principal();
    if ids::derived(Kind::User, &own.to_string()) == id {
        let node = show::org::user(call, id, own.name.as_str(), &show::org::role(call), true);
        return Ok(Reply::ok(&entity::USER_ROOT, node));
    }
    let users = call.operations.users(own.organization.as_ref())?;
    let found = users.into_iter().find(|user| {
        ids::derived(Kind::User, &format!("{}@{}", user.name, user.organization)) == id
    });
    let user = found.ok_or_else(|| Fault::no_access("user", &id.to_string()))?;
    let role = show::org::role_name(user.role, false);
    let enabled = call.operations.is_enabled(&user.organization, &user.name)?;
    let node = show::org::user(call, id, user.name.as_str(), &role, enabled);
    Ok(Reply::ok(&entity::USER_ROOT, node))
}

/// A user of an organization that somebody may change.
fn user_to_change(call: &Call) -> Result<vm_inventory::UserView, Fault> {
    let id = call.id();
    let own = call.operations.principal().organization.clone();
    let users = call.operations.users(own.as_ref())?;
    users
        .into_iter()
        .find(|user| {
            ids::derived(Kind::User, &format!("{}@{}", user.name, user.organization)) == id
                && !vm_inventory::is_system(user.organization.as_str())
        })
        .ok_or_else(|| Fault::no_access("user", &id.to_string()))
}

/// `PUT /api/admin/user/{id}`: of a user's own document the role is taken.
pub(crate) fn change_user(call: &Call) -> Answer {
    let user = user_to_change(call)?;
    let body = call.body()?;
    if body
        .text("name")
        .is_some_and(|name| name != user.name.as_str())
    {
        return Err(Fault::unsupported("users of this server keep their names"));
    }
    if body.has("Password") {
        return Err(Fault::unsupported(
            "passwords are not changed through this interface; delete the user and add it again",
        ));
    }
    let wanted = call.target_of(body, "Role", Kind::Role)?;
    let (name, role) = show::org::roles()
        .find(|(name, _)| ids::derived(Kind::Role, name) == wanted)
        .ok_or_else(|| {
            Fault::invalid_reference("the Role of a user is one that the query `role` finds")
        })?;
    if role != user.role {
        call.operations
            .change_user_role(&user.organization, &user.name, role)?;
    }
    let (organization, own) = (&user.organization, &user.name);
    let was = call.operations.is_enabled(organization, own)?;
    let enabled = body.boolean("IsEnabled").unwrap_or(was);
    if enabled != was {
        call.operations.enable_user(organization, own, enabled)?;
    }
    let node = show::org::user(call, call.id(), own.as_str(), &name, enabled);
    Ok(Reply::ok(&entity::USER_ROOT, node))
}

/// `DELETE /api/admin/user/{id}`.
pub(crate) fn remove_user(call: &Call) -> Answer {
    let user = user_to_change(call)?;
    call.operations
        .remove_user(&user.organization, &user.name)?;
    Ok(Reply::nothing())
}

/// `GET /api/admin/role/{id}`.
pub(crate) fn show_role(call: &Call) -> Answer {
    let id = call.id();
    let (name, _) = show::org::roles()
        .find(|(name, _)| ids::derived(Kind::Role, name) == id)
        .ok_or_else(|| Fault::no_access("role", &id.to_string()))?;
    let node = show::org::role_document(call, &name);
    Ok(Reply::ok(&entity::ROLE_ROOT, node))
}

/// `GET /api/admin/org/{id}`.
pub(crate) fn show_admin_organization(call: &Call) -> Answer {
    let name = organization(call, call.id())?;
    let node = show::org::admin_org(call, &name);
    Ok(Reply::ok(&entity::ADMIN_ORG_ROOT, node))
}

/// `POST /api/admin/org/{id}/users`: with a password and a role of this server.
pub(crate) fn add_user(call: &Call) -> Answer {
    let organization = organization(call, call.id())?;
    let body = call.body()?;
    if body.boolean("IsExternal") == Some(true) {
        return Err(Fault::unsupported(
            "users of this server are its own: IsExternal is false",
        ));
    }
    let wanted = call.target_of(body, "Role", Kind::Role)?;
    let (role_name, role) = show::org::roles()
        .find(|(name, _)| ids::derived(Kind::Role, name) == wanted)
        .ok_or_else(|| {
            Fault::invalid_reference("the Role of a user is one that the query `role` finds")
        })?;
    let name = super::name(body)?;
    let password = body.text("Password").unwrap_or_default();
    let made = call
        .operations
        .create_user(Some(&organization.parse()?), name, role, password)?;
    let id = ids::derived(Kind::User, &format!("{}@{}", made.name, made.organization));
    let enabled = body.boolean("IsEnabled").unwrap_or(true);
    if !enabled {
        call.operations
            .enable_user(&made.organization, &made.name, false)?;
    }
    let node = show::org::user(call, id, made.name.as_str(), &role_name, enabled);
    Ok(Reply::created(&entity::USER_ROOT, node))
}

/// `GET /api/admin`.
pub(crate) fn show_vcloud(call: &Call) -> Answer {
    let names = organizations(call)?;
    call.operations.vcenters()?;
    Ok(Reply::ok(
        &entity::VCLOUD_ROOT,
        show::system::vcloud(call, &names),
    ))
}

/// `GET /api/admin/extension`.
pub(crate) fn show_extension(call: &Call) -> Answer {
    call.operations.vcenters()?;
    Ok(Reply::ok(
        &entity::EXTENSION_ROOT,
        show::system::extension(call),
    ))
}

/// `GET /api/admin/extension/vimServerReferences`.
pub(crate) fn list_vcenters(call: &Call) -> Answer {
    let all = call.operations.vcenters()?;
    Ok(Reply::ok(
        &entity::VIM_SERVERS_ROOT,
        show::system::vim_servers(call, &all),
    ))
}

/// `GET /api/admin/extension/vimServer/{id}`.
pub(crate) fn show_vcenter(call: &Call) -> Answer {
    let vcenter = vcenter(call, call.id())?;
    Ok(Reply::ok(
        &entity::VIM_SERVER_ROOT,
        show::system::vim_server(call, &vcenter),
    ))
}

/// `GET /api/admin/extension/vimServer/{id}/vmsList`.
pub(crate) fn list_vcenter_vms(call: &Call) -> Answer {
    let vcenter = vcenter(call, call.id())?;
    let vms = call.operations.vms()?;
    Ok(Reply::ok(
        &entity::VM_OBJECTS_ROOT,
        show::system::vms(call, &vcenter, &vms),
    ))
}
