//! With whom things are shared, and for how long vApps are meant to be there.

use super::{action, date, link, reference};
use crate::call::Call;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::{entity, request, section};
use uuid::Uuid;
use vm_inventory::model::Timestamp;
use vm_inventory::{Remarked, Sharing};

/// The links to look at the sharing of something, and to change it.
pub(super) fn links(node: &mut Node, href: &str) {
    let media = entity::media(&entity::CONTROL_ACCESS_ROOT);
    node.push(
        "Link",
        link("down", format!("{href}/controlAccess/"), Some(&media)),
    );
    let change = format!("{href}/action/controlAccess");
    node.push(
        "Link",
        action("controlAccess", change, &request::SHARE_ROOT),
    );
}

/// With whom something is shared.
pub(crate) fn sharing(call: &Call, sharing: &Sharing, organization: &str) -> Node {
    let settings = entity::inner(&section::CONTROL_ACCESS, "AccessSettings");
    let setting = entity::inner(settings, "AccessSetting");
    let all = sharing.with.iter().filter_map(|(subject, level)| {
        let (kind, name) = subject.split_once(':')?;
        let subject = if kind == "org" {
            reference(call, Kind::Org, ids::org(name), name)
        } else {
            let id = ids::derived(Kind::User, &format!("{name}@{organization}"));
            reference(call, Kind::User, id, name)
        };
        Some(
            Node::of(setting)
                .with("Subject", subject)
                .with("AccessLevel", level.as_str()),
        )
    });
    let all: Vec<Node> = all.collect();
    let some = !all.is_empty();
    Node::of(&section::CONTROL_ACCESS)
        .with("IsSharedToEveryone", sharing.everyone.is_some())
        .with_some("EveryoneAccessLevel", sharing.everyone.as_deref())
        .with_some(
            "AccessSettings",
            some.then(|| Node::of(settings).with_all("AccessSetting", all)),
        )
}

/// The leases of a vApp.
pub(crate) fn leases(call: &Call, vapp: Uuid, on: bool) -> Node {
    let href = format!(
        "{}/leaseSettingsSection/",
        Kind::Vapp.href(&call.base, vapp)
    );
    let kept = call.operations.remarks(&Remarked::Vapp(vapp.to_string()));
    let lease = kept.ok().and_then(|it| it.lease);
    let seconds =
        |length: Option<u64>| i64::try_from(length.unwrap_or_default()).unwrap_or(i64::MAX);
    let (runtime, storage) = (
        lease.as_ref().map(|it| it.runtime),
        lease.as_ref().map(|it| it.storage),
    );
    let ends = |length: Option<u64>| {
        let since = lease.as_ref()?.since;
        let length = length.filter(|length| *length > 0)?;
        Some(date(Timestamp(since.0.saturating_add(length))))
    };
    Node::of(&section::LEASE)
        .with("href", href.as_str())
        .with("type", entity::media(&entity::LEASE_ROOT))
        .with("Info", "Lease settings section")
        .with(
            "Link",
            action("edit", href.clone(), &request::LEASE_EDIT_ROOT),
        )
        .with("DeploymentLeaseInSeconds", seconds(runtime))
        .with("StorageLeaseInSeconds", seconds(storage))
        // What does not run is on no lease to run, and what runs on none to be kept.
        .with_some(
            "DeploymentLeaseExpiration",
            on.then(|| ends(runtime)).flatten(),
        )
        .with_some(
            "StorageLeaseExpiration",
            (!on).then(|| ends(storage)).flatten(),
        )
}
