//! Single VMs: standalone ones, their TPM, and their end.

use super::{look, name, parts, powered, replace_tpm};
use crate::call::{Answer, Call};
use crate::fault::Fault;
use crate::ids::Kind;
use crate::node::Node;
use vm_inventory::provisioning::Operation;
use vm_inventory::{Compose, EditTpm, Part, VmView};

/// `POST /api/vdc/{id}/action/createVm`.
pub(crate) fn create(call: &Call) -> Answer {
    let body = call.body()?;
    let vdc = look::vdc(call, call.id())?;
    let item = body.child("CreateVm").ok_or_else(|| {
        Fault::bad_request("Bad request: CreateVmParams holds the VM to be in CreateVm")
    })?;
    let (name, vm) = parts::new_vm(item)?;
    let job = call.operations.compose(&Compose {
        name: name.clone(),
        vdc: look::vdc_name(&vdc),
        operation: Operation::CreateVm,
        source: None,
        parts: vec![Part::New { name, vm }],
        standalone: true,
    })?;
    call.accept(powered(body, job))
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

/// `POST /api/vApp/vm-{id}/action/reconfigureVm`: of a VM only the TPM changes here.
pub(crate) fn reconfigure(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let body: &Node = call.body()?;
    if body
        .text("name")
        .is_some_and(|name| !name.is_empty() && name != vm.name.as_str())
    {
        return Err(Fault::unsupported("this server does not rename VMs"));
    }
    let present = body
        .child("TrustedPlatformModule")
        .and_then(|tpm| tpm.boolean("TpmPresent"));
    match present {
        Some(present) if present != vm.tpm.present => change_tpm(call, &vm, present),
        _ => Err(Fault::unsupported(
            "of a VM that exists only TrustedPlatformModule/TpmPresent can be changed, and the body does not change it",
        )),
    }
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
