//! Finding entities.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::{Fault, Outcome};
use crate::inventory;
use crate::properties;
use crate::value::{MoRef, Value};
use uuid::Uuid;

fn with_uuid(request: &Request<'_>) -> Outcome<Option<MoRef>> {
    let id = Uuid::try_parse(request.text("uuid")?.trim()).ok();
    if !request.args.flag("vmSearch") {
        return Ok(None);
    }
    let vms = request.world()?.vms.iter();
    Ok(vms
        .filter(|vm| Some(vm.id.0) == id)
        .map(|vm| inventory::vm(vm.id))
        .next())
}

pub(super) fn by_uuid(request: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(with_uuid(request)?.map(Value::from))
}

pub(super) fn all_by_uuid(request: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(Some(Value::refs(with_uuid(request)?)))
}

pub(super) fn by_path(request: &Request<'_>) -> Outcome<Option<Value>> {
    let found = request.world()?.at_path(request.text("inventoryPath")?);
    Ok(found.map(Value::from))
}

pub(super) fn child(request: &Request<'_>) -> Outcome<Option<Value>> {
    let of = request
        .args
        .reference("entity")?
        .ok_or_else(|| Fault::invalid_argument("entity", "entity is missing"))?;
    let world = request.world()?;
    if !world.has(&of) {
        return Err(Fault::object_not_found(&of));
    }
    Ok(world.child(&of, request.text("name")?).map(Value::from))
}

pub(super) fn by_datastore_path(request: &Request<'_>) -> Outcome<Option<Value>> {
    let path = request.text("path")?.trim();
    if !path.starts_with('[') || !path.contains(']') {
        return Err(
            Fault::new("InvalidDatastorePath", "a path is [DATASTORE] FOLDER/FILE")
                .with("datastorePath", path),
        );
    }
    let vms = request.world()?.vms.iter();
    Ok(vms
        .filter(|vm| properties::settings_path(vm) == path)
        .map(|vm| Value::from(inventory::vm(vm.id)))
        .next())
}

/// Guests tell nothing about themselves here, so nothing is ever found by a name or address in a network.
pub(super) fn nothing(_: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(None)
}
