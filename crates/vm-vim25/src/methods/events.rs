//! Events: what tasks did. Other events are not kept.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::Outcome;
use crate::inventory::{self, World};
use crate::server::Call;
use crate::tasks::AnyTask;
use crate::value::{MoRef, Object, Value};
use crate::xml::Element;
use vm_inventory::model::Timestamp;

/// Events of one answer, if the client does not say how many it wants.
const MOST: usize = 1000;

/// One event, and what a filter looks at.
pub(crate) struct Event {
    entity: Option<MoRef>,
    user: String,
    at: Timestamp,
    info: Object,
}

/// Every task of a vCenter that is remembered, as events, the oldest first.
fn events(call: &Call) -> Outcome<Vec<Event>> {
    let mut found = Vec::new();
    for task in AnyTask::all(call)? {
        let info = task.info(call)?;
        let text = |name: &str| match info.get(name) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let user = match info.get("reason") {
            Some(Value::Object(reason)) => match reason.get("userName") {
                Some(Value::Text(name)) => name.clone(),
                _ => String::new(),
            },
            _ => String::new(),
        };
        let at = match info.get("queueTime") {
            Some(Value::Time(at)) => *at,
            _ => Timestamp(0),
        };
        let entity = match info.get("entity") {
            Some(Value::Ref(entity)) => Some(entity.clone()),
            _ => None,
        };
        let message = format!("Task: {} {}", text("name"), text("entityName"));
        let key = i32::try_from(found.len()).unwrap_or(i32::MAX);
        let mut event = Object::new("TaskEvent")
            .with("key", key.saturating_add(1))
            .with("chainId", key.saturating_add(1))
            .with("createdTime", at)
            .with("userName", user.as_str())
            .with(
                "datacenter",
                Object::new("DatacenterEventArgument")
                    .with("name", inventory::DATACENTER)
                    .with("datacenter", inventory::datacenter()),
            );
        if let Some(vm) = entity.as_ref().filter(|it| it.kind == "VirtualMachine") {
            event = event.with(
                "vm",
                Object::new("VmEventArgument")
                    .with("name", text("entityName"))
                    .with("vm", vm.clone()),
            );
        }
        found.push(Event {
            entity,
            user,
            at,
            info: event
                .with("fullFormattedMessage", message)
                .with("info", info),
        });
    }
    Ok(found)
}

/// The latest event.
pub(crate) fn latest(call: &Call) -> Outcome<Option<Value>> {
    Ok(events(call)?.pop().map(|event| event.info.into()))
}

pub(super) fn query(request: &Request<'_>) -> Outcome<Option<Value>> {
    let filter = request.object("filter")?;
    let shown = matching(request.call, request.world()?, filter)?;
    Ok(Some(Value::objects("Event", shown)))
}

/// The entities that a filter is about; `None` if it does not say.
pub(super) fn among(world: &World, filter: &Element) -> Outcome<Option<Vec<MoRef>>> {
    let Some(entity) = filter.child("entity") else {
        return Ok(None);
    };
    let recursion = entity.text_of("recursion").unwrap_or_default().trim();
    let root = entity.reference("entity")?;
    Ok(root.map(|root| {
        let mut among = Vec::new();
        if recursion != "self" {
            among = match recursion {
                "children" => world.children(&root),
                _ => world.below(&root),
            };
        }
        if recursion != "children" {
            among.push(root);
        }
        among
    }))
}

/// The events that a filter lets through, the oldest first.
pub(super) fn matching(call: &Call, world: &World, filter: &Element) -> Outcome<Vec<Object>> {
    let among = among(world, filter)?;
    let users: Vec<&str> = filter
        .child("userName")
        .into_iter()
        .flat_map(|it| it.all("userList"))
        .map(|it| it.text.trim())
        .collect();
    let kinds: Vec<&str> = ["eventTypeId", "type"]
        .iter()
        .flat_map(|name| filter.all(name))
        .map(|it| it.text.trim())
        .collect();
    let is_meant = |kind: &str| {
        let kind = kind.rsplit(['.', ':']).next().unwrap_or(kind);
        matches!(kind, "TaskEvent" | "Event")
    };
    let (from, to) = (time(filter, "beginTime"), time(filter, "endTime"));
    let most = filter
        .number("maxCount")
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(MOST)
        .min(MOST);
    let mut found = events(call)?;
    found.retain(|event| {
        (kinds.is_empty() || kinds.iter().any(|kind| is_meant(kind)))
            && (users.is_empty() || users.contains(&event.user.as_str()))
            && from.is_none_or(|from| event.at >= from)
            && to.is_none_or(|to| event.at <= to)
            && among
                .as_ref()
                .is_none_or(|among| event.entity.as_ref().is_some_and(|it| among.contains(it)))
    });
    let surplus = found.len().saturating_sub(most);
    let shown = found.into_iter().skip(surplus);
    Ok(shown.map(|event| event.info).collect())
}

pub(super) fn time(filter: &Element, name: &str) -> Option<Timestamp> {
    let text = filter.child("time")?.text_of(name)?.trim();
    crate::value::read_time(text)
}
