//! Power: of VMs, and of vApps as a whole.

use super::look;
use crate::call::{Answer, Call};
use crate::fault::Fault;
use crate::node::Node;
use vm_inventory::model::PowerState;

fn vm(call: &Call, power: PowerState) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let id = vm.id.to_string();
    let job = match power {
        PowerState::On => call.operations.power_on(&id, false)?,
        PowerState::Off => call.operations.power_off(&id)?,
        PowerState::Suspended => call.operations.suspend_vm(&id)?,
    };
    call.accept(job)
}

fn vapp(call: &Call, power: PowerState) -> Answer {
    let vapp = look::vapp(call, call.id())?.vapp;
    call.accept(call.operations.power_vapp(&vapp.id.to_string(), power)?)
}

/// `POST /api/vApp/vm-{id}/power/action/powerOn`.
pub(crate) fn vm_on(call: &Call) -> Answer {
    vm(call, PowerState::On)
}

/// `POST /api/vApp/vm-{id}/power/action/powerOff` and `shutdown`: the TPM is always shut down in good order.
pub(crate) fn vm_off(call: &Call) -> Answer {
    vm(call, PowerState::Off)
}

/// `POST /api/vApp/vapp-{id}/power/action/powerOn`.
pub(crate) fn vapp_on(call: &Call) -> Answer {
    vapp(call, PowerState::On)
}

/// `POST /api/vApp/vapp-{id}/power/action/powerOff` and `shutdown`.
pub(crate) fn vapp_off(call: &Call) -> Answer {
    vapp(call, PowerState::Off)
}

/// `POST /api/vApp/vm-{id}/power/action/reset` and `reboot`: nothing in the guest is asked.
pub(crate) fn vm_reset(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    call.accept(call.operations.restart_vm(&vm.id.to_string())?)
}

/// `POST /api/vApp/vapp-{id}/power/action/reset` and `reboot`.
pub(crate) fn vapp_reset(call: &Call) -> Answer {
    let vapp = look::vapp(call, call.id())?.vapp;
    call.accept(call.operations.restart_vapp(&vapp.id.to_string())?)
}

fn not_suspended(name: &str) -> Fault {
    Fault::bad_request(format!(
        "{name} is not suspended, so there is no suspended state to discard"
    ))
}

/// `POST /api/vApp/vm-{id}/power/action/suspend`.
pub(crate) fn vm_suspend(call: &Call) -> Answer {
    vm(call, PowerState::Suspended)
}

/// `POST /api/vApp/vapp-{id}/power/action/suspend`: every VM that runs.
pub(crate) fn vapp_suspend(call: &Call) -> Answer {
    vapp(call, PowerState::Suspended)
}

/// `POST /api/vApp/vm-{id}/action/discardSuspendedState`.
pub(crate) fn vm_discard(call: &Call) -> Answer {
    let (_, found) = look::vm(call, call.id())?;
    if found.power != PowerState::Suspended {
        return Err(not_suspended(found.name.as_str()));
    }
    vm(call, PowerState::Off)
}

/// `POST /api/vApp/vapp-{id}/action/discardSuspendedState`.
pub(crate) fn vapp_discard(call: &Call) -> Answer {
    let view = look::vapp(call, call.id())?;
    if view.vms.iter().all(|vm| vm.power != PowerState::Suspended) {
        return Err(not_suspended(view.vapp.name.as_str()));
    }
    call.accept(
        call.operations
            .discard_suspended_vapp(&view.vapp.id.to_string())?,
    )
}

/// Deploying without power changes nothing that this server has.
fn deploys(body: Option<&Node>) -> Result<(), Fault> {
    if body.and_then(|body| body.boolean("powerOn")) == Some(false) {
        return Err(Fault::unsupported(
            "on this server deploying is powering on; leave powerOn=\"false\" out",
        ));
    }
    Ok(())
}

/// What undeploying means.
fn undeploys(body: Option<&Node>) -> Result<PowerState, Fault> {
    match body.and_then(|body| body.text("UndeployPowerAction")) {
        None | Some("powerOff" | "shutdown" | "default" | "force") => Ok(PowerState::Off),
        Some("suspend") => Ok(PowerState::Suspended),
        Some(other) => Err(Fault::bad_request(format!(
            "Bad request: {} is no UndeployPowerAction; use powerOff",
            crate::xml::shown(other)
        ))),
    }
}

/// `POST /api/vApp/vm-{id}/action/deploy`.
pub(crate) fn deploy_vm(call: &Call) -> Answer {
    deploys(call.body.as_ref())?;
    vm_on(call)
}

/// `POST /api/vApp/vm-{id}/action/undeploy`.
pub(crate) fn undeploy_vm(call: &Call) -> Answer {
    vm(call, undeploys(call.body.as_ref())?)
}

/// `POST /api/vApp/vapp-{id}/action/deploy`.
pub(crate) fn deploy_vapp(call: &Call) -> Answer {
    deploys(call.body.as_ref())?;
    vapp_on(call)
}

/// `POST /api/vApp/vapp-{id}/action/undeploy`.
pub(crate) fn undeploy_vapp(call: &Call) -> Answer {
    vapp(call, undeploys(call.body.as_ref())?)
}
