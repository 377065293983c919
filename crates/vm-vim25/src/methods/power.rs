//! Power of VMs, their end, and the keys of locked ones.

use super::{Request, folders};
use crate::arguments::Read as _;
use crate::fault::{self, About, Fault, Outcome};
use crate::inventory;
use crate::value::{Object, Value};
use vm_inventory::model::PowerState;
use vm_inventory::{Error, Job, VmView};

use crate::server::Act;

/// The VM that a request is about, and what faults tell of it.
pub(super) fn target<'a>(request: &'a Request<'_>) -> Outcome<(&'a VmView, About)> {
    let vm = request.world()?.vm(&request.this)?;
    let about = About {
        object: Some(request.this.clone()),
        key: vm
            .locked
            .as_ref()
            .map(|locked| (locked.provider.clone(), locked.key_id.clone())),
        wants: None,
    };
    Ok((vm, about))
}

pub(super) fn one(
    request: &Request<'_>,
    method: &'static str,
    wants: Option<PowerState>,
    job: impl FnOnce(&Act, &str) -> Result<Job, Error> + Send + 'static,
) -> Outcome<Option<Value>> {
    let (vm, about) = target(request)?;
    let about = About { wants, ..about };
    let id = vm.id.to_string();
    let task = request
        .call
        .start(method, &request.this, vm.name.as_str(), move |work| {
            let job = job(&work.act, &id);
            match work.run(job, &about) {
                // The key that is missing is known now, if it was not before.
                Err(fault) if fault.kind() == "EncryptionKeyRequired" => {
                    let locked = work.act.vm(&id).ok().and_then(|vm| vm.locked);
                    Err(match locked {
                        Some(locked) => fault::key_required(
                            Some((&locked.provider, &locked.key_id)),
                            fault.message.clone(),
                        ),
                        None => fault,
                    })
                }
                outcome => outcome.map(|_| None),
            }
        })?;
    Ok(Some(task))
}

pub(super) fn on(request: &Request<'_>) -> Outcome<Option<Value>> {
    super::entity::no_template(request, "powered on")?;
    one(
        request,
        "PowerOnVM_Task",
        Some(PowerState::On),
        |act, vm| act.power_on(vm, false),
    )
}

/// Powers several VMs on, each by a task of its own.
pub(super) fn on_several(request: &Request<'_>) -> Outcome<Option<Value>> {
    let world = request.world()?;
    let mut vms = Vec::new();
    for of in request.args.references("vm")? {
        vms.push((of.clone(), world.vm(&of)?.clone()));
    }
    let mut attempted = Vec::new();
    let mut refused = Vec::new();
    for (of, vm) in vms {
        let template = request
            .call
            .act()?
            .vm_hardware(&vm.id.to_string())
            .is_ok_and(|hardware| hardware.template);
        if template || vm.power == PowerState::On {
            let fault = match template {
                true => Fault::not_supported("a template cannot be powered on"),
                false => fault::invalid_power(
                    format!("{} is powered on", vm.name),
                    PowerState::On,
                    PowerState::On,
                ),
            };
            refused.push(
                Object::new("ClusterNotAttemptedVmInfo")
                    .with("vm", of)
                    .with("fault", fault),
            );
            continue;
        }
        let about = About {
            object: Some(of.clone()),
            wants: Some(PowerState::On),
            ..About::default()
        };
        let id = vm.id.to_string();
        let task = request
            .call
            .start("PowerOnVM_Task", &of, vm.name.as_str(), move |work| {
                work.run(work.act.power_on(&id, false), &about)?;
                Ok(None)
            })?;
        attempted.push(
            Object::new("ClusterAttemptedVmInfo")
                .with("vm", of)
                .with("task", task),
        );
    }
    let result = Object::new("ClusterPowerOnVmResult")
        .with(
            "attempted",
            Value::objects("ClusterAttemptedVmInfo", attempted),
        )
        .with(
            "notAttempted",
            Value::objects("ClusterNotAttemptedVmInfo", refused),
        );
    let task = request.call.start(
        "PowerOnMultiVM_Task",
        &request.this,
        inventory::DATACENTER,
        move |_| Ok(Some(result.into())),
    )?;
    Ok(Some(task))
}

pub(super) fn off(request: &Request<'_>) -> Outcome<Option<Value>> {
    one(
        request,
        "PowerOffVM_Task",
        Some(PowerState::Off),
        |act, vm| act.power_off(vm),
    )
}

pub(super) fn suspend(request: &Request<'_>) -> Outcome<Option<Value>> {
    one(
        request,
        "SuspendVM_Task",
        Some(PowerState::Suspended),
        |act, vm| act.suspend_vm(vm),
    )
}

pub(super) fn unlock(request: &Request<'_>) -> Outcome<Option<Value>> {
    one(request, "CryptoUnlock_Task", None, |act, vm| {
        act.unlock_vm(vm)
    })
}

pub(super) fn reset(request: &Request<'_>) -> Outcome<Option<Value>> {
    one(request, "ResetVM_Task", Some(PowerState::On), |act, vm| {
        act.restart_vm(vm)
    })
}

pub(super) fn destroy(request: &Request<'_>) -> Outcome<Option<Value>> {
    if folders::target(request)?.is_some() {
        return folders::destroy(request);
    }
    if request.this.kind != "VirtualMachine" {
        let name = request.world()?.name(&request.this).unwrap_or_default();
        let message = if request.this == inventory::root_folder() {
            "the root folder cannot be destroyed".to_owned()
        } else {
            format!("{name} is not destroyed through this API")
        };
        return Err(Fault::not_supported(message));
    }
    one(request, "Destroy_Task", Some(PowerState::Off), |act, vm| {
        act.delete_vm(vm)
    })
}
