//! Stopping tasks.

use super::Request;
use crate::fault::{self, About, Fault, Outcome};
use crate::value::Value;

pub(super) fn cancel(request: &Request<'_>) -> Outcome<Option<Value>> {
    let task = request
        .call
        .server
        .board
        .find(&request.call.vcenter.name, &request.this)?;
    if task.is_ended() {
        return Err(Fault::new("InvalidState", "the task has ended"));
    }
    if let Some(working) = task.working() {
        let act = request.call.act()?;
        act.cancel_task(working)
            .map_err(|error| fault::of(&error, &About::default()))?;
    }
    task.cancel();
    Ok(None)
}
