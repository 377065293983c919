//! What people say about things: metadata, and whose they are.

use super::look;
use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::{entity, request, section};
use crate::show::{self, action, link};
use vm_inventory::model::Role;
use vm_inventory::{MetadataEntry, Remarked, Remarks, Task};

const GENERAL: &str = "GENERAL";
const SYSTEM: &str = "SYSTEM";
const STRING: &str = "MetadataStringValue";
/// Values that metadata can have, by the API's names.
const KINDS: &[&str] = &[
    STRING,
    "MetadataNumberValue",
    "MetadataBooleanValue",
    "MetadataDateTimeValue",
];
const VISIBILITIES: &[&str] = &["READWRITE", "READONLY", "PRIVATE"];

/// The thing that a request is about, by the address of its route.
pub(super) fn remarked(call: &Call) -> Result<(Kind, Remarked), Fault> {
    let id = call.id();
    let route = call.route.replace("/api/admin/", "/api/");
    if route.starts_with("/api/vApp/vm-") {
        let (_, vm) = look::vm(call, id)?;
        return Ok((Kind::Vm, Remarked::Vm(vm.id.to_string())));
    }
    if route.starts_with("/api/vApp/vapp-") {
        let vapp = look::vapp(call, id)?.vapp;
        return Ok((Kind::Vapp, Remarked::Vapp(vapp.id.to_string())));
    }
    if route.starts_with("/api/vAppTemplate/") {
        let name = look::template_name(&look::template(call, id)?);
        return Ok((Kind::Template, Remarked::Template(name)));
    }
    if route.starts_with("/api/catalogItem/") {
        let name = look::template_name(&look::item(call, id)?);
        return Ok((Kind::CatalogItem, Remarked::Template(name)));
    }
    if route.starts_with("/api/catalog/") {
        let name = look::catalog_name(&look::catalog(call, id)?);
        return Ok((Kind::Catalog, Remarked::Catalog(name)));
    }
    let name = look::vdc_name(&look::vdc(call, id)?);
    Ok((Kind::Vdc, Remarked::Vdc(name)))
}

/// The address of the metadata: as the request has it, for administrators or for everybody.
fn address(call: &Call, kind: Kind) -> String {
    let href = kind.href(&call.base, call.id());
    if call.route.starts_with("/api/admin/") {
        href.replacen("/api/", "/api/admin/", 1) + "/metadata"
    } else {
        href + "/metadata"
    }
}

fn shows(call: &Call, entry: &MetadataEntry) -> bool {
    entry.visibility != "PRIVATE" || call.is_system()
}

fn may_write(call: &Call, domain: &str) -> Result<(), Fault> {
    match domain {
        GENERAL => Ok(()),
        SYSTEM if call.is_system() => Ok(()),
        SYSTEM => Err(Fault::forbidden(
            "metadata of the domain SYSTEM is written by administrators of the system",
        )),
        other => Err(Fault::bad_request(format!(
            "Bad request: {} is no domain of metadata; use GENERAL or SYSTEM",
            crate::xml::shown(other)
        ))),
    }
}

fn domain_node(name: &str, visibility: &str) -> Node {
    let ty = entity::inner(&section::METADATA_VALUE, "Domain");
    Node::of(ty)
        .with("visibility", visibility)
        .with("value", name)
}

fn value_node(entry: &MetadataEntry) -> Node {
    let ty = entity::inner(&section::METADATA_VALUE, "TypedValue");
    Node::of(ty)
        .with("type", entry.kind.as_str())
        .with("Value", entry.value.as_str())
}

/// The domain and the entry that a node of metadata holds.
fn entry_of(node: &Node) -> Result<(String, MetadataEntry), Fault> {
    let domain = node.child("Domain");
    let text = |name| domain.and_then(|domain| domain.text(name));
    let name = text("value")
        .filter(|name| !name.is_empty())
        .unwrap_or(GENERAL);
    let usual = if name == SYSTEM {
        "PRIVATE"
    } else {
        "READWRITE"
    };
    let visibility = text("visibility").unwrap_or(usual);
    let value = node
        .child("TypedValue")
        .ok_or_else(|| Fault::bad_request("Bad request: an entry of metadata has a TypedValue"))?;
    // The type is a qualified name in XML, and has its whole name in JSON.
    let kind = value.text("type").unwrap_or(STRING);
    let kind = kind.rsplit(':').next().unwrap_or(kind);
    let kind = kind.strip_suffix("Type").unwrap_or(kind);
    if !KINDS.contains(&kind) || !VISIBILITIES.contains(&visibility) {
        return Err(Fault::bad_request(format!(
            "Bad request: a value of metadata is one of {}, its visibility one of {}",
            KINDS.join(", "),
            VISIBILITIES.join(", ")
        )));
    }
    let text = value.text("Value").unwrap_or_default();
    let fits = match kind {
        "MetadataNumberValue" => text.parse::<i64>().is_ok(),
        "MetadataBooleanValue" => matches!(text, "true" | "false"),
        _ => true,
    };
    if !fits {
        return Err(Fault::bad_request(format!(
            "Bad request: {} is no {kind}",
            crate::xml::shown(text)
        )));
    }
    let entry = MetadataEntry {
        value: text.to_owned(),
        kind: kind.to_owned(),
        visibility: visibility.to_owned(),
    };
    Ok((name.to_owned(), entry))
}

pub(super) fn done(call: &Call, task: &Task) -> Answer {
    let node = show::task::task(call, task);
    let location = node.text("href").map(str::to_owned);
    Ok(Reply {
        status: 202,
        document: Some((entity::TASK_ROOT, node)),
        location,
    })
}

/// `GET .../metadata`.
pub(crate) fn show(call: &Call) -> Answer {
    let (kind, of) = remarked(call)?;
    let remarks = call.operations.remarks(&of)?;
    let href = address(call, kind);
    let mut node = Node::of(&section::METADATA)
        .with("href", href.as_str())
        .with("type", entity::media(&entity::METADATA_ROOT));
    node.push(
        "Link",
        link("up", kind.href(&call.base, call.id()), Some(&kind.media())),
    );
    node.push(
        "Link",
        action("add", href.clone(), &request::METADATA_EDIT_ROOT),
    );
    let entry_type = entity::inner(&section::METADATA, "MetadataEntry");
    for (domain, entries) in &remarks.metadata {
        for (key, entry) in entries.iter().filter(|(_, entry)| shows(call, entry)) {
            let at = format!("{href}/{domain}/{}", encoded(key));
            node.push(
                "MetadataEntry",
                Node::of(entry_type)
                    .with("href", at)
                    .with("type", entity::media(&entity::METADATA_VALUE_ROOT))
                    .with("Domain", domain_node(domain, &entry.visibility))
                    .with("Key", key.as_str())
                    .with("TypedValue", value_node(entry)),
            );
        }
    }
    Ok(Reply::ok(&entity::METADATA_ROOT, node))
}

/// `POST .../metadata`: entries that are there get other values.
pub(crate) fn say(call: &Call) -> Answer {
    let (_, of) = remarked(call)?;
    let mut new = Vec::new();
    for node in call.body()?.children("MetadataEntry") {
        let (domain, entry) = entry_of(node)?;
        may_write(call, &domain)?;
        let key = node.text("Key").unwrap_or_default().to_owned();
        new.push((domain, key, entry));
    }
    let task = call.operations.change_remarks(&of, |remarks| {
        for (domain, key, entry) in new {
            remarks
                .metadata
                .entry(domain)
                .or_default()
                .insert(key, entry);
        }
        Ok(())
    })?;
    done(call, &task)
}

fn encoded(key: &str) -> String {
    percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The domain and key in the path.
fn named(call: &Call) -> Result<(String, String), Fault> {
    let (domain, key) = match call.key.split_once('/') {
        Some((domain, key)) => (domain, key),
        None => (GENERAL, call.key.as_str()),
    };
    let key = percent_encoding::percent_decode_str(key)
        .decode_utf8()
        .map_err(|_| Fault::bad_request("Bad request: the key is not UTF-8"))?;
    Ok((domain.to_owned(), key.into_owned()))
}

fn found<'a>(
    call: &Call,
    remarks: &'a Remarks,
    domain: &str,
    key: &str,
) -> Result<&'a MetadataEntry, Fault> {
    let entry = remarks.metadata.get(domain).and_then(|all| all.get(key));
    entry
        .filter(|entry| shows(call, entry))
        .ok_or_else(|| Fault::no_access("metadata", crate::xml::shown(key).as_ref()))
}

/// `GET .../metadata/{key}`.
pub(crate) fn show_value(call: &Call) -> Answer {
    let (kind, of) = remarked(call)?;
    let (domain, key) = named(call)?;
    let remarks = call.operations.remarks(&of)?;
    let entry = found(call, &remarks, &domain, &key)?;
    let href = format!("{}/{domain}/{}", address(call, kind), encoded(&key));
    let mut node = Node::of(&section::METADATA_VALUE)
        .with("href", href.as_str())
        .with("type", entity::media(&entity::METADATA_VALUE_ROOT));
    if may_write(call, &domain).is_ok() {
        let edit = &request::METADATA_VALUE_EDIT_ROOT;
        node.push("Link", action("edit", href.clone(), edit));
        node.push("Link", link("remove", href, None));
    }
    let node = node
        .with("Domain", domain_node(&domain, &entry.visibility))
        .with("TypedValue", value_node(entry));
    Ok(Reply::ok(&entity::METADATA_VALUE_ROOT, node))
}

/// `PUT .../metadata/{key}`.
pub(crate) fn set_value(call: &Call) -> Answer {
    let (_, of) = remarked(call)?;
    let (domain, key) = named(call)?;
    may_write(call, &domain)?;
    let (_, entry) = entry_of(call.body()?)?;
    let task = call.operations.change_remarks(&of, |remarks| {
        remarks
            .metadata
            .entry(domain)
            .or_default()
            .insert(key, entry);
        Ok(())
    })?;
    done(call, &task)
}

/// `DELETE .../metadata/{key}`.
pub(crate) fn remove_value(call: &Call) -> Answer {
    let (_, of) = remarked(call)?;
    let (domain, key) = named(call)?;
    may_write(call, &domain)?;
    found(call, &call.operations.remarks(&of)?, &domain, &key)?;
    let task = call.operations.change_remarks(&of, |remarks| {
        if let Some(entries) = remarks.metadata.get_mut(&domain) {
            entries.remove(&key);
        }
        Ok(())
    })?;
    done(call, &task)
}

/// Whose something is: of what nobody was given, the system's.
pub(crate) fn owner(call: &Call, of: &Remarked, organization: &str) -> Node {
    let owner = call.operations.remarks(of).ok().and_then(|it| it.owner);
    let (name, home) = match &owner {
        Some(name) => (name.as_str(), organization),
        None => ("system", show::org::SYSTEM),
    };
    let id = ids::derived(Kind::User, &format!("{name}@{home}"));
    Node::of(&entity::OWNER)
        .with("type", entity::media(&entity::OWNER_ROOT))
        .with("User", show::reference(call, Kind::User, id, name))
}

/// The organization of what is somebody's.
pub(super) fn organization(call: &Call) -> Result<vm_inventory::Name, Fault> {
    if call.route.starts_with("/api/vApp/") {
        return Ok(look::vapp(call, call.id())?.vapp.organization);
    }
    if call.route.starts_with("/api/vdc/") {
        return Ok(look::vdc(call, call.id())?.vdc.organization);
    }
    Ok(look::catalog(call, call.id())?.organization)
}

/// `GET .../owner`.
pub(crate) fn show_owner(call: &Call) -> Answer {
    let (_, of) = remarked(call)?;
    let node = owner(call, &of, organization(call)?.as_str());
    Ok(Reply::ok(&entity::OWNER_ROOT, node))
}

/// `PUT .../owner`.
pub(crate) fn set_owner(call: &Call) -> Answer {
    let (_, of) = remarked(call)?;
    let wanted = call.target_of(call.body()?, "User", Kind::User)?;
    let organization = organization(call)?;
    let users = call.operations.users(Some(&organization))?;
    let user = users
        .into_iter()
        .find(|user| ids::derived(Kind::User, &format!("{}@{}", user.name, organization)) == wanted)
        .ok_or_else(|| Fault::no_access("user", &wanted.to_string()))?;
    if user.role == Role::VappUser && call.route.contains("/catalog/") {
        return Err(Fault::bad_request(format!(
            "{} may not own a catalog: the role does not make any",
            user.name
        )));
    }
    call.operations.change_remarks(&of, |remarks| {
        remarks.owner = Some(user.name);
        Ok(())
    })?;
    Ok(Reply::nothing())
}
