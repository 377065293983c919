//! Snapshots of a VM: this API knows the latest one only.

use super::look;
use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::schema::entity;
use crate::show;
use vm_inventory::model::Timestamp;
use vm_inventory::{Name, TakeSnapshot};

/// `POST /api/vApp/vm-{id}/action/createSnapshot`.
pub(crate) fn take(call: &Call) -> Answer {
    let (_, vm) = look::vm(call, call.id())?;
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
    let request = TakeSnapshot { name, description };
    call.accept(call.operations.take_snapshot(&vm.id.to_string(), request)?)
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
    let tree = call.operations.snapshots(&id)?;
    match tree.snapshots.as_slice() {
        [only] => call.accept(call.operations.forget_snapshot(&id, &only.id.to_string())?),
        [] => Err(Fault::bad_request(format!(
            "the VM {} has no snapshot",
            vm.name
        ))),
        more => Err(Fault::unsupported(format!(
            "the VM {} has {} snapshots, which this API cannot tell apart; forget them with `vtpm vm forget`",
            vm.name,
            more.len()
        ))),
    }
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
