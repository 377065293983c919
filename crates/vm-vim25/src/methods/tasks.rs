//! Stopping tasks.

use super::Request;
use crate::fault::{self, About, Fault, Outcome};
use crate::tasks::AnyTask;
use crate::value::Value;

pub(super) fn cancel(request: &Request<'_>) -> Outcome<Option<Value>> {
    let ended = || Fault::new("InvalidState", "the task has ended");
    let AnyTask::Live(task) = AnyTask::find(request.call, &request.this)? else {
        return Err(ended());
    };
    if task.is_ended() {
        return Err(ended());
    }
    if let Some(working) = task.working() {
        let act = request.call.act()?;
        act.cancel_task(working)
            .map_err(|error| fault::of(&error, &About::default()))?;
    }
    task.cancel();
    Ok(None)
}
