//! Roles, privileges and who has them: the roles of users of the system, in the words of the API.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::{About, Fault, Outcome, of};
use crate::inventory;
use crate::server::Call;
use crate::value::{MoRef, Object, Value};
use vm_inventory::model::{Privilege, Role};
use vm_inventory::{Principal, Right};

/// Privileges besides those for keys, and the right that each needs.
const OTHERS: [(&str, Right); 22] = [
    ("System.Anonymous", Right::Look),
    ("System.View", Right::Look),
    ("System.Read", Right::Look),
    ("Datastore.AllocateSpace", Right::Infrastructure),
    ("Datastore.Browse", Right::Infrastructure),
    ("Folder.Create", Right::Infrastructure),
    ("Folder.Delete", Right::Infrastructure),
    ("Folder.Move", Right::Infrastructure),
    ("Folder.Rename", Right::Infrastructure),
    ("Resource.AssignVMToPool", Right::Infrastructure),
    ("Resource.ColdMigrate", Right::Infrastructure),
    ("VirtualMachine.Config.AddRemoveDevice", Right::Build),
    ("VirtualMachine.Config.Rename", Right::Build),
    ("VirtualMachine.Config.Settings", Right::Build),
    ("VirtualMachine.Interact.PowerOff", Right::Power),
    ("VirtualMachine.Interact.PowerOn", Right::Power),
    ("VirtualMachine.Inventory.Create", Right::Infrastructure),
    ("VirtualMachine.Inventory.Delete", Right::Build),
    ("VirtualMachine.Provisioning.Clone", Right::Infrastructure),
    ("VirtualMachine.State.CreateSnapshot", Right::Build),
    ("VirtualMachine.State.RemoveSnapshot", Right::Build),
    ("VirtualMachine.State.RevertToSnapshot", Right::Build),
];

/// The roles that a vCenter comes with: identifier, name, label, and the role of users here that it stands for.
const ROLES: [(i32, &str, &str, Option<Role>); 6] = [
    (-1, "Admin", "Administrator", Some(Role::Administrator)),
    (-2, "ReadOnly", "Read-only", None),
    (-3, "View", "View", None),
    (-4, "Anonymous", "Anonymous", None),
    (-5, "NoAccess", "No access", None),
    (
        -6,
        "NoCryptoAdmin",
        "No cryptography administrator",
        Some(Role::NoCryptographyAdministrator),
    ),
];

/// Every privilege that is known here.
pub(crate) fn privileges() -> Vec<Object> {
    let keys = Privilege::ALL.iter().map(|it| it.as_str());
    keys.chain(OTHERS.iter().map(|(id, _)| *id))
        .map(|id| {
            let (group, name) = id.rsplit_once('.').unwrap_or(("System", id));
            Object::new("AuthorizationPrivilege")
                .with("privId", id)
                .with("onParent", false)
                .with("name", name)
                .with("privGroupName", group)
        })
        .collect()
}

/// Every role.
pub(crate) fn roles() -> Vec<Object> {
    ROLES
        .iter()
        .map(|(id, name, label, role)| {
            let granted: Vec<Value> = match (role, *id) {
                (Some(role), _) => known()
                    .filter(|privilege| role_has(*role, privilege))
                    .map(Value::from)
                    .collect(),
                (None, -2) => ["System.Anonymous", "System.View", "System.Read"]
                    .map(Value::from)
                    .into(),
                (None, -3) => ["System.Anonymous", "System.View"].map(Value::from).into(),
                (None, -4) => vec!["System.Anonymous".into()],
                (None, _) => Vec::new(),
            };
            Object::new("AuthorizationRole")
                .with("roleId", *id)
                .with("system", true)
                .with("name", *name)
                .with(
                    "info",
                    Object::new("Description")
                        .with("label", *label)
                        .with("summary", *label),
                )
                .with("privilege", Value::List("string", granted))
        })
        .collect()
}

fn known() -> impl Iterator<Item = &'static str> {
    let keys = Privilege::ALL.iter().map(|it| it.as_str());
    keys.chain(OTHERS.iter().map(|(id, _)| *id))
}

fn role_has(role: Role, privilege: &str) -> bool {
    if let Some(found) = Privilege::ALL.iter().find(|it| it.as_str() == privilege) {
        return role.has(*found);
    }
    OTHERS
        .iter()
        .any(|(id, right)| *id == privilege && role.may(*right))
}

/// Whether somebody has a privilege. Of organizations' users the API knows nothing but that they may log in.
fn has(principal: &Principal, privilege: &str) -> bool {
    principal.is_system() && role_has(principal.role, privilege)
}

/// Who has which role on the root folder, which holds for all below.
fn permissions(call: &Call) -> Outcome<Vec<(i32, Object)>> {
    let failed = |error| of(&error, &About::default());
    let users = call.act()?.users(None).map_err(failed)?;
    let system = users
        .into_iter()
        .filter(|user| vm_inventory::is_system(user.organization.as_str()));
    Ok(system
        .filter_map(|user| {
            let role = ROLES.iter().find(|(.., role)| *role == Some(user.role));
            let id = role.map(|(id, ..)| *id)?;
            let permission = Object::new("Permission")
                .with("entity", inventory::root_folder())
                .with("principal", format!("VSPHERE.LOCAL\\{}", user.name))
                .with("group", false)
                .with("roleId", id)
                .with("propagate", true);
            Some((id, permission))
        })
        .collect())
}

fn shown(permissions: impl IntoIterator<Item = Object>) -> Outcome<Option<Value>> {
    Ok(Some(Value::objects("Permission", permissions)))
}

pub(super) fn all_permissions(request: &Request<'_>) -> Outcome<Option<Value>> {
    let all = permissions(request.call)?;
    shown(all.into_iter().map(|(_, permission)| permission))
}

pub(super) fn role_permissions(request: &Request<'_>) -> Outcome<Option<Value>> {
    let role = request.args.number("roleId");
    if ROLES.iter().all(|(id, ..)| Some(i64::from(*id)) != role) {
        return Err(Fault::new("NotFound", "there is no such role"));
    }
    let all = permissions(request.call)?.into_iter();
    shown(
        all.filter(|(id, _)| Some(i64::from(*id)) == role)
            .map(|(_, permission)| permission),
    )
}

pub(super) fn entity_permissions(request: &Request<'_>) -> Outcome<Option<Value>> {
    let entity = entities(request, "entity")?;
    let root = entity.contains(&inventory::root_folder());
    if root || request.args.flag("inherited") {
        return all_permissions(request);
    }
    shown([])
}

fn entities(request: &Request<'_>, name: &str) -> Outcome<Vec<MoRef>> {
    let named = request.args.references(name)?;
    let world = request.world()?;
    match named.iter().find(|it| !world.has(it)) {
        Some(missing) => Err(Fault::object_not_found(missing)),
        None => Ok(named),
    }
}

fn asked(request: &Request<'_>) -> Vec<String> {
    let asked = request.args.all("privId");
    asked.map(|it| it.text.trim().to_owned()).collect()
}

/// A session is somebody's own: of others nothing is told.
fn own_session(request: &Request<'_>) -> Outcome<()> {
    let session = request.text("sessionId")?.trim().to_owned();
    match request.call.login()?.session().get("key") {
        Some(Value::Text(key)) if *key == session => Ok(()),
        _ => Err(Fault::invalid_argument(
            "sessionId",
            "there is no such session",
        )),
    }
}

pub(super) fn on_entity(request: &Request<'_>) -> Outcome<Option<Value>> {
    own_session(request)?;
    entities(request, "entity")?;
    let principal = &request.call.login()?.principal;
    let granted = asked(request)
        .iter()
        .map(|it| has(principal, it).into())
        .collect();
    Ok(Some(Value::List("boolean", granted)))
}

pub(super) fn on_entities(request: &Request<'_>) -> Outcome<Option<Value>> {
    own_session(request)?;
    availability(request, "entity")
}

pub(super) fn of_user_on_entities(request: &Request<'_>) -> Outcome<Option<Value>> {
    own_name(request)?;
    availability(request, "entities")
}

fn own_name(request: &Request<'_>) -> Outcome<()> {
    let name = request.text("userName")?.trim();
    let login = request.call.login()?;
    let short = login.principal.name.as_str();
    let own = [
        login.user.clone(),
        short.to_owned(),
        format!("VSPHERE.LOCAL\\{short}"),
        format!("{short}@vsphere.local"),
    ];
    if own.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Fault::new("UserNotFound", "only of oneself it is told")
        .with("principal", name)
        .with("unresolved", false))
}

fn availability(request: &Request<'_>, name: &str) -> Outcome<Option<Value>> {
    let principal = &request.call.login()?.principal;
    let asked = asked(request);
    let found = entities(request, name)?.into_iter().map(|entity| {
        let each = asked.iter().map(|privilege| {
            Object::new("PrivilegeAvailability")
                .with("privId", privilege.as_str())
                .with("isGranted", has(principal, privilege))
        });
        Object::new("EntityPrivilege").with("entity", entity).with(
            "privAvailability",
            Value::objects("PrivilegeAvailability", each),
        )
    });
    Ok(Some(Value::objects("EntityPrivilege", found)))
}

pub(super) fn privileges_of_user(request: &Request<'_>) -> Outcome<Option<Value>> {
    own_name(request)?;
    let principal = &request.call.login()?.principal;
    let granted: Vec<Value> = known()
        .filter(|it| has(principal, it))
        .map(Value::from)
        .collect();
    let found = entities(request, "entities")?.into_iter().map(|entity| {
        Object::new("UserPrivilegeResult")
            .with("entity", entity)
            .with("privileges", Value::List("string", granted.clone()))
    });
    Ok(Some(Value::objects("UserPrivilegeResult", found)))
}
