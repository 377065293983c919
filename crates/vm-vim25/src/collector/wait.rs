//! Telling of changes: what a filter selects now, compared with what the client was told last.

use super::select::FilterSpec;
use crate::fault::{Fault, Outcome};
use crate::server::Call;
use crate::value::{MoRef, Object, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How soon what is waited for is looked at again, at first and at last.
const SOON: Duration = Duration::from_millis(40);
const LATER: Duration = Duration::from_millis(400);
/// The longest that a request waits; then the client is told that nothing happened and asks again.
const LONGEST: Duration = Duration::from_secs(600);

/// A filter and what was told of it.
#[derive(Debug)]
pub(crate) struct Filter {
    spec: FilterSpec,
    told: BTreeMap<MoRef, BTreeMap<String, Value>>,
}

impl Filter {
    pub(crate) fn new(spec: FilterSpec) -> Self {
        Self {
            spec,
            told: BTreeMap::new(),
        }
    }

    /// What has changed since it was told last; from now on that is told.
    fn changes(&mut self, call: &Call) -> Outcome<Vec<Object>> {
        let mut updates = Vec::new();
        let mut gone = std::mem::take(&mut self.told);
        for found in self.spec.evaluate(call)? {
            let before = gone.remove(&found.object);
            let kind = if before.is_some() { "modify" } else { "enter" };
            let changed = changed(before.unwrap_or_default(), &found.values);
            if !changed.is_empty() || kind == "enter" {
                updates.push(update(kind, &found.object, changed));
            }
            self.told.insert(found.object, found.values);
        }
        for object in gone.keys() {
            updates.push(update("leave", object, Vec::new()));
        }
        Ok(updates)
    }
}

fn changed(mut before: BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Vec<Object> {
    let change = |name: &str, value: Option<&Value>| {
        Object::new("PropertyChange")
            .with("name", name)
            .with("op", Value::choice("PropertyChangeOp", "assign"))
            .with_some("val", value.cloned())
    };
    let mut changes = Vec::new();
    for (name, value) in now {
        if before.remove(name).as_ref() != Some(value) {
            changes.push(change(name, Some(value)));
        }
    }
    // What is not set any more is assigned nothing.
    changes.extend(before.keys().map(|name| change(name, None)));
    changes
}

fn update(kind: &str, object: &MoRef, changes: Vec<Object>) -> Object {
    Object::new("ObjectUpdate")
        .with("kind", Value::choice("ObjectUpdateKind", kind))
        .with("obj", object.clone())
        .with("changeSet", Value::objects("PropertyChange", changes))
}

/// What a client waits for.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// The collector.
    pub(crate) collector: MoRef,
    /// The version that it was told last; empty for everything.
    pub(crate) version: String,
    /// For how long; `None` for as long as is possible.
    pub(crate) most: Option<Duration>,
}

/// Waits until there is something to tell. `None` if the time is over.
pub(crate) async fn wait(call: &Call, waiting: Waiting) -> Outcome<Option<Value>> {
    let canceled = call
        .login()?
        .objects()
        .collector(&waiting.collector)?
        .canceled;
    let deadline = Instant::now() + waiting.most.unwrap_or(LONGEST).min(LONGEST);
    let mut first = true;
    let mut pause = SOON;
    loop {
        let looked = {
            let (call, waiting) = (call.clone(), waiting.clone());
            tokio::task::spawn_blocking(move || look(&call, &waiting, first, canceled)).await
        };
        match looked {
            Ok(Ok(None)) => {}
            Ok(outcome) => return outcome,
            Err(_panicked) => {
                let message = "a request stopped half-way";
                return Err(Fault::new("SystemError", message).with("reason", message));
            }
        }
        first = false;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause + pause / 8).min(LATER);
    }
}

fn look(call: &Call, waiting: &Waiting, first: bool, canceled: u64) -> Outcome<Option<Value>> {
    let login = call.login()?;
    let filters: Vec<(String, Arc<Mutex<Filter>>)> = {
        let mut objects = login.objects();
        let collector = objects.collector(&waiting.collector)?;
        if collector.canceled != canceled {
            return Err(Fault::new(
                "RequestCanceled",
                "the request was canceled by the client",
            ));
        }
        let version = &waiting.version;
        if first && !version.is_empty() && *version != collector.version.to_string() {
            return Err(Fault::new(
                "InvalidCollectorVersion",
                "the version is not the one that was told last",
            ));
        }
        collector
            .filters
            .iter()
            .map(|(id, made)| (id.clone(), Arc::clone(&made.filter)))
            .collect()
    };
    let mut updates = Vec::new();
    for (id, filter) in filters {
        let mut filter = filter.lock().unwrap_or_else(PoisonError::into_inner);
        if first && waiting.version.is_empty() {
            filter.told.clear();
        }
        let changes = match filter.changes(call) {
            Ok(changes) => changes,
            // What it was about is gone: it tells that, once.
            Err(fault) if fault.kind() == "ManagedObjectNotFound" => {
                let gone = std::mem::take(&mut filter.told);
                gone.keys()
                    .map(|object| update("leave", object, Vec::new()))
                    .collect()
            }
            Err(fault) => return Err(fault),
        };
        if !changes.is_empty() {
            updates.push(
                Object::new("PropertyFilterUpdate")
                    .with("filter", MoRef::new("PropertyFilter", id))
                    .with("objectSet", Value::objects("ObjectUpdate", changes)),
            );
        }
    }
    if updates.is_empty() {
        return Ok(None);
    }
    let mut objects = login.objects();
    let collector = objects.collector(&waiting.collector)?;
    collector.version += 1;
    let set = Object::new("UpdateSet")
        .with("version", collector.version.to_string())
        .with("filterSet", Value::objects("PropertyFilterUpdate", updates))
        .with("truncated", false);
    Ok(Some(set.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let before = BTreeMap::from([
            ("a".to_owned(), Value::Int(1)),
            ("b".to_owned(), Value::Int(2)),
            ("c".to_owned(), Value::Int(3)),
        ]);
        let now = BTreeMap::from([
            ("a".to_owned(), Value::Int(1)),
            ("b".to_owned(), Value::Int(5)),
            ("d".to_owned(), Value::Int(4)),
        ]);
        let changes = changed(before, &now);
        let told: Vec<_> = changes
            .iter()
            .map(|it| (it.get("name").cloned(), it.get("val").cloned()))
            .collect();
        assert_eq!(
            told,
            [
                (Some("b".into()), Some(Value::Int(5))),
                (Some("d".into()), Some(Value::Int(4))),
                (Some("c".into()), None),
            ]
        );
    }
}
