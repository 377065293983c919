//! What the API shows: documents made of what the inventory holds.

pub(crate) mod access;
pub(crate) mod catalog;
pub(crate) mod org;
pub(crate) mod system;
pub(crate) mod task;
pub(crate) mod vapp;
pub(crate) mod vdc;

use crate::call::Call;
use crate::ids::Kind;
use crate::node::Node;
use crate::schema::{Root, entity};
use der::DateTime;
use std::time::Duration;
use uuid::Uuid;
use vm_inventory::model::Timestamp;

/// A time as the API writes it.
pub(crate) fn date(at: Timestamp) -> String {
    DateTime::from_unix_duration(Duration::from_secs(at.0)).map_or_else(
        |_| "1970-01-01T00:00:00.000Z".to_owned(),
        |date| date.to_string().replace('Z', ".000Z"),
    )
}

/// A reference to something.
pub(crate) fn reference(call: &Call, kind: Kind, id: Uuid, name: &str) -> Node {
    Node::of(&entity::REFERENCE)
        .with("href", kind.href(&call.base, id))
        .with("id", kind.urn(id))
        .with("name", name)
        .with("type", kind.media())
}

/// A link to a document.
pub(crate) fn link(rel: &str, href: impl Into<String>, media: Option<&str>) -> Node {
    let href: String = href.into();
    Node::of(&entity::LINK)
        .with("rel", rel)
        .with("href", href)
        .with_some("type", media)
}

/// A link to something by its identifier.
pub(crate) fn link_to(call: &Call, rel: &str, kind: Kind, id: Uuid, name: &str) -> Node {
    link(rel, kind.href(&call.base, id), Some(&kind.media()))
        .with("id", kind.urn(id))
        .with("name", name)
}

/// A link to what takes a body.
pub(crate) fn action(rel: &str, href: String, body: &Root) -> Node {
    link(rel, href, Some(&entity::media(body)))
}

/// What every document about a thing of its own begins with.
pub(crate) fn begin(call: &Call, root: &Root, kind: Kind, id: Uuid, name: &str) -> Node {
    Node::of(root.ty)
        .with("href", kind.href(&call.base, id))
        .with("type", entity::media(root))
        .with("id", kind.urn(id))
        .with("name", name)
}
