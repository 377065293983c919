//! Snapshots of a VM: this API knows the latest one only.

use super::look;
use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::schema::entity;
use crate::show;
use vm_inventory::model::Timestamp;
use vm_inventory::{Name, TakeSnapshot};

/// What a body asks for; without a name it is the time.
fn asked(call: &Call) -> Result<TakeSnapshot, Fault> {
    let body = call.body.as_ref();
    let named = body
        .and_then(|body| body.text("name"))
        .filter(|name| !name.is_empty());
    let name: Name = match named {
        Some(name) => name.parse()?,
        None => format!(
            "snapshot {}",
            show::date(Timestamp::now()).replace(':', "-")
        )
        .parse()?,
    };
    let description = body
        .and_then(|body| body.text("Description"))
        .unwrap_or_default()
        .to_owned();
    Ok(TakeSnapshot { name, description })
}

/// `POST /api/vApp/vm-{id}/action/createSnapshot`.
pub(crate) fn take(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let request = asked(call)?;
    call.accept(call.operations.take_snapshot(&vm.id.to_string(), request)?)
}

/// `POST /api/vApp/vapp-{id}/action/createSnapshot`: of every VM that has a TPM.
pub(crate) fn take_all(call: &Call) -> Answer {
    let vapp = look::vapp(call, call.id())?.vapp;
    let request = asked(call)?;
    call.accept(
        call.operations
            .snapshot_vapp(&vapp.id.to_string(), request)?,
    )
}

/// A vApp that has a snapshot of one of its VMs.
fn with_snapshots(call: &Call) -> Result<String, Fault> {
    let view = look::vapp(call, call.id())?;
    if view.vms.iter().all(|vm| vm.snapshot_count == 0) {
        return Err(Fault::bad_request(format!(
            "the vApp {} has no snapshot",
            view.vapp.name
        )));
    }
    Ok(view.vapp.id.to_string())
}

/// `POST /api/vApp/vapp-{id}/action/revertToCurrentSnapshot`.
pub(crate) fn revert_all(call: &Call) -> Answer {
    let vapp = with_snapshots(call)?;
    call.accept(call.operations.revert_vapp(&vapp)?)
}

/// `POST /api/vApp/vapp-{id}/action/removeAllSnapshots`.
pub(crate) fn remove_all_of_vapp(call: &Call) -> Answer {
    let vapp = with_snapshots(call)?;
    call.accept(call.operations.forget_vapp_snapshots(&vapp)?)
}

/// `POST /api/vApp/vm-{id}/action/revertToCurrentSnapshot`.
pub(crate) fn revert(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let id = vm.id.to_string();
    let tree = call.operations.snapshots(&id)?;
    let current = tree.current.ok_or_else(|| {
        Fault::bad_request(format!("the VM {} has no snapshot to go back to", vm.name))
    })?;
    call.accept(call.operations.revert_vm(&id, &current.to_string())?)
}

/// `POST /api/vApp/vm-{id}/action/removeAllSnapshots`.
pub(crate) fn remove_all(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let id = vm.id.to_string();
    if vm.snapshot_count == 0 {
        return Err(Fault::bad_request(format!(
            "the VM {} has no snapshot",
            vm.name
        )));
    }
    call.accept(call.operations.forget_snapshots(&id)?)
}

/// `GET /api/vApp/vm-{id}/snapshotSection`.
pub(crate) fn show(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
    let tree = call.operations.snapshots(&vm.id.to_string())?;
    let taken: Vec<(String, bool)> = tree
        .snapshots
        .iter()
        .filter(|snapshot| Some(snapshot.id) == tree.current)
        .map(|snapshot| (show::date(snapshot.created), snapshot.powered_on))
        .collect();
    let node = show::vapp::snapshots(call, &vm, &taken);
    Ok(Reply::ok(&entity::SNAPSHOT_ROOT, node))
}
