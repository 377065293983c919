//! Collectors of tasks and events: a page of the latest, and a place from which to read on in either direction.

use super::{Request, events, tasks};
use crate::arguments::Read as _;
use crate::fault::{Fault, Outcome};
use crate::inventory::World;
use crate::server::Call;
use crate::value::{MoRef, Object, Value};
use crate::xml::Element;

/// Items of the page of the latest, unless the client says otherwise.
const PAGE: usize = 10;
/// Items of one answer.
const MOST: usize = 1000;

/// A collector: what it collects is looked up anew whenever it is asked.
#[derive(Clone, Debug)]
pub(crate) struct History {
    filter: Element,
    page: usize,
    /// How many items lie behind, from the oldest on.
    at: usize,
}

impl History {
    fn items(&self, call: &Call, world: &World, kind: &str) -> Outcome<Vec<Object>> {
        if kind == "TaskHistoryCollector" {
            tasks::matching(call, world, &self.filter)
        } else {
            events::matching(call, world, &self.filter)
        }
    }
}

fn item(kind: &str) -> &'static str {
    if kind == "TaskHistoryCollector" {
        "TaskInfo"
    } else {
        "Event"
    }
}

pub(super) fn create_for_tasks(request: &Request<'_>) -> Outcome<Option<Value>> {
    create(request, "TaskHistoryCollector")
}

pub(super) fn create_for_events(request: &Request<'_>) -> Outcome<Option<Value>> {
    create(request, "EventHistoryCollector")
}

fn create(request: &Request<'_>, kind: &'static str) -> Outcome<Option<Value>> {
    let history = History {
        filter: request.object("filter")?.clone(),
        page: PAGE,
        at: 0,
    };
    // What makes no sense is said now.
    history.items(request.call, request.world()?, kind)?;
    let mut objects = request.call.login()?.objects();
    Ok(Some(objects.add_history(kind, history)?.into()))
}

/// The latest items, the newest first.
pub(crate) fn latest_page(call: &Call, world: &World, of: &MoRef) -> Outcome<Value> {
    let history = found(call, of)?;
    let items = history.items(call, world, of.kind)?;
    let latest = items.into_iter().rev().take(history.page);
    Ok(Value::objects(item(of.kind), latest))
}

fn found(call: &Call, of: &MoRef) -> Outcome<History> {
    let objects = call.login()?.objects();
    objects
        .history(of)
        .cloned()
        .ok_or_else(|| Fault::object_not_found(of))
}

fn change(request: &Request<'_>, change: impl FnOnce(&mut History)) -> Outcome<Option<Value>> {
    let mut objects = request.call.login()?.objects();
    let history = objects
        .history_mut(&request.this)
        .ok_or_else(|| Fault::object_not_found(&request.this))?;
    change(history);
    Ok(None)
}

fn count(request: &Request<'_>) -> Outcome<usize> {
    request
        .args
        .number("maxCount")
        .and_then(|most| usize::try_from(most).ok())
        .filter(|most| (1..=MOST).contains(most))
        .ok_or_else(|| Fault::invalid_argument("maxCount", format!("it is from 1 to {MOST}")))
}

pub(super) fn set_page_size(request: &Request<'_>) -> Outcome<Option<Value>> {
    let page = count(request)?;
    change(request, |history| history.page = page)
}

/// To the oldest item.
pub(super) fn rewind(request: &Request<'_>) -> Outcome<Option<Value>> {
    change(request, |history| history.at = 0)
}

/// To what comes before the page of the latest.
pub(super) fn reset(request: &Request<'_>) -> Outcome<Option<Value>> {
    let history = found(request.call, &request.this)?;
    let items = history.items(request.call, request.world()?, request.this.kind)?;
    let at = items.len().saturating_sub(history.page);
    change(request, |history| history.at = at)
}

pub(super) fn destroy(request: &Request<'_>) -> Outcome<Option<Value>> {
    request
        .call
        .login()?
        .objects()
        .remove_history(&request.this);
    Ok(None)
}

pub(super) fn next(request: &Request<'_>) -> Outcome<Option<Value>> {
    let most = count(request)?;
    let history = found(request.call, &request.this)?;
    let items = history.items(request.call, request.world()?, request.this.kind)?;
    let read: Vec<Object> = items.into_iter().skip(history.at).take(most).collect();
    let at = history.at.saturating_add(read.len());
    change(request, |history| history.at = at)?;
    Ok(Some(Value::objects(item(request.this.kind), read)))
}

/// From the newest to the oldest.
pub(super) fn previous(request: &Request<'_>) -> Outcome<Option<Value>> {
    let most = count(request)?;
    let history = found(request.call, &request.this)?;
    let items = history.items(request.call, request.world()?, request.this.kind)?;
    let until = history.at.min(items.len());
    let from = until.saturating_sub(most);
    let mut read: Vec<Object> = items.into_iter().take(until).skip(from).collect();
    read.reverse();
    change(request, |history| history.at = from)?;
    Ok(Some(Value::objects(item(request.this.kind), read)))
}
