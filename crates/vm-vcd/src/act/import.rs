//! VMs of vCenters become vApps or templates.

use super::{coming_vapp, look};
use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::entity;
use crate::show;
use vm_inventory::{Import, Name, VmView};

/// The VM that a body names by its managed object reference, or by its name.
fn source(call: &Call, body: &Node) -> Result<VmView, Fault> {
    let vcenter = look::vcenter(call, call.id())?;
    let wanted = body
        .text("VmMoRef")
        .map(str::trim)
        .filter(|moref| !moref.is_empty())
        .ok_or_else(|| Fault::bad_request("Bad request: VmMoRef names the VM to import"))?;
    let id = ids::strict(wanted.strip_prefix("vm-").unwrap_or(wanted));
    let vms = call.operations.vms()?;
    vms.into_iter()
        .filter(|vm| vm.vcenter == vcenter.name && vm.vapp.is_none())
        .find(|vm| match id {
            Some(id) => vm.id.0 == id,
            None => vm.name.as_str() == wanted,
        })
        .ok_or_else(|| Fault::no_access("vm", wanted))
}

/// What the vApp or template is to be called.
fn wanted_name(body: &Node, vm: &VmView) -> Result<Name, Fault> {
    let name = [body.text("name"), body.text("VmName")]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty());
    Ok(match name {
        Some(name) => name.parse()?,
        None => vm.name.clone(),
    })
}

/// `POST /api/admin/extension/vimServer/{id}/importVmAsVApp`.
pub(crate) fn as_vapp(call: &Call) -> Answer {
    let body = call.body()?;
    let vm = source(call, body)?;
    let vdc = look::vdc(call, call.target_of(body, "Vdc", Kind::Vdc)?)?;
    let request = Import {
        vdc: Some(look::vdc_name(&vdc)),
        catalog: None,
        name: wanted_name(body, &vm)?,
        moves: body.boolean("sourceMove") == Some(true),
        tpm: None,
    };
    let job = call.operations.import_vm(&vm.id.to_string(), &request)?;
    coming_vapp(call, job)
}

/// `POST /api/admin/extension/vimServer/{id}/importVmAsVAppTemplate`.
pub(crate) fn as_template(call: &Call) -> Answer {
    let body = call.body()?;
    let vm = source(call, body)?;
    let catalog = look::catalog(call, call.target_of(body, "Catalog", Kind::Catalog)?)?;
    let request = Import {
        vdc: None,
        catalog: Some(look::catalog_name(&catalog)),
        name: wanted_name(body, &vm)?,
        moves: body.boolean("sourceMove") == Some(true),
        tpm: None,
    };
    let job = call.operations.import_vm(&vm.id.to_string(), &request)?;
    let task = call.start(job);
    let node = show::catalog::coming(call, &task);
    Ok(Reply::created(&entity::TEMPLATE_ROOT, node))
}
