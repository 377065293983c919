//! Stopping tasks, and finding those of before.

use super::{Request, events};
use crate::arguments::Read as _;
use crate::fault::{self, About, Fault, Outcome};
use crate::inventory::World;
use crate::server::Call;
use crate::tasks::AnyTask;
use crate::value::{Object, Value};
use crate::xml::Element;

/// The tasks that a filter lets through, the oldest first.
pub(super) fn matching(call: &Call, world: &World, filter: &Element) -> Outcome<Vec<Object>> {
    let among = events::among(world, filter)?;
    let which = filter
        .child("time")
        .and_then(|time| time.text_of("timeType"));
    let time_of = match which.map(str::trim) {
        Some("startedTime") => "startTime",
        Some("completedTime") => "completeTime",
        _ => "queueTime",
    };
    let (from, to) = (
        events::time(filter, "beginTime"),
        events::time(filter, "endTime"),
    );
    let words = |name: &str, of: &Element| -> Vec<String> {
        of.all(name).map(|it| it.text.trim().to_owned()).collect()
    };
    let states = words("state", filter);
    let users = filter
        .child("userName")
        .map(|it| words("userList", it))
        .unwrap_or_default();
    let mut found = Vec::new();
    for task in AnyTask::all(call)? {
        let info = task.info(call)?;
        let user = match info.get("reason") {
            Some(Value::Object(reason)) => reason.get("userName"),
            _ => None,
        };
        let at = match info.get(time_of) {
            Some(Value::Time(at)) => Some(*at),
            _ => None,
        };
        let entity = match info.get("entity") {
            Some(Value::Ref(entity)) => Some(entity),
            _ => None,
        };
        let fits = (states.is_empty()
            || matches!(info.get("state"), Some(Value::Choice(_, word)) if states.contains(word)))
            && (users.is_empty()
                || matches!(user, Some(Value::Text(name)) if users.contains(name)))
            && from.is_none_or(|from| at.is_some_and(|at| at >= from))
            && to.is_none_or(|to| at.is_some_and(|at| at <= to))
            && among
                .as_ref()
                .is_none_or(|among| entity.is_some_and(|it| among.contains(it)));
        if fits {
            found.push(info);
        }
    }
    Ok(found)
}

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
