//! Organizations and sessions.

use super::{action, begin, link, link_to, reference};
use crate::call::Call;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::{entity, record, request};
use uuid::Uuid;
use vm_inventory::model::{Catalog, Role, Vdc};

/// What the system is called in the API.
pub(crate) const SYSTEM: &str = "System";

/// The organization that somebody is logged in to, by its name in the API.
pub(crate) fn own(call: &Call) -> String {
    call.operations
        .principal()
        .organization
        .as_ref()
        .map_or_else(|| SYSTEM.to_owned(), ToString::to_string)
}

/// The session that a request belongs to.
pub(crate) fn session(call: &Call) -> Node {
    let principal = call.operations.principal();
    let org = own(call);
    let base = &call.base;
    let user = ids::derived(Kind::User, &principal.to_string());
    let mut node = Node::of(&entity::SESSION)
        .with("href", format!("{base}/api/session"))
        .with("type", entity::media(&entity::SESSION_ROOT))
        .with("user", principal.name.as_str())
        .with("userId", Kind::User.urn(user))
        .with("org", org.as_str())
        .with("roles", role(call))
        .with("locationId", format!("{}@{}", ids::org(&org), "local"));
    node.push("Link", link("remove", format!("{base}/api/session"), None));
    node.push(
        "Link",
        link_to(call, "down", Kind::Org, ids::org(&org), &org),
    );
    let list = entity::media(&entity::ORG_LIST_ROOT);
    node.push("Link", link("down", format!("{base}/api/org"), Some(&list)));
    let queries = entity::media(&entity::QUERY_LIST_ROOT);
    node.push(
        "Link",
        link("down", format!("{base}/api/query"), Some(&queries)),
    );
    if call.is_system() {
        let admin = entity::media(&entity::VCLOUD_ROOT);
        node.push(
            "Link",
            link("down", format!("{base}/api/admin"), Some(&admin)),
        );
        let extension = entity::media(&entity::EXTENSION_ROOT);
        let href = format!("{base}/api/admin/extension");
        node.push("Link", link("down", href, Some(&extension)));
    }
    node
}

/// The role of the user by the API's names.
pub(crate) fn role(call: &Call) -> String {
    let principal = call.operations.principal();
    role_name(principal.role, principal.is_system())
}

/// A role by the API's names.
pub(crate) fn role_name(role: Role, system: bool) -> String {
    match (role, system) {
        (Role::Administrator, true) => "System Administrator".to_owned(),
        (Role::Administrator, false) => "Organization Administrator".to_owned(),
        (Role::VappAuthor, _) => "vApp Author".to_owned(),
        (Role::CatalogAuthor, _) => "Catalog Author".to_owned(),
        (Role::VappUser, _) => "vApp User".to_owned(),
        (other, _) => other.to_string(),
    }
}

/// The roles that users of organizations can have, by the API's names.
pub(crate) fn roles() -> impl Iterator<Item = (String, Role)> {
    Role::ALL
        .iter()
        .map(|(_, role)| (role_name(*role, false), *role))
}

/// A role.
pub(crate) fn role_document(call: &Call, name: &str) -> Node {
    let id = ids::derived(Kind::Role, name);
    begin(call, &entity::ROLE_ROOT, Kind::Role, id, name)
}

/// An organization as administrators see it.
pub(crate) fn admin_org(call: &Call, name: &str) -> Node {
    let id = ids::org(name);
    let href = format!("{}/api/admin/org/{id}", call.base);
    let mut node = Node::of(&entity::ORG)
        .with("href", href.as_str())
        .with("type", entity::media(&entity::ADMIN_ORG_ROOT))
        .with("id", Kind::Org.urn(id))
        .with("name", name);
    node.push("Link", link_to(call, "alternate", Kind::Org, id, name));
    if name != SYSTEM {
        let catalogs = format!("{href}/catalogs");
        node.push("Link", action("add", catalogs, &request::NEW_CATALOG_ROOT));
        let users = format!("{href}/users");
        node.push("Link", action("add", users, &request::NEW_USER_ROOT));
    }
    node.with("FullName", name).with("IsEnabled", true)
}

/// A user.
pub(crate) fn user(call: &Call, id: Uuid, name: &str, role: &str, enabled: bool) -> Node {
    begin(call, &entity::USER_ROOT, Kind::User, id, name)
        .with("FullName", name)
        .with("IsEnabled", enabled)
        .with(
            "Role",
            reference(call, Kind::Role, ids::derived(Kind::Role, role), role),
        )
}

/// An organization.
pub(crate) fn org(call: &Call, name: &str, vdcs: &[Vdc], catalogs: &[Catalog]) -> Node {
    let id = ids::org(name);
    let base = &call.base;
    let mut node = begin(call, &entity::ORG_ROOT, Kind::Org, id, name);
    let records = format!("{}+xml", record::RECORDS_MEDIA);
    for query in ["orgVdc", "catalog"] {
        let href = format!(
            "{base}/api/query?type={query}&format=records&filter=org=={}",
            Kind::Org.urn(id)
        );
        node.push("Link", link("down", href, Some(&records)));
    }
    for vdc in vdcs {
        node.push(
            "Link",
            link_to(
                call,
                "down",
                Kind::Vdc,
                super::vdc::vdc_id(vdc),
                vdc.name.as_str(),
            ),
        );
    }
    for catalog in catalogs {
        let own = super::catalog::catalog_id(catalog);
        node.push(
            "Link",
            link_to(call, "down", Kind::Catalog, own, catalog.name.as_str()),
        );
    }
    let tasks = entity::media(&entity::TASKS_ROOT);
    node.push(
        "Link",
        link("down", format!("{base}/api/tasksList/{id}"), Some(&tasks)),
    );
    if name != SYSTEM {
        let href = format!("{base}/api/admin/org/{id}/catalogs");
        node.push("Link", action("add", href, &request::NEW_CATALOG_ROOT));
    }
    node.with("Description", "")
        .with("FullName", name)
        .with("IsEnabled", true)
}

/// The organizations that somebody sees.
pub(crate) fn list(call: &Call, names: &[String]) -> Node {
    let all = names
        .iter()
        .map(|name| reference(call, Kind::Org, ids::org(name), name));
    Node::of(&entity::ORG_LIST)
        .with("href", format!("{}/api/org", call.base))
        .with("type", entity::media(&entity::ORG_LIST_ROOT))
        .with_all("Org", all)
}
