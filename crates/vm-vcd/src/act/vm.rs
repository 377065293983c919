//! Single VMs: standalone ones, their TPM, and their end.

use super::{look, name, parts, powered, replace_tpm};
use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::ids::Kind;
use crate::node::Node;
use crate::schema::{entity, section};
use crate::show;
use vm_inventory::provisioning::Operation;
use vm_inventory::{Compose, EditTpm, Part, ReconfigureVm, VmView};

/// `POST /api/vdc/{id}/action/createVm`.
pub(crate) fn create(call: &Call) -> Answer {
    let body = call.body()?;
    let vdc = look::vdc(call, call.id())?;
    let item = body.child("CreateVm").ok_or_else(|| {
        Fault::bad_request("Bad request: CreateVmParams holds the VM to be in CreateVm")
    })?;
    let (name, vm) = parts::new_vm(item)?;
    let size = parts::size_of(item)?;
    let job = call.operations.compose(&Compose {
        name: name.clone(),
        vdc: look::vdc_name(&vdc),
        operation: Operation::CreateVm,
        source: None,
        parts: vec![Part::New {
            name: name.clone(),
            vm,
        }],
        standalone: true,
    })?;
    let sizes = size.map(|size| (name.to_string(), size));
    let job = powered(body, job).then_reconfigure(sizes.into_iter().collect());
    call.accept(job)
}

/// `POST /api/vdc/{id}/action/instantiateVmTemplate`.
pub(crate) fn instantiate(call: &Call) -> Answer {
    let body = call.body()?;
    let vdc = look::vdc(call, call.id())?;
    let item = body.child("SourcedVmTemplateItem").ok_or_else(|| {
        Fault::bad_request(
            "Bad request: InstantiateVmTemplateParams names its template in SourcedVmTemplateItem",
        )
    })?;
    let (template, vm) = match call.target(item, "Source")? {
        (Kind::TemplateVm | Kind::Vm, id) => {
            let (template, vm) = look::template_vm(call, id)?;
            (template, Some(vm.name))
        }
        (Kind::Template, id) => (look::template(call, id)?, None),
        (Kind::CatalogItem, id) => (look::item(call, id)?, None),
        _ => {
            return Err(Fault::invalid_reference(
                "the Source of a VM is a VM of a template, or a template of one VM",
            ));
        }
    };
    let name = match parts::wanted_name(item)? {
        Some(name) => name,
        None => name(body)?,
    };
    let job = call.operations.compose(&Compose {
        name: name.clone(),
        vdc: look::vdc_name(&vdc),
        operation: Operation::CreateVmFromTemplate,
        source: None,
        parts: vec![Part::Template {
            template: look::template_name(&template),
            vm,
            name: Some(name),
            tpm: replace_tpm(item),
        }],
        standalone: true,
    })?;
    call.accept(powered(body, job))
}

/// `POST /api/vApp/vm-{id}/action/editTrustedPlatformModule`.
pub(crate) fn edit_tpm(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let present = call.body()?.boolean("TpmPresent").ok_or_else(|| {
        Fault::bad_request("Bad request: TpmPresent says whether the VM is to have a TPM")
    })?;
    change_tpm(call, &vm, present)
}

fn change_tpm(call: &Call, vm: &VmView, present: bool) -> Answer {
    let request = EditTpm {
        present,
        provider: None,
        profile: None,
        // The interface has no field for it.
        confirm: true,
    };
    call.accept(call.operations.edit_tpm(&vm.id.to_string(), &request)?)
}

/// `POST /api/vApp/vm-{id}/action/reconfigureVm`: what the body has and the VM has otherwise.
pub(crate) fn reconfigure(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let change = parts::change(&vm, call.body()?)?;
    call.accept(call.operations.reconfigure_vm(&vm.id.to_string(), change)?)
}

fn show_item(call: &Call, memory: bool) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let hardware = call.operations.vm_hardware(&vm.id.to_string())?;
    let node = show::vapp::hardware_item(call, &vm, memory, &hardware);
    Ok(Reply::ok(&entity::RASD_ITEM_ROOT, node))
}

fn set_item(call: &Call, memory: bool) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let quantity = call
        .body()?
        .number("VirtualQuantity")
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| {
            Fault::bad_request("Bad request: VirtualQuantity says how many there are")
        })?;
    let mut change = ReconfigureVm::default();
    if memory {
        change.memory_mb = Some(quantity);
    } else {
        change.cpus = Some(quantity);
        let cores = call.body()?.number("CoresPerSocket");
        let cores = cores.and_then(|cores| u32::try_from(cores).ok());
        change.cores_per_socket = cores.filter(|cores| *cores > 0);
    }
    call.accept(call.operations.reconfigure_vm(&vm.id.to_string(), change)?)
}

/// `GET /api/vApp/vm-{id}/virtualHardwareSection/cpu`.
pub(crate) fn show_cpus(call: &Call) -> Answer {
    show_item(call, false)
}

/// `PUT /api/vApp/vm-{id}/virtualHardwareSection/cpu`.
pub(crate) fn set_cpus(call: &Call) -> Answer {
    set_item(call, false)
}

/// `GET /api/vApp/vm-{id}/virtualHardwareSection/memory`.
pub(crate) fn show_memory(call: &Call) -> Answer {
    show_item(call, true)
}

/// `PUT /api/vApp/vm-{id}/virtualHardwareSection/memory`.
pub(crate) fn set_memory(call: &Call) -> Answer {
    set_item(call, true)
}

/// An item of hardware that every VM has: what it is, its name, its number, and what kind of resource it is.
fn usual_item(description: &str, name: &str, number: &str, kind: i64) -> Node {
    Node::of(&section::RASD_ITEM)
        .with("Address", "0")
        .with("Description", description)
        .with("ElementName", name)
        .with("InstanceID", number)
        .with("ResourceType", kind)
}

fn show_items(call: &Call, items: impl IntoIterator<Item = Node>) -> Answer {
    look::vm(call, call.id())?;
    Ok(Reply::ok(
        &entity::RASD_ITEMS_ROOT,
        Node::of(&section::RASD_ITEMS).with_all("Item", items),
    ))
}

/// `GET /api/vApp/vm-{id}/virtualHardwareSection/disks`: disks are files of the VM's folder here, so there is a controller and nothing
/// at it.
pub(crate) fn show_disks(call: &Call) -> Answer {
    let controller = usual_item("IDE Controller", "IDE Controller 0", "3", 5);
    show_items(call, [controller])
}

/// `GET /api/vApp/vm-{id}/virtualHardwareSection/media`: a drive with nothing in it.
pub(crate) fn show_media(call: &Call) -> Answer {
    let drive = usual_item("CD/DVD Drive", "CD/DVD Drive 1", "3000", 15);
    show_items(call, [drive.with("HostResource", "")])
}

/// `GET /api/vApp/vm-{id}/virtualHardwareSection/networkCards`: none.
pub(crate) fn show_cards(call: &Call) -> Answer {
    show_items(call, [])
}

/// `DELETE /api/vApp/vm-{id}`: with its disks; a standalone VM takes the vApp around it along.
pub(crate) fn delete(call: &Call) -> Answer {
    let (vapp, vm) = look::vm(call, call.id())?;
    let id = vapp.id.to_string();
    let job = if vapp.standalone {
        call.operations.delete_vapp(&id)?
    } else {
        call.operations.recompose(&id, &[], &[vm.id.to_string()])?
    };
    call.accept(job)
}
