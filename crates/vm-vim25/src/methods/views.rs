//! Views and property collectors of a session.

use super::Request;
use crate::arguments::Read as _;
use crate::collector::{self, Filter, FilterSpec};
use crate::fault::{Fault, Outcome};
use crate::properties;
use crate::schema::{Kind, schema};
use crate::session::ViewOf;
use crate::value::{MoRef, Value};

/// Objects of one answer, if the client does not say how many it wants.
const PAGE: usize = 10_000;

pub(super) fn retrieve(request: &Request<'_>) -> Outcome<Option<Value>> {
    let found = collector::retrieve(request.call, &request.filters()?)?;
    Ok(Some(collector::contents(found)))
}

pub(super) fn retrieve_ex(request: &Request<'_>) -> Outcome<Option<Value>> {
    let most = request
        .object("options")?
        .number("maxObjects")
        .map_or(Ok(PAGE), usize::try_from)
        .ok()
        .filter(|most| *most > 0)
        .ok_or_else(|| {
            Fault::invalid_argument("options.maxObjects", "the number of objects is at least 1")
        })?;
    let found = collector::retrieve(request.call, &request.filters()?)?;
    if found.is_empty() {
        return Ok(None);
    }
    let Some(login) = &request.call.login else {
        // Nobody to keep more pages for; what can be read without a session is one object.
        return Ok(Some(collector::Pages::default().begin(found, PAGE).into()));
    };
    let mut objects = login.objects();
    let pages = &mut objects.collector(&request.this)?.pages;
    Ok(Some(pages.begin(found, most.min(PAGE)).into()))
}

pub(super) fn go_on(request: &Request<'_>) -> Outcome<Option<Value>> {
    let mut objects = request.call.login()?.objects();
    let pages = &mut objects.collector(&request.this)?.pages;
    Ok(Some(pages.go_on(request.text("token")?)?.into()))
}

pub(super) fn cancel_retrieve(request: &Request<'_>) -> Outcome<Option<Value>> {
    let mut objects = request.call.login()?.objects();
    let pages = &mut objects.collector(&request.this)?.pages;
    pages.take(request.text("token")?)?;
    Ok(None)
}

pub(super) fn create_filter(request: &Request<'_>) -> Outcome<Option<Value>> {
    let spec = FilterSpec::read(request.call, request.object("spec")?)?;
    // What is not there is said now, not when it is waited for.
    spec.evaluate(request.call)?;
    let partial = request.args.flag("partialUpdates");
    let mut objects = request.call.login()?.objects();
    let made = objects.add_filter(&request.this, Filter::new(spec), partial)?;
    Ok(Some(made.into()))
}

pub(super) fn create_collector(request: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(Some(
        request.call.login()?.objects().add_collector()?.into(),
    ))
}

pub(super) fn destroy_collector(request: &Request<'_>) -> Outcome<Option<Value>> {
    if request.this == crate::inventory::property_collector() {
        return Err(Fault::not_supported(
            "the property collector of a session goes with the session",
        ));
    }
    request
        .call
        .login()?
        .objects()
        .remove_collector(&request.this);
    Ok(None)
}

pub(super) fn cancel_wait(request: &Request<'_>) -> Outcome<Option<Value>> {
    let mut objects = request.call.login()?.objects();
    objects.collector(&request.this)?.canceled += 1;
    Ok(None)
}

pub(super) fn destroy_filter(request: &Request<'_>) -> Outcome<Option<Value>> {
    request.call.login()?.objects().remove_filter(&request.this);
    Ok(None)
}

pub(super) fn create_container_view(request: &Request<'_>) -> Outcome<Option<Value>> {
    let container = request
        .args
        .reference("container")?
        .ok_or_else(|| Fault::invalid_argument("container", "container is missing"))?;
    if !request.world()?.has(&container) {
        return Err(Fault::object_not_found(&container));
    }
    let mut types = Vec::new();
    for of in request.args.all("type") {
        let name = of.text.trim();
        let name = name.rsplit(':').next().unwrap_or(name);
        if !is_entity(name) {
            let shown: String = name.chars().take(80).collect();
            return Err(Fault::invalid_argument(
                "type",
                format!("\"{shown}\" is not a type of managed entities that is known here"),
            ));
        }
        types.push(name.to_owned());
    }
    let view = ViewOf::Container {
        container,
        types,
        recursive: request.args.flag("recursive"),
    };
    let mut objects = request.call.login()?.objects();
    Ok(Some(objects.add_view("ContainerView", view)?.into()))
}

/// Types of entities that there are, and some of which there never is one here.
fn is_entity(name: &str) -> bool {
    matches!(
        name,
        "Network"
            | "DistributedVirtualSwitch"
            | "DistributedVirtualPortgroup"
            | "VirtualApp"
            | "StoragePod"
            | "OpaqueNetwork"
    ) || schema()
        .get(name)
        .is_some_and(|it| it.kind == Kind::Managed && schema().is(name, "ManagedEntity"))
}

pub(super) fn create_list_view(request: &Request<'_>) -> Outcome<Option<Value>> {
    let members = existing(request, "obj")?;
    let mut objects = request.call.login()?.objects();
    Ok(Some(
        objects.add_view("ListView", ViewOf::List(members))?.into(),
    ))
}

pub(super) fn create_list_view_from(request: &Request<'_>) -> Outcome<Option<Value>> {
    let from = request
        .args
        .reference("view")?
        .ok_or_else(|| Fault::invalid_argument("view", "view is missing"))?;
    let mut objects = request.call.login()?.objects();
    let view = objects
        .view(&from)
        .ok_or_else(|| Fault::object_not_found(&from))?;
    let members = view.members(request.world()?);
    Ok(Some(
        objects.add_view("ListView", ViewOf::List(members))?.into(),
    ))
}

pub(super) fn destroy_view(request: &Request<'_>) -> Outcome<Option<Value>> {
    request.call.login()?.objects().remove_view(&request.this);
    Ok(None)
}

pub(super) fn modify_list_view(request: &Request<'_>) -> Outcome<Option<Value>> {
    let add = existing(request, "add")?;
    let remove = request.args.references("remove")?;
    let mut objects = request.call.login()?.objects();
    let mut members = match objects.view(&request.this) {
        Some(ViewOf::List(members)) => members,
        _ => return Err(Fault::object_not_found(&request.this)),
    };
    members.retain(|it| !remove.contains(it));
    for it in add {
        if !members.contains(&it) {
            members.push(it);
        }
    }
    objects.change_view(&request.this, ViewOf::List(members));
    Ok(Some(Value::refs([])))
}

pub(super) fn reset_list_view(request: &Request<'_>) -> Outcome<Option<Value>> {
    let members = existing(request, "obj")?;
    let mut objects = request.call.login()?.objects();
    objects.change_view(&request.this, ViewOf::List(members));
    Ok(Some(Value::refs([])))
}

fn existing(request: &Request<'_>, name: &str) -> Outcome<Vec<MoRef>> {
    let named = request.args.references(name)?;
    let world = request.world()?;
    match named
        .iter()
        .find(|it| !properties::exists(request.call, Some(world), it))
    {
        Some(missing) => Err(Fault::object_not_found(missing)),
        None => Ok(named),
    }
}
