//! What can be called: one table of methods, each with the function that does it.

pub(crate) mod authorization;
mod browser;
mod clone;
mod create;
pub(crate) mod crypto;
mod entity;
mod environment;
pub(crate) mod events;
mod folders;
pub(crate) mod history;
mod locator;
pub(crate) mod options;
mod power;
mod reconfigure;
mod relocate;
mod search;
mod session;
mod snapshots;
mod tasks;
mod trust;
mod views;

use crate::arguments::{self, Read as _};
use crate::collector::{self, Waiting};
use crate::fault::{Fault, Outcome};
use crate::inventory::{self, World};
use crate::properties;
use crate::schema::{Method, schema};
use crate::server::Call;
use crate::value::{MoRef, Value};
use crate::xml::Element;
use std::time::Duration;

/// A call of a method on an object that is there, with arguments that were checked.
pub(crate) struct Request<'a> {
    pub(crate) call: &'a Call,
    pub(crate) this: MoRef,
    /// The vCenter's inventory, for whoever is logged in.
    world: Option<World>,
    pub(crate) args: &'a Element,
}

type Function = fn(&Request<'_>) -> Outcome<Option<Value>>;

/// Every method that can be called, by the type it belongs to. Those of the table of the API that are not here answer `NotSupported`.
pub(crate) const METHODS: &[(&str, &str, Function)] = &[
    (
        "ServiceInstance",
        "RetrieveServiceContent",
        session::retrieve_content,
    ),
    ("ServiceInstance", "CurrentTime", session::current_time),
    ("SessionManager", "Logout", session::log_out),
    ("SessionManager", "SessionIsActive", session::is_active),
    ("SessionManager", "SetLocale", session::set_locale),
    ("PropertyCollector", "RetrieveProperties", views::retrieve),
    (
        "PropertyCollector",
        "RetrievePropertiesEx",
        views::retrieve_ex,
    ),
    (
        "PropertyCollector",
        "ContinueRetrievePropertiesEx",
        views::go_on,
    ),
    (
        "PropertyCollector",
        "CancelRetrievePropertiesEx",
        views::cancel_retrieve,
    ),
    ("PropertyCollector", "CreateFilter", views::create_filter),
    (
        "PropertyCollector",
        "CreatePropertyCollector",
        views::create_collector,
    ),
    (
        "PropertyCollector",
        "DestroyPropertyCollector",
        views::destroy_collector,
    ),
    (
        "PropertyCollector",
        "CancelWaitForUpdates",
        views::cancel_wait,
    ),
    (
        "PropertyFilter",
        "DestroyPropertyFilter",
        views::destroy_filter,
    ),
    (
        "ViewManager",
        "CreateContainerView",
        views::create_container_view,
    ),
    ("ViewManager", "CreateListView", views::create_list_view),
    (
        "ViewManager",
        "CreateListViewFromView",
        views::create_list_view_from,
    ),
    ("View", "DestroyView", views::destroy_view),
    ("ListView", "ModifyListView", views::modify_list_view),
    ("ListView", "ResetListView", views::reset_list_view),
    ("SearchIndex", "FindByUuid", search::by_uuid),
    ("SearchIndex", "FindAllByUuid", search::all_by_uuid),
    ("SearchIndex", "FindByInventoryPath", search::by_path),
    ("SearchIndex", "FindChild", search::child),
    (
        "SearchIndex",
        "FindByDatastorePath",
        search::by_datastore_path,
    ),
    ("SearchIndex", "FindByDnsName", search::nothing),
    ("SearchIndex", "FindByIp", search::nothing),
    ("SearchIndex", "FindAllByDnsName", search::nothing),
    ("SearchIndex", "FindAllByIp", search::nothing),
    ("ManagedEntity", "Reload", session::nothing),
    ("ManagedEntity", "Rename_Task", entity::rename),
    ("ManagedEntity", "Destroy_Task", power::destroy),
    ("Folder", "CreateVM_Task", create::create),
    ("Folder", "RegisterVM_Task", entity::register),
    (
        "VirtualMachine",
        "ReconfigVM_Task",
        reconfigure::reconfigure,
    ),
    ("VirtualMachine", "CloneVM_Task", clone::clone),
    ("VirtualMachine", "RelocateVM_Task", relocate::relocate),
    ("VirtualMachine", "MigrateVM_Task", relocate::migrate),
    ("VirtualMachine", "PowerOnVM_Task", power::on),
    ("VirtualMachine", "PowerOffVM_Task", power::off),
    ("VirtualMachine", "SuspendVM_Task", power::suspend),
    ("VirtualMachine", "ResetVM_Task", power::reset),
    ("VirtualMachine", "ShutdownGuest", entity::in_guest),
    ("VirtualMachine", "RebootGuest", entity::in_guest),
    ("VirtualMachine", "StandbyGuest", entity::in_guest),
    ("VirtualMachine", "UpgradeVM_Task", entity::upgrade),
    ("VirtualMachine", "MarkAsTemplate", entity::mark_as_template),
    ("VirtualMachine", "MarkAsVirtualMachine", entity::mark_as_vm),
    ("VirtualMachine", "UnregisterVM", entity::unregister),
    ("VirtualMachine", "CryptoUnlock_Task", power::unlock),
    ("VirtualMachine", "CreateSnapshot_Task", snapshots::create),
    ("VirtualMachine", "CreateSnapshotEx_Task", snapshots::create),
    (
        "VirtualMachine",
        "RevertToCurrentSnapshot_Task",
        snapshots::revert_to_current,
    ),
    (
        "VirtualMachine",
        "RemoveAllSnapshots_Task",
        snapshots::remove_all,
    ),
    (
        "VirtualMachineSnapshot",
        "RevertToSnapshot_Task",
        snapshots::revert,
    ),
    (
        "VirtualMachineSnapshot",
        "RemoveSnapshot_Task",
        snapshots::remove,
    ),
    ("Task", "CancelTask", tasks::cancel),
    ("Folder", "CreateFolder", folders::create),
    ("Folder", "MoveIntoFolder_Task", folders::move_into),
    ("Datacenter", "PowerOnMultiVM_Task", power::on_several),
    (
        "TaskManager",
        "CreateCollectorForTasks",
        history::create_for_tasks,
    ),
    (
        "EventManager",
        "CreateCollectorForEvents",
        history::create_for_events,
    ),
    (
        "HistoryCollector",
        "SetCollectorPageSize",
        history::set_page_size,
    ),
    ("HistoryCollector", "RewindCollector", history::rewind),
    ("HistoryCollector", "ResetCollector", history::reset),
    ("HistoryCollector", "DestroyCollector", history::destroy),
    ("TaskHistoryCollector", "ReadNextTasks", history::next),
    (
        "TaskHistoryCollector",
        "ReadPreviousTasks",
        history::previous,
    ),
    ("EventHistoryCollector", "ReadNextEvents", history::next),
    (
        "EventHistoryCollector",
        "ReadPreviousEvents",
        history::previous,
    ),
    (
        "EnvironmentBrowser",
        "QueryConfigOptionDescriptor",
        environment::descriptors,
    ),
    (
        "EnvironmentBrowser",
        "QueryConfigOption",
        environment::option,
    ),
    (
        "EnvironmentBrowser",
        "QueryConfigOptionEx",
        environment::option_ex,
    ),
    (
        "EnvironmentBrowser",
        "QueryConfigTarget",
        environment::target,
    ),
    (
        "EnvironmentBrowser",
        "QueryTargetCapabilities",
        environment::capabilities,
    ),
    (
        "HostDatastoreBrowser",
        "SearchDatastore_Task",
        browser::search,
    ),
    (
        "HostDatastoreBrowser",
        "SearchDatastoreSubFolders_Task",
        browser::search_below,
    ),
    (
        "AuthorizationManager",
        "RetrieveAllPermissions",
        authorization::all_permissions,
    ),
    (
        "AuthorizationManager",
        "RetrieveEntityPermissions",
        authorization::entity_permissions,
    ),
    (
        "AuthorizationManager",
        "RetrieveRolePermissions",
        authorization::role_permissions,
    ),
    (
        "AuthorizationManager",
        "HasPrivilegeOnEntity",
        authorization::on_entity,
    ),
    (
        "AuthorizationManager",
        "HasPrivilegeOnEntities",
        authorization::on_entities,
    ),
    (
        "AuthorizationManager",
        "HasUserPrivilegeOnEntities",
        authorization::of_user_on_entities,
    ),
    (
        "AuthorizationManager",
        "FetchUserPrivilegeOnEntities",
        authorization::privileges_of_user,
    ),
    ("ExtensionManager", "FindExtension", entity::no_extension),
    ("EventManager", "QueryEvents", events::query),
    (
        "PerformanceManager",
        "QueryPerfProviderSummary",
        entity::performance_of,
    ),
    (
        "PerformanceManager",
        "QueryAvailablePerfMetric",
        entity::none_of,
    ),
    ("PerformanceManager", "QueryPerfCounter", entity::none_of),
    ("PerformanceManager", "QueryPerf", entity::none_of),
    ("OptionManager", "QueryOptions", options::query),
    ("OptionManager", "UpdateOptions", options::update),
    ("CryptoManager", "ListKeys", crypto::list_keys),
    (
        "CryptoManagerKmip",
        "RegisterKmipServer",
        crypto::register_server,
    ),
    (
        "CryptoManagerKmip",
        "UpdateKmipServer",
        crypto::update_server,
    ),
    (
        "CryptoManagerKmip",
        "RemoveKmipServer",
        crypto::remove_server,
    ),
    (
        "CryptoManagerKmip",
        "UnregisterKmsCluster",
        crypto::unregister,
    ),
    ("CryptoManagerKmip", "ListKmipServers", crypto::list_servers),
    (
        "CryptoManagerKmip",
        "ListKmsClusters",
        crypto::list_clusters,
    ),
    ("CryptoManagerKmip", "MarkDefault", crypto::mark_default),
    (
        "CryptoManagerKmip",
        "SetDefaultKmsCluster",
        crypto::set_default,
    ),
    (
        "CryptoManagerKmip",
        "GetDefaultKmsCluster",
        crypto::get_default,
    ),
    ("CryptoManagerKmip", "IsKmsClusterActive", crypto::is_active),
    (
        "CryptoManagerKmip",
        "RetrieveKmipServersStatus_Task",
        crypto::status,
    ),
    ("CryptoManagerKmip", "GenerateKey", crypto::generate_key),
    (
        "CryptoManagerKmip",
        "QueryCryptoKeyStatus",
        crypto::key_status,
    ),
    (
        "CryptoManagerKmip",
        "RetrieveKmipServerCert",
        trust::server_certificate,
    ),
    (
        "CryptoManagerKmip",
        "UploadKmipServerCert",
        trust::trust_server,
    ),
    (
        "CryptoManagerKmip",
        "GenerateSelfSignedClientCert",
        trust::self_signed,
    ),
    (
        "CryptoManagerKmip",
        "RetrieveSelfSignedClientCert",
        trust::client_certificate,
    ),
    (
        "CryptoManagerKmip",
        "UpdateSelfSignedClientCert",
        trust::use_self_signed,
    ),
    ("CryptoManagerKmip", "GenerateClientCsr", trust::request),
    (
        "CryptoManagerKmip",
        "RetrieveClientCsr",
        trust::pending_request,
    ),
    (
        "CryptoManagerKmip",
        "UpdateKmsSignedCsrClientCert",
        trust::answer_request,
    ),
    (
        "CryptoManagerKmip",
        "RetrieveClientCert",
        trust::client_certificate,
    ),
    (
        "CryptoManagerKmip",
        "UploadClientCert",
        trust::upload_identity,
    ),
];

/// Methods that wait, or that make a session; they are called apart from the others.
pub(crate) const WAITING: &[(&str, &str)] = &[
    ("PropertyCollector", "CheckForUpdates"),
    ("PropertyCollector", "WaitForUpdates"),
    ("PropertyCollector", "WaitForUpdatesEx"),
];
pub(crate) const LOGIN: (&str, &str) = ("SessionManager", "Login");

/// What the body of a request asks for.
pub(crate) enum Asked {
    /// One property, as pyVmomi reads them.
    Fetch(String),
    /// A method.
    Method(&'static Method),
}

/// Reads which method of which object a request calls, and checks the arguments.
pub(crate) fn asked(call: &Call, body: &Element) -> Outcome<(MoRef, Asked)> {
    let this = body
        .child("_this")
        .map(arguments::reference)
        .transpose()?
        .ok_or_else(|| Fault::invalid_request("Error parsing SOAP: there is no _this"))?;
    if body.name == "Fetch" {
        let property = body.text_of("prop").unwrap_or_default().trim().to_owned();
        return Ok((this, Asked::Fetch(property)));
    }
    let method = schema()
        .method(this.kind, &body.name)
        .filter(|method| method.since <= call.version)
        .ok_or_else(|| {
            let name: String = body.name.chars().take(80).collect();
            Fault::new(
                "MethodNotFound",
                format!("{} has no method {name}", this.kind),
            )
            .with("receiver", this.clone())
            .with("method", name.as_str())
        })?;
    arguments::check(body, method, call.version)?;
    Ok((this, Asked::Method(method)))
}

/// Whether an object can be looked at without a session: to log in, clients need to know where.
fn is_open(this: &MoRef, asked: &Asked) -> bool {
    *this == inventory::service_instance()
        && match asked {
            Asked::Fetch(property) => property.starts_with("content") || property == "serverClock",
            Asked::Method(method) => {
                matches!(method.name, "RetrieveServiceContent" | "CurrentTime")
            }
        }
}

/// Whether a filter can be evaluated without a session: it reads what can be read without one.
fn is_open_filter(this: &MoRef, asked: &Asked, body: &Element) -> bool {
    matches!(asked, Asked::Method(method) if method.name.starts_with("RetrieveProperties"))
        && *this == inventory::property_collector()
        && body
            .all("specSet")
            .flat_map(|spec| spec.all("objectSet"))
            .all(|set| {
                set.child("obj")
                    .is_some_and(|object| object.text.trim() == "ServiceInstance")
                    && set.child("selectSet").is_none()
            })
}

/// Whether a request to a VM needs to know of that VM only.
fn is_alone(asked: &Asked) -> bool {
    match asked {
        Asked::Fetch(_) => true,
        Asked::Method(method) => !matches!(method.name, "CloneVM_Task" | "RelocateVM_Task"),
    }
}

/// Does what a request asks for. Blocks.
pub(crate) fn answer(
    call: &Call,
    this: MoRef,
    asked: &Asked,
    body: &Element,
) -> Outcome<Option<Value>> {
    if !is_open(&this, asked) && !is_open_filter(&this, asked, body) {
        call.login()?;
    }
    // Only of these kinds nothing is in the inventory.
    let world = match this.kind {
        "ServiceInstance" | "SessionManager" | "Task" | "PropertyCollector" | "PropertyFilter"
        | "OptionManager" => None,
        "VirtualMachine" if is_alone(asked) => Some(call.world_of([&this])?),
        _ => Some(call.world()?),
    };
    if !properties::exists(call, world.as_ref(), &this) {
        return Err(Fault::object_not_found(&this));
    }
    match asked {
        Asked::Fetch(property) => {
            properties::check_path(call, this.kind, property)?;
            properties::at_path(call, world.as_ref(), &this, property)
        }
        Asked::Method(method) => {
            let function = METHODS
                .iter()
                .find(|(kind, name, _)| *name == method.name && schema().is(this.kind, kind))
                .map(|(_, _, function)| function)
                .ok_or_else(|| {
                    Fault::not_supported(format!(
                        "{} of {} is not supported here; docs/vim25.md lists what is",
                        method.name, this.kind
                    ))
                })?;
            function(&Request {
                call,
                this,
                world,
                args: body,
            })
        }
    }
}

/// What a waiting method waits for; `None` if the method is another one.
pub(crate) fn waiting(this: &MoRef, asked: &Asked, body: &Element) -> Option<Waiting> {
    let Asked::Method(method) = asked else {
        return None;
    };
    WAITING.iter().find(|(_, name)| *name == method.name)?;
    let seconds = body
        .child("options")
        .and_then(|options| options.number("maxWaitSeconds"))
        .and_then(|seconds| u64::try_from(seconds).ok());
    let most = match method.name {
        "CheckForUpdates" => Some(0),
        _ => seconds,
    };
    Some(Waiting {
        collector: this.clone(),
        version: body.text_of("version").unwrap_or_default().to_owned(),
        most: most.map(Duration::from_secs),
    })
}

impl Request<'_> {
    /// The vCenter's inventory.
    pub(crate) fn world(&self) -> Outcome<&World> {
        self.world
            .as_ref()
            .ok_or_else(|| Fault::object_not_found(&self.this))
    }

    /// An argument that is a data object.
    pub(crate) fn object(&self, name: &str) -> Outcome<&Element> {
        self.args
            .child(name)
            .ok_or_else(|| Fault::invalid_argument(name, format!("{name} is missing")))
    }

    /// A text that has to be there.
    pub(crate) fn text(&self, name: &str) -> Outcome<&str> {
        self.args
            .text_of(name)
            .ok_or_else(|| Fault::invalid_argument(name, format!("{name} is missing")))
    }

    /// Filters of the request.
    pub(crate) fn filters(&self) -> Outcome<Vec<collector::FilterSpec>> {
        self.args
            .all("specSet")
            .map(|spec| collector::FilterSpec::read(self.call, spec))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_one_of_the_table() {
        for (kind, name, _) in METHODS {
            assert!(schema().method(kind, name).is_some(), "{kind}.{name}");
        }
        for (kind, name) in WAITING.iter().chain([&LOGIN]) {
            assert!(schema().method(kind, name).is_some(), "{kind}.{name}");
        }
    }

    #[test]
    fn the_page_lists_what_can_be_called() {
        let page = include_str!("../../../../docs/vim25.md");
        for (kind, name) in METHODS.iter().map(|(kind, name, _)| (kind, name)).chain(
            WAITING
                .iter()
                .chain([&LOGIN])
                .map(|(kind, name)| (kind, name)),
        ) {
            let line = page
                .lines()
                .find(|line| line.starts_with(&format!("| {kind} |")));
            let line = line.unwrap_or_else(|| panic!("docs/vim25.md has no line for {kind}"));
            assert!(line.contains(&format!("`{name}`")), "{kind}: {name}");
        }
    }
}
