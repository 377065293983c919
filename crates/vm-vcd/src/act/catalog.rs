//! Catalogs and templates: made, filled, published, emptied.

use super::{look, name};
use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::ids::Kind;
use crate::node::Node;
use crate::schema::{Root, entity};
use crate::show;
use vm_inventory::model::Catalog;
use vm_inventory::provisioning::TpmProvisioning;
use vm_inventory::{Capture, CreateCatalog};

/// `POST /api/catalog/{id}/action/captureVApp`.
pub(crate) fn capture(call: &Call) -> Answer {
    let body = call.body()?;
    let catalog = look::catalog(call, call.id())?;
    let over = match body.has("TargetCatalogItem") {
        true => {
            let item = call.target_of(body, "TargetCatalogItem", Kind::CatalogItem)?;
            Some(look::template_name(&look::item(call, item)?))
        }
        false => None,
    };
    let (vapp, vm) = match call.target(body, "Source")? {
        (Kind::Vapp, id) => {
            let view = look::vapp(call, id)?;
            match view.vms.as_slice() {
                [only] if view.vapp.standalone => (None, Some(only.id.to_string())),
                _ => (Some(view.vapp.id.to_string()), None),
            }
        }
        (Kind::Vm, id) => (None, Some(look::vm(call, id)?.1.id.to_string())),
        _ => {
            return Err(Fault::invalid_reference(
                "the Source of a template is a vApp or a VM",
            ));
        }
    };
    let tpm = body.boolean("CopyTpmOnInstantiate").map(|copy| {
        if copy {
            TpmProvisioning::Copy
        } else {
            TpmProvisioning::Replace
        }
    });
    let request = Capture {
        vapp,
        vm,
        catalog: look::catalog_name(&catalog),
        name: name(body)?,
        tpm,
    };
    let job = match &over {
        Some(old) => call.operations.capture_over(old, &request)?,
        None => call.operations.capture(&request)?,
    };
    let task = call.start(job);
    let node = show::task::task(call, &task);
    let location = node.text("href").map(str::to_owned);
    // The API answers with a task, pyvcloud's users look for one in the answer: every entity can hold tasks, so both find it.
    let node = node
        .clone()
        .with("Tasks", Node::of(&entity::TASKS).with("Task", node));
    Ok(Reply {
        status: 202,
        document: Some((entity::TASK_ROOT, node)),
        location,
    })
}

/// `POST /api/catalog/{id}/action/upload`: the descriptor and the files follow.
pub(crate) fn upload(call: &Call) -> Answer {
    let body = call.body()?;
    let catalog = look::catalog(call, call.id())?;
    call.uploads.begin(call, &catalog, name(body)?)
}

/// `POST /api/vdc/{id}/action/uploadVAppTemplate` names no catalog, so there is no place for the template.
pub(crate) fn upload_to_vdc(call: &Call) -> Answer {
    look::vdc(call, call.id())?;
    Err(Fault::unsupported(
        "a template belongs into a catalog; POST the same body to action/upload of the catalog",
    ))
}

/// `DELETE /api/vAppTemplate/vappTemplate-{id}`.
pub(crate) fn delete_template(call: &Call) -> Answer {
    let template = look::template(call, call.id())?;
    call.accept(
        call.operations
            .delete_template(&look::template_name(&template))?,
    )
}

/// `PUT /api/vAppTemplate/vappTemplate-{id}`: of a template's own document the name is taken.
pub(crate) fn rename_template(call: &Call) -> Answer {
    let template = look::template(call, call.id())?;
    let name = name(call.body()?)?;
    call.accept(
        call.operations
            .rename_template(&look::template_name(&template), &name)?,
    )
}

/// `PUT /api/admin/catalog/{id}`: of a catalog's own document the name is taken.
pub(crate) fn rename(call: &Call) -> Answer {
    let catalog = look::catalog(call, call.id())?;
    let name = name(call.body()?)?;
    let renamed = call
        .operations
        .rename_catalog(&look::catalog_name(&catalog), &name)?;
    shown_to_administrators(call, &renamed, 200)
}

/// `DELETE /api/admin/catalog/{id}`: with nothing in it.
pub(crate) fn delete(call: &Call) -> Answer {
    let catalog = look::catalog(call, call.id())?;
    call.operations
        .delete_catalog(&look::catalog_name(&catalog))?;
    Ok(Reply::nothing())
}

/// A catalog by the name that its document has for administrators.
pub(crate) fn shown_to_administrators(
    call: &Call,
    catalog: &Catalog,
    status: u16,
) -> Result<Reply, Fault> {
    let root = Root {
        element: "AdminCatalog",
        media: "application/vnd.vmware.admin.catalog",
        ..entity::CATALOG_ROOT
    };
    let node = show::catalog::catalog(call, catalog, &call.operations.templates()?);
    let mut reply = Reply::ok(&root, node);
    reply.status = status;
    Ok(reply)
}

/// `DELETE /api/catalogItem/{id}`: the template goes with it.
pub(crate) fn delete_item(call: &Call) -> Answer {
    let template = look::item(call, call.id())?;
    call.accept(
        call.operations
            .delete_template(&look::template_name(&template))?,
    )
}

/// `POST /api/admin/catalog/{id}/action/publish`.
pub(crate) fn publish(call: &Call) -> Answer {
    let catalog = look::catalog(call, call.id())?;
    let published = call.body()?.boolean("IsPublished").ok_or_else(|| {
        Fault::bad_request("Bad request: IsPublished says whether the catalog is to be published")
    })?;
    call.operations
        .publish_catalog(&look::catalog_name(&catalog), published)?;
    Ok(Reply::nothing())
}

/// `POST /api/admin/org/{id}/catalogs`.
pub(crate) fn create(call: &Call) -> Answer {
    let organization = look::organization(call, call.id())?;
    let request = CreateCatalog {
        name: name(call.body()?)?,
        organization: Some(organization.parse()?),
        vdc: None,
        subscribe: None,
    };
    let made = call.operations.create_catalog(request)?;
    let root = Root {
        element: "AdminCatalog",
        ..entity::CATALOG_ROOT
    };
    Ok(Reply::created(
        &root,
        show::catalog::catalog(call, &made, &[]),
    ))
}
