//! Properties of managed objects.

mod entity;
mod files;
mod vm;

pub(crate) use vm::{TPM_KEY, capability, guest_name, of_snapshot, settings_path};

use crate::fault::{Fault, Outcome};
use crate::inventory::{self, World};
use crate::schema::schema;
use crate::server::Call;
use crate::tasks::AnyTask;
use crate::value::{MoRef, Object, Value};
use vm_inventory::model::Timestamp;

/// Collectors of tasks or events that a session may have, among other things.
const MOST_COLLECTORS: i32 = 32;

/// Whether there is such an object.
pub(crate) fn exists(call: &Call, world: Option<&World>, of: &MoRef) -> bool {
    let fixed = [
        inventory::service_instance(),
        inventory::session_manager(),
        inventory::property_collector(),
        inventory::view_manager(),
        inventory::search_index(),
        inventory::task_manager(),
        inventory::crypto_manager(),
        inventory::option_manager(),
        inventory::event_manager(),
        inventory::performance_manager(),
        inventory::custom_fields_manager(),
        inventory::environment_browser(),
        inventory::authorization_manager(),
        inventory::extension_manager(),
        inventory::license_manager(),
        inventory::any_datastore_browser(),
    ];
    if fixed.contains(of) {
        return true;
    }
    match of.kind {
        "Task" => AnyTask::find(call, of).is_ok(),
        "HostDatastoreBrowser" => world.is_some_and(|world| {
            let mut browsers = world.datastores.iter();
            browsers.any(|it| inventory::datastore_browser(&it.name) == *of)
        }),
        "ContainerView"
        | "ListView"
        | "PropertyCollector"
        | "PropertyFilter"
        | "TaskHistoryCollector"
        | "EventHistoryCollector" => call
            .login
            .as_ref()
            .is_some_and(|login| login.objects().has(of)),
        "VirtualMachineSnapshot" => vm::of_snapshot(call, world, of).is_ok(),
        _ => world.is_some_and(|world| world.has(of) || *of == inventory::host()),
    }
}

/// A property of an object; `None` if it is not set. The object is there, and has such a property.
pub(crate) fn property(
    call: &Call,
    world: Option<&World>,
    of: &MoRef,
    name: &str,
) -> Outcome<Option<Value>> {
    let missing = || Fault::object_not_found(of);
    Ok(match of.kind {
        "ServiceInstance" => match name {
            "content" => Some(content(call).into()),
            "serverClock" => Some(Timestamp::now().into()),
            "capability" => Some(
                Object::new("Capability")
                    .with("provisioningSupported", true)
                    .with("multiHostSupported", true)
                    .with("userShellAccessSupported", false)
                    .into(),
            ),
            _ => None,
        },
        "SessionManager" => {
            let own = call.login.as_ref().map(|login| login.session());
            match name {
                "currentSession" => own.map(Value::from),
                "sessionList" => Some(Value::objects("UserSession", own)),
                "defaultLocale" => Some("en_US".into()),
                "messageLocaleList" | "supportedLocaleList" => {
                    Some(Value::List("string", vec!["en_US".into()]))
                }
                "message" => Some("".into()),
                _ => None,
            }
        }
        "TaskManager" => match name {
            "recentTask" => Some(Value::refs(AnyTask::recent(call)?)),
            "maxCollector" => Some(MOST_COLLECTORS.into()),
            "description" => Some(
                Object::new("TaskDescription")
                    .with("methodInfo", described(crate::tasks::method_descriptions()))
                    .with(
                        "state",
                        described(
                            ["queued", "running", "success", "error"]
                                .map(|it| (it.to_owned(), it.to_owned())),
                        ),
                    )
                    .with("reason", Value::objects("TypeDescription", []))
                    .into(),
            ),
            _ => None,
        },
        "Task" => match name {
            "info" => {
                let task = AnyTask::find(call, of)?;
                Some(task.info(call)?.into())
            }
            _ => None,
        },
        "CryptoManagerKmip" => match name {
            "enabled" => Some(true.into()),
            "kmipServers" => Some(Value::objects(
                "KmipClusterInfo",
                crate::methods::crypto::clusters(call)?,
            )),
            _ => None,
        },
        "EventManager" => match name {
            "latestEvent" => crate::methods::events::latest(call)?,
            "maxCollector" => Some(MOST_COLLECTORS.into()),
            "description" => Some(
                Object::new("EventDescription")
                    .with(
                        "category",
                        described(
                            ["info", "warning", "error", "user"]
                                .map(|it| (it.to_owned(), it.to_owned())),
                        ),
                    )
                    .with(
                        "eventInfo",
                        Value::objects("EventDescriptionEventDetail", []),
                    )
                    .into(),
            ),
            _ => None,
        },
        "TaskHistoryCollector" | "EventHistoryCollector" => match name {
            "latestPage" => Some(crate::methods::history::latest_page(
                call,
                world.ok_or_else(missing)?,
                of,
            )?),
            "initialized" => Some(true.into()),
            _ => None,
        },
        "AuthorizationManager" => match name {
            "roleList" => Some(Value::objects(
                "AuthorizationRole",
                crate::methods::authorization::roles(),
            )),
            "privilegeList" => Some(Value::objects(
                "AuthorizationPrivilege",
                crate::methods::authorization::privileges(),
            )),
            "description" => Some(
                Object::new("AuthorizationDescription")
                    .with("privilege", described([]))
                    .with("privilegeGroup", described([]))
                    .into(),
            ),
            _ => None,
        },
        "ExtensionManager" => match name {
            "extensionList" => Some(Value::objects("Extension", [])),
            _ => None,
        },
        "LicenseManager" => match name {
            "sourceAvailable" => Some(true.into()),
            "licensedEdition" => Some("".into()),
            "licenses" => Some(Value::objects("LicenseManagerLicenseInfo", [])),
            "source" => Some(Object::new("EvaluationLicenseSource").into()),
            "evaluation" => Some(
                Object::new("LicenseManagerEvaluationInfo")
                    .with("properties", Value::objects("KeyAnyValue", []))
                    .into(),
            ),
            _ => None,
        },
        "EnvironmentBrowser" => match name {
            "datastoreBrowser" => Some(inventory::any_datastore_browser().into()),
            _ => None,
        },
        "HostDatastoreBrowser" => match name {
            "datastore" => {
                let mut all = world.ok_or_else(missing)?.datastores.clone();
                all.retain(|it| {
                    let own = inventory::datastore_browser(&it.name);
                    *of == inventory::any_datastore_browser() || *of == own
                });
                Some(Value::refs(
                    all.iter().map(|it| inventory::datastore(&it.name)),
                ))
            }
            _ => None,
        },
        "PerformanceManager" | "CustomFieldsManager" => match name {
            "perfCounter" => Some(Value::objects("PerfCounterInfo", [])),
            "historicalInterval" => Some(Value::objects("PerfInterval", [])),
            "field" => Some(Value::objects("CustomFieldDef", [])),
            "description" => Some(
                Object::new("PerformanceDescription")
                    .with("counterType", described([]))
                    .with("statsType", described([]))
                    .into(),
            ),
            _ => None,
        },
        "OptionManager" => match name {
            "setting" => Some(Value::objects(
                "OptionValue",
                crate::methods::options::settings(call)?,
            )),
            _ => None,
        },
        "ContainerView" | "ListView" | "PropertyCollector" | "PropertyFilter" => {
            let login = call.login()?;
            let view = login.objects().view(of);
            match (view, name) {
                (Some(view), "view") => Some(Value::refs(view.members(world.ok_or_else(missing)?))),
                (Some(view), _) => view.property(name),
                (None, "filter") => Some(Value::refs(login.objects().filters(of))),
                (None, "partialUpdates") => login.objects().partial(of).map(Value::from),
                (None, _) => None,
            }
        }
        "ViewManager" => match name {
            "viewList" => Some(Value::refs(call.login()?.objects().views())),
            _ => None,
        },
        "VirtualMachine" => vm::property(call, world.ok_or_else(missing)?, of, name)?,
        "VirtualMachineSnapshot" => vm::snapshot_property(call, world, of, name)?,
        _ => entity::property(call, world.ok_or_else(missing)?, of, name)?,
    })
}

/// Words and what they mean.
fn described(words: impl IntoIterator<Item = (String, String)>) -> Value {
    let words = words.into_iter().map(|(key, label)| {
        Object::new("ElementDescription")
            .with("label", label.as_str())
            .with("summary", label)
            .with("key", key)
    });
    Value::objects("ElementDescription", words)
}

/// The managers of a vCenter.
pub(crate) fn content(call: &Call) -> Object {
    Object::new("ServiceContent")
        .with("rootFolder", inventory::root_folder())
        .with("propertyCollector", inventory::property_collector())
        .with("viewManager", inventory::view_manager())
        .with("about", about(call))
        .with("setting", inventory::option_manager())
        .with("sessionManager", inventory::session_manager())
        .with("authorizationManager", inventory::authorization_manager())
        .with("perfManager", inventory::performance_manager())
        .with("eventManager", inventory::event_manager())
        .with("taskManager", inventory::task_manager())
        .with("extensionManager", inventory::extension_manager())
        .with("licenseManager", inventory::license_manager())
        .with("customFieldsManager", inventory::custom_fields_manager())
        .with("searchIndex", inventory::search_index())
        .with("cryptoManager", inventory::crypto_manager())
}

fn about(call: &Call) -> Object {
    let version = call.vcenter.version;
    let api = crate::server::offered(version)
        .first()
        .copied()
        .unwrap_or_default();
    let numbers: Vec<String> = version
        .to_string()
        .split('.')
        .take(3)
        .map(str::to_owned)
        .collect();
    let release = numbers.join(".");
    Object::new("AboutInfo")
        .with("name", "VMware vCenter Server")
        .with(
            "fullName",
            format!(
                "VMware vCenter Server {release} (vtpm {})",
                env!("CARGO_PKG_VERSION")
            ),
        )
        .with("vendor", "vtpm")
        .with("version", release)
        .with("build", env!("CARGO_PKG_VERSION"))
        .with("localeVersion", "INTL")
        .with("localeBuild", "000")
        .with("osType", "linux-x64")
        .with("productLineId", "vpx")
        .with("apiType", "VirtualCenter")
        .with("apiVersion", api)
        .with("instanceUuid", instance_uuid(call.vcenter.name.as_str()))
        .with("licenseProductName", "VMware VirtualCenter Server")
        .with("licenseProductVersion", "8.0")
}

/// Identifies a vCenter by its name, as a UUID that is always the same.
pub(crate) fn instance_uuid(vcenter: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(format!("vtpm vCenter {vcenter}").as_bytes());
    let mut bytes = [0u8; 16];
    for (to, from) in bytes.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// A part of a property's path: a name, and for lists the key of one item.
struct Step<'a> {
    name: &'a str,
    key: Option<&'a str>,
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    path.split('.')
        .map(|part| match part.split_once('[') {
            Some((name, rest)) => Some(Step {
                name,
                key: Some(rest.strip_suffix(']')?.trim_matches('"')),
            }),
            None => Some(Step {
                name: part,
                key: None,
            }),
        })
        .collect()
}

/// Whether a type has properties of that path in that version.
pub(crate) fn check_path(call: &Call, kind: &str, path: &str) -> Outcome<()> {
    let invalid = || {
        let shown: String = path.chars().take(200).collect();
        Fault::new(
            "InvalidProperty",
            format!("The type {kind} has no property \"{shown}\""),
        )
        .with("name", shown.as_str())
    };
    let mut at = kind;
    let steps = steps(path).ok_or_else(invalid)?;
    let count = steps.len();
    for (number, step) in steps.iter().enumerate() {
        let field = schema()
            .field(at, step.name)
            .filter(|field| field.since <= call.version)
            .ok_or_else(invalid)?;
        if number + 1 == count {
            break;
        }
        let plain = field.of.reference || field.of.choice || is_plain(field.of.name);
        if plain || (field.of.list && step.key.is_none()) {
            return Err(invalid());
        }
        if schema().get(field.of.name).is_none() {
            // Known by name, but nothing of what it holds is here: it is not set.
            break;
        }
        at = field.of.name;
    }
    Ok(())
}

/// Whether values of a type have no fields.
fn is_plain(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        || matches!(name, "PropertyPath" | "TypeName" | "MethodName")
}

/// What is at a path that [`check_path`] has passed.
pub(crate) fn at_path(
    call: &Call,
    world: Option<&World>,
    of: &MoRef,
    path: &str,
) -> Outcome<Option<Value>> {
    let Some(steps) = steps(path) else {
        return Ok(None);
    };
    let mut steps = steps.into_iter();
    let Some(first) = steps.next() else {
        return Ok(None);
    };
    let mut value = property(call, world, of, first.name)?;
    value = value.and_then(|value| keyed(value, first.key));
    for step in steps {
        value = match value {
            Some(Value::Object(object)) => object
                .get(step.name)
                .cloned()
                .and_then(|value| keyed(value, step.key)),
            _ => None,
        };
    }
    Ok(value)
}

fn keyed(value: Value, key: Option<&str>) -> Option<Value> {
    let Some(key) = key else {
        return Some(value);
    };
    let Value::List(_, items) = value else {
        return None;
    };
    items.into_iter().find(|item| match item {
        Value::Object(object) => match object.get("key") {
            Some(Value::Int(number)) => number.to_string() == key,
            Some(Value::Text(text)) => text == key,
            _ => false,
        },
        _ => false,
    })
}
