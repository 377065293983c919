//! Snapshots.

use super::Request;
use super::power::{one, target};
use crate::arguments::Read as _;
use crate::fault::{self, About, Fault, Outcome};
use crate::inventory;
use crate::properties;
use crate::server::Work;
use crate::value::Value;
use uuid::Uuid;
use vm_inventory::{Error, Name, SnapshotTree, TakeSnapshot};

pub(super) fn create(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, about) = target(request)?;
    let name: Name = request.text("name")?.parse().map_err(|error| {
        let given: String = request
            .args
            .text_of("name")
            .unwrap_or_default()
            .chars()
            .take(80)
            .collect();
        let fault = fault::of(&Error::Name(error), &about);
        Fault::new("InvalidName", fault.message.clone()).with("name", given)
    })?;
    let take = TakeSnapshot {
        name: name.clone(),
        description: request
            .args
            .text_of("description")
            .unwrap_or_default()
            .to_owned(),
    };
    let id = vm.id.to_string();
    let task = request.call.start(
        "CreateSnapshot_Task",
        &request.this,
        vm.name.as_str(),
        move |work| {
            work.run(work.act.take_snapshot(&id, take), &about)?;
            let tree = tree(work, &id, &about)?;
            let taken = tree
                .find(name.as_str())
                .map_err(|error| fault::of(&error, &about))?;
            Ok(Some(inventory::snapshot(taken.id).into()))
        },
    )?;
    Ok(Some(task))
}

fn tree(work: &Work, vm: &str, about: &About) -> Outcome<SnapshotTree> {
    work.act
        .snapshots(vm)
        .map_err(|error| fault::of(&error, about))
}

pub(super) fn revert_to_current(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, about) = target(request)?;
    let id = vm.id.to_string();
    let task = request.call.start(
        "RevertToCurrentSnapshot_Task",
        &request.this,
        vm.name.as_str(),
        move |work| {
            let tree = tree(work, &id, &about)?;
            let current = tree
                .current()
                .ok_or_else(|| Fault::new("NotFound", "the VM has no current snapshot"))?;
            work.run(work.act.revert_vm(&id, &current.id.to_string()), &about)?;
            Ok(None)
        },
    )?;
    Ok(Some(task))
}

pub(super) fn remove_all(request: &Request<'_>) -> Outcome<Option<Value>> {
    one(request, "RemoveAllSnapshots_Task", None, |act, vm| {
        act.forget_snapshots(vm)
    })
}

pub(super) fn revert(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, _) = properties::of_snapshot(request.call, Some(request.world()?), &request.this)?;
    let snapshot = inventory::snapshot_id(&request.this)
        .ok_or_else(|| Fault::object_not_found(&request.this))?;
    let about = About {
        object: Some(inventory::vm(vm.id)),
        ..About::default()
    };
    let id = vm.id.to_string();
    let task = request.call.start(
        "RevertToSnapshot_Task",
        &inventory::vm(vm.id),
        vm.name.as_str(),
        move |work| {
            work.run(work.act.revert_vm(&id, &snapshot.to_string()), &about)?;
            Ok(None)
        },
    )?;
    Ok(Some(task))
}

pub(super) fn remove(request: &Request<'_>) -> Outcome<Option<Value>> {
    let (vm, tree) = properties::of_snapshot(request.call, Some(request.world()?), &request.this)?;
    let snapshot = inventory::snapshot_id(&request.this)
        .ok_or_else(|| Fault::object_not_found(&request.this))?;
    let about = About {
        object: Some(inventory::vm(vm.id)),
        ..About::default()
    };
    let mut going = vec![snapshot];
    if request.args.flag("removeChildren") {
        going = with_those_after(&tree, snapshot);
    }
    let id = vm.id.to_string();
    let task = request.call.start(
        "RemoveSnapshot_Task",
        &inventory::vm(vm.id),
        vm.name.as_str(),
        move |work| {
            // The last ones first, so that what is left is a tree at every moment.
            for snapshot in going.into_iter().rev() {
                work.run(work.act.forget_snapshot(&id, &snapshot.to_string()), &about)?;
            }
            Ok(None)
        },
    )?;
    Ok(Some(task))
}

/// A snapshot and all that follow it, each after the one it follows.
fn with_those_after(tree: &SnapshotTree, first: Uuid) -> Vec<Uuid> {
    let mut all = vec![first];
    let mut at = 0;
    while let Some(one) = all.get(at).copied() {
        all.extend(tree.after(Some(one)).map(|it| it.id));
        at += 1;
    }
    all
}
