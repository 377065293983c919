//! What requests do: each handler reads a request, calls an operation of the inventory, and shows what comes of it.

pub(crate) mod access;
pub(crate) mod catalog;
pub(crate) mod compose;
pub(crate) mod import;
pub(crate) mod look;
pub(crate) mod parts;
pub(crate) mod power;
pub(crate) mod remarks;
pub(crate) mod snapshot;
pub(crate) mod vm;

use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::node::Node;
use crate::schema::entity;
use crate::show;
use vm_inventory::provisioning::TpmProvisioning;
use vm_inventory::{Job, Name};

/// The name that a body gives.
fn name(body: &Node) -> Result<Name, Fault> {
    let text = body.text("name").unwrap_or_default();
    if text.is_empty() {
        return Err(Fault::bad_request(format!(
            "Bad request: {} needs a name",
            body.ty().name
        )));
    }
    Ok(text.parse::<Name>()?)
}

/// What `ReplaceTpm` asks for.
fn replace_tpm(item: &Node) -> Option<TpmProvisioning> {
    item.boolean("ReplaceTpm").map(|replace| {
        if replace {
            TpmProvisioning::Replace
        } else {
            TpmProvisioning::Copy
        }
    })
}

/// Starts the job of a vApp that is to be, and shows what there is of it.
fn coming_vapp(call: &Call, job: Job) -> Answer {
    let task = call.start(job);
    let node = show::vapp::coming(call, &task);
    Ok(Reply::created(&entity::VAPP_ROOT, node))
}

/// Powers on what a job makes, if the request asks for that.
fn powered(body: &Node, job: Job) -> Job {
    if body.boolean("powerOn") == Some(true) {
        job.then_power_on()
    } else {
        job
    }
}
