//! With whom things are shared, and for how long vApps are meant to be there. Both are kept and told; what a user may do is decided by
//! the role, and nothing is stopped or deleted when a lease ends.

use super::{look, remarks};
use crate::call::{Answer, Call, Reply};
use crate::fault::Fault;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::entity;
use crate::show;
use vm_inventory::model::{PowerState, Timestamp};
use vm_inventory::{Lease, Name, Sharing};

/// How far things are shared, by the API's words.
const LEVELS: &[&str] = &["ReadOnly", "Change", "FullControl"];
/// A lease is not shorter, in seconds.
const SHORTEST: u64 = 3600;

fn level(node: &Node, field: &'static str) -> Result<String, Fault> {
    let word = node.text(field).unwrap_or("ReadOnly");
    if LEVELS.contains(&word) {
        return Ok(word.to_owned());
    }
    Err(Fault::bad_request(format!(
        "Bad request: {} is no level of access; use one of {}",
        crate::xml::shown(word),
        LEVELS.join(", ")
    )))
}

/// The user or organization that a setting is for.
fn subject(call: &Call, organization: &Name, setting: &Node) -> Result<String, Fault> {
    let reference = setting
        .child("Subject")
        .ok_or_else(|| Fault::bad_request("Bad request: an AccessSetting has no Subject"))?;
    let href = reference.text("href").unwrap_or_default();
    let (kind, id) = match Kind::read(&href.replacen("/api/admin/org/", "/api/org/", 1)) {
        Some(found) => found,
        None => Call::leads(reference)?,
    };
    match kind {
        Kind::User => {
            let users = call.operations.users(Some(organization))?;
            let user = users.into_iter().find(|user| {
                ids::derived(Kind::User, &format!("{}@{organization}", user.name)) == id
            });
            let user = user.ok_or_else(|| Fault::no_access("user", &id.to_string()))?;
            Ok(format!("user:{}", user.name))
        }
        Kind::Org => Ok(format!("org:{}", look::organization(call, id)?)),
        _ => Err(Fault::invalid_reference(
            "the Subject of an AccessSetting is a user or an organization",
        )),
    }
}

/// `GET .../controlAccess`.
pub(crate) fn show(call: &Call) -> Answer {
    let (_, of) = remarks::remarked(call)?;
    let organization = remarks::organization(call)?;
    let sharing = call.operations.remarks(&of)?.sharing.unwrap_or_default();
    Ok(Reply::ok(
        &entity::CONTROL_ACCESS_ROOT,
        show::access::sharing(call, &sharing, organization.as_str()),
    ))
}

/// `POST .../action/controlAccess`.
pub(crate) fn share(call: &Call) -> Answer {
    let (_, of) = remarks::remarked(call)?;
    let organization = remarks::organization(call)?;
    let body = call.body()?;
    let mut sharing = Sharing::default();
    match body.boolean("IsSharedToEveryone") {
        Some(true) => sharing.everyone = Some(level(body, "EveryoneAccessLevel")?),
        Some(false) => {}
        None => {
            return Err(Fault::bad_request(
                "Bad request: ControlAccessParams has no IsSharedToEveryone",
            ));
        }
    }
    if let Some(settings) = body.child("AccessSettings") {
        for setting in settings.children("AccessSetting") {
            let subject = subject(call, &organization, setting)?;
            sharing.with.insert(subject, level(setting, "AccessLevel")?);
        }
    }
    let kept = sharing.clone();
    call.operations.change_remarks(&of, |remarks| {
        remarks.sharing = Some(kept);
        Ok(())
    })?;
    Ok(Reply::ok(
        &entity::CONTROL_ACCESS_ROOT,
        show::access::sharing(call, &sharing, organization.as_str()),
    ))
}

/// `GET /api/vApp/vapp-{id}/leaseSettingsSection`.
pub(crate) fn show_leases(call: &Call) -> Answer {
    let view = look::vapp(call, call.id())?;
    let on = view.vms.iter().any(|vm| vm.power == PowerState::On);
    Ok(Reply::ok(
        &entity::LEASE_ROOT,
        show::access::leases(call, view.vapp.id, on),
    ))
}

/// `PUT /api/vApp/vapp-{id}/leaseSettingsSection`.
pub(crate) fn set_leases(call: &Call) -> Answer {
    let (_, of) = remarks::remarked(call)?;
    let body = call.body()?;
    let seconds = |field: &'static str| match body.number(field) {
        None => Ok(None),
        Some(number) => u64::try_from(number)
            .ok()
            .filter(|seconds| *seconds == 0 || *seconds >= SHORTEST)
            .map(Some)
            .ok_or_else(|| {
                Fault::bad_request(format!(
                    "Bad request: {field} is 0, which is never, or at least {SHORTEST} seconds"
                ))
            }),
    };
    let (runtime, storage) = (
        seconds("DeploymentLeaseInSeconds")?,
        seconds("StorageLeaseInSeconds")?,
    );
    let task = call.operations.change_remarks(&of, |remarks| {
        let before = remarks.lease.take();
        let known = |of: fn(&Lease) -> u64| before.as_ref().map_or(0, of);
        remarks.lease = Some(Lease {
            runtime: runtime.unwrap_or_else(|| known(|it| it.runtime)),
            storage: storage.unwrap_or_else(|| known(|it| it.storage)),
            since: Timestamp::now(),
        });
        Ok(())
    })?;
    remarks::done(call, &task)
}
