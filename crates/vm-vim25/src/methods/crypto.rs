//! Key providers and keys: the methods of CryptoManagerKmip.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::{self, About, Fault, Outcome};
use crate::inventory;
use crate::server::{Act, Call};
use crate::value::{Object, Value};
use crate::xml::Element;
use vm_inventory::model::ProviderKind;
use vm_inventory::{Error, KeyState, Name, ProviderView};

fn failed(error: Error) -> Box<Fault> {
    match error {
        Error::Exists { ref name, .. } => {
            Fault::new("AlreadyExists", error.to_string()).with("name", name.as_str())
        }
        Error::NotFound { .. } | Error::NoProvider { .. } => {
            Fault::invalid_argument("clusterId", error.to_string())
        }
        other => fault::of(&other, &About::default()),
    }
}

/// The provider's name in a `KeyProviderId`.
pub(super) fn provider_name(element: &Element) -> Outcome<Name> {
    let text = element.text_of("id").unwrap_or_default().trim();
    text.parse().map_err(|error: vm_inventory::NameError| {
        Fault::invalid_argument("clusterId.id", error.to_string())
    })
}

/// The provider that an argument names.
pub(super) fn named(request: &Request<'_>, argument: &str) -> Outcome<Name> {
    provider_name(request.object(argument)?)
}

fn own_providers(call: &Call, act: &Act) -> Outcome<Vec<ProviderView>> {
    let mut all = act.providers().map_err(failed)?;
    all.retain(|provider| provider.vcenter == call.vcenter.name);
    Ok(all)
}

/// Every key provider of the vCenter.
pub(crate) fn clusters(call: &Call) -> Outcome<Vec<Object>> {
    let act = call.act()?;
    own_providers(call, &act)?
        .iter()
        .map(|provider| cluster(call, &act, provider))
        .collect()
}

/// Who manages a provider, by the word of the API.
fn managed_by(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Native => "nativeProvider",
        ProviderKind::Standard => "vCenter",
        ProviderKind::Trusted => "trustAuthority",
    }
}

fn cluster(call: &Call, act: &Act, provider: &ProviderView) -> Outcome<Object> {
    let object = Object::new("KmipClusterInfo")
        .with("clusterId", inventory::provider_id(provider.name.as_str()))
        .with("useAsDefault", provider.default);
    Ok(match provider.kind {
        ProviderKind::Native => object
            .with("managementType", managed_by(provider.kind))
            .with("hasBackup", provider.status == "active")
            .with("tpmRequired", false),
        _ => object
            .with("managementType", managed_by(provider.kind))
            .with(
                "servers",
                Value::objects("KmipServerInfo", servers(call, act, provider)?),
            ),
    })
}

fn servers(call: &Call, act: &Act, provider: &ProviderView) -> Outcome<Vec<Object>> {
    let setup = act
        .key_server_setup(&call.vcenter.name, &provider.name)
        .map_err(failed)?;
    let servers = setup.servers.iter().map(|address| {
        let name = setup.names.get(address).unwrap_or(address);
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "5696"));
        Object::new("KmipServerInfo")
            .with("name", name.as_str())
            .with("address", host.trim_matches(['[', ']']))
            .with("port", port.parse().unwrap_or(5696))
    });
    Ok(servers.collect())
}

/// `HOST:PORT` of a server as a client describes it.
pub(super) fn address(info: &Element) -> Outcome<String> {
    let host = info.text_of("address").unwrap_or_default().trim();
    let port = info.number("port").unwrap_or(0);
    let port = match u16::try_from(port) {
        Ok(0) => 5696,
        Ok(port) => port,
        Err(_) => {
            return Err(Fault::invalid_argument(
                "server.info.port",
                "a port is a number up to 65535",
            ));
        }
    };
    if host.is_empty() {
        return Err(Fault::invalid_argument(
            "server.info.address",
            "the server needs an address",
        ));
    }
    Ok(if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

fn put_server(request: &Request<'_>, replace: bool) -> Outcome<Option<Value>> {
    let spec = request.object("server")?;
    let cluster = spec
        .child("clusterId")
        .ok_or_else(|| Fault::invalid_argument("server.clusterId", "it is missing"))?;
    let info = spec
        .child("info")
        .ok_or_else(|| Fault::invalid_argument("server.info", "it is missing"))?;
    if spec.child("password").is_some_and(|it| !it.text.is_empty())
        || info.child("userName").is_some_and(|it| !it.text.is_empty())
    {
        return Err(Fault::not_supported(
            "key servers know clients by their certificates here, not by names and passwords",
        ));
    }
    request
        .call
        .act()?
        .register_key_server(
            &request.call.vcenter.name,
            &provider_name(cluster)?,
            info.text_of("name").unwrap_or_default().trim(),
            &address(info)?,
            replace,
        )
        .map_err(failed)?;
    Ok(None)
}

pub(super) fn register_server(request: &Request<'_>) -> Outcome<Option<Value>> {
    put_server(request, false)
}

pub(super) fn update_server(request: &Request<'_>) -> Outcome<Option<Value>> {
    put_server(request, true)
}

pub(super) fn remove_server(request: &Request<'_>) -> Outcome<Option<Value>> {
    let server = request.text("serverName")?.trim();
    request
        .call
        .act()?
        .remove_key_server(
            &request.call.vcenter.name,
            &named(request, "clusterId")?,
            server,
        )
        .map_err(failed_or_used)?;
    Ok(None)
}

pub(super) fn unregister(request: &Request<'_>) -> Outcome<Option<Value>> {
    request
        .call
        .act()?
        .remove_provider(&request.call.vcenter.name, &named(request, "clusterId")?)
        .map_err(failed_or_used)?;
    Ok(None)
}

fn failed_or_used(error: Error) -> Box<Fault> {
    match error {
        Error::BadValue(message) => Fault::new("ResourceInUse", message),
        other => failed(other),
    }
}

pub(super) fn list_servers(request: &Request<'_>) -> Outcome<Option<Value>> {
    let mut found = clusters(request.call)?;
    // The older method knows of key servers only.
    found.retain(|it| it.get("managementType") == Some(&"vCenter".into()));
    limit(&mut found, request)?;
    Ok(Some(Value::objects("KmipClusterInfo", found)))
}

pub(super) fn list_clusters(request: &Request<'_>) -> Outcome<Option<Value>> {
    const STANDARD: i64 = 1;
    const TRUSTED: i64 = 2;
    const NATIVE: i64 = 4;
    let filter = request
        .args
        .number("managementTypeFilter")
        .unwrap_or(STANDARD | TRUSTED | NATIVE);
    let with_servers = request.args.flag("includeKmsServers");
    let mut found = Vec::new();
    for info in clusters(request.call)? {
        let bit = match info.get("managementType") {
            Some(Value::Text(kind)) if kind == "nativeProvider" => NATIVE,
            Some(Value::Text(kind)) if kind == "trustAuthority" => TRUSTED,
            _ => STANDARD,
        };
        if filter & bit != 0 {
            found.push(if with_servers {
                info
            } else {
                info.without("servers")
            });
        }
    }
    Ok(Some(Value::objects("KmipClusterInfo", found)))
}

fn limit<T>(found: &mut Vec<T>, request: &Request<'_>) -> Outcome<()> {
    if let Some(limit) = request.args.number("limit") {
        let limit = usize::try_from(limit)
            .map_err(|_| Fault::invalid_argument("limit", "a limit is not negative"))?;
        found.truncate(limit);
    }
    Ok(())
}

pub(super) fn mark_default(request: &Request<'_>) -> Outcome<Option<Value>> {
    let name = named(request, "clusterId")?;
    request
        .call
        .act()?
        .set_default_provider(&request.call.vcenter.name, Some(&name))
        .map_err(failed)?;
    Ok(None)
}

pub(super) fn set_default(request: &Request<'_>) -> Outcome<Option<Value>> {
    no_entity(request)?;
    let name = request
        .args
        .child("clusterId")
        .map(provider_name)
        .transpose()?;
    request
        .call
        .act()?
        .set_default_provider(&request.call.vcenter.name, name.as_ref())
        .map_err(failed)?;
    Ok(None)
}

/// Defaults are set for whole vCenters.
fn no_entity(request: &Request<'_>) -> Outcome<()> {
    match request.args.reference("entity")? {
        Some(entity) if entity != inventory::root_folder() => Err(Fault::not_supported(
            "the default key provider is that of the whole vCenter here; leave the entity out",
        )),
        _ => Ok(()),
    }
}

pub(super) fn get_default(request: &Request<'_>) -> Outcome<Option<Value>> {
    if let Some(entity) = request.args.reference("entity")?
        && entity != inventory::root_folder()
        && !request.args.flag("defaultsToParent")
    {
        return Ok(None);
    }
    let act = request.call.act()?;
    let default = own_providers(request.call, &act)?
        .into_iter()
        .find(|provider| provider.default);
    Ok(default.map(|provider| inventory::provider_id(provider.name.as_str()).into()))
}

fn is_usable(act: &Act, provider: &ProviderView) -> Outcome<bool> {
    if provider.kind == ProviderKind::Native {
        return Ok(provider.status == "active");
    }
    if provider.status != "registered" {
        return Ok(false);
    }
    let status = act
        .provider_status(Some(&provider.vcenter), &provider.name)
        .map_err(failed)?;
    Ok(status.servers.iter().any(|server| server.usable))
}

pub(super) fn is_active(request: &Request<'_>) -> Outcome<Option<Value>> {
    let act = request.call.act()?;
    let providers = own_providers(request.call, &act)?;
    let wanted = request
        .args
        .child("cluster")
        .map(provider_name)
        .transpose()?;
    let found = providers.iter().find(|provider| match &wanted {
        Some(name) => provider.name == *name,
        None => provider.default,
    });
    let provider = found.ok_or_else(|| {
        Fault::invalid_argument("cluster", "this vCenter has no such key provider")
    })?;
    Ok(Some(is_usable(&act, provider)?.into()))
}

pub(super) fn status(request: &Request<'_>) -> Outcome<Option<Value>> {
    let mut wanted = Vec::new();
    for cluster in request.args.all("clusters") {
        if let Some(id) = cluster.child("clusterId") {
            wanted.push(provider_name(id)?);
        }
    }
    let providers = own_providers(request.call, &request.call.act()?)?;
    if let Some(missing) = wanted
        .iter()
        .find(|name| providers.iter().all(|provider| provider.name != **name))
    {
        return Err(Fault::invalid_argument(
            "clusters",
            format!("this vCenter has no key provider {missing}"),
        ));
    }
    let call = request.call.clone();
    let task = request.call.start(
        "RetrieveKmipServersStatus_Task",
        &request.this,
        "CryptoManager",
        move |work| {
            let mut found = Vec::new();
            for provider in providers {
                if wanted.is_empty() || wanted.contains(&provider.name) {
                    found.push(status_of(&call, &work.act, &provider)?);
                }
            }
            Ok(Some(Value::objects(
                "CryptoManagerKmipClusterStatus",
                found,
            )))
        },
    )?;
    Ok(Some(task))
}

fn status_of(call: &Call, act: &Act, provider: &ProviderView) -> Outcome<Object> {
    let color =
        |good: bool| Value::choice("ManagedEntityStatus", if good { "green" } else { "red" });
    let object = Object::new("CryptoManagerKmipClusterStatus")
        .with("clusterId", inventory::provider_id(provider.name.as_str()));
    if provider.kind == ProviderKind::Native {
        let word = if provider.status == "active" {
            "green"
        } else {
            "yellow"
        };
        return Ok(object
            .with("overallStatus", Value::choice("ManagedEntityStatus", word))
            .with("managementType", managed_by(provider.kind))
            .with(
                "servers",
                Value::objects("CryptoManagerKmipServerStatus", []),
            ));
    }
    let setup = act
        .key_server_setup(&call.vcenter.name, &provider.name)
        .map_err(failed)?;
    let trusts = !setup.server_certificates.is_empty();
    // Before both sides trust each other there is nothing to ask.
    let by_tpm = provider.kind == ProviderKind::Trusted;
    let asked = if by_tpm || (trusts && setup.client_certificate.is_some()) {
        act.provider_status(Some(&provider.vcenter), &provider.name)
            .map_err(failed)?
            .servers
    } else {
        Vec::new()
    };
    let mut any = false;
    let servers: Vec<Object> = setup
        .servers
        .iter()
        .map(|address| {
            let answer = asked.iter().find(|server| server.server == *address);
            let usable = answer.is_some_and(|server| server.usable);
            any |= usable;
            let told = match answer {
                Some(server) => server.detail.clone(),
                None if !trusts => "its certificate is not trusted yet".to_owned(),
                None => "there is no client certificate for it yet".to_owned(),
            };
            Object::new("CryptoManagerKmipServerStatus")
                .with("name", setup.names.get(address).unwrap_or(address).as_str())
                .with("status", color(usable))
                .with("connectionStatus", told)
                .with("clientTrustServer", trusts)
                .with("serverTrustClient", usable)
        })
        .collect();
    Ok(object
        .with("overallStatus", color(any))
        .with("managementType", managed_by(provider.kind))
        .with(
            "servers",
            Value::objects("CryptoManagerKmipServerStatus", servers),
        ))
}

pub(super) fn generate_key(request: &Request<'_>) -> Outcome<Option<Value>> {
    let provider = request
        .args
        .child("keyProvider")
        .map(provider_name)
        .transpose()?;
    if request
        .args
        .child("spec")
        .is_some_and(|spec| !spec.children.is_empty())
    {
        return Err(Fault::not_supported(
            "attributes of keys are not supported here",
        ));
    }
    let made = request
        .call
        .act()?
        .make_key(&request.call.vcenter.name, provider.as_ref());
    let result = |provider: &str, key: &str, success: bool| {
        Object::new("CryptoKeyResult")
            .with("keyId", inventory::key_id(provider, key))
            .with("success", success)
    };
    match made {
        Ok((provider, key)) => Ok(Some(result(provider.as_str(), &key, true).into())),
        // Whoever may do it and named a provider that is there is told by the result.
        Err(error @ (Error::BadValue(_) | Error::KeyProvider(_))) => {
            let name = provider.as_ref().map_or("", Name::as_str);
            let told = result(name, "", false).with("reason", error.to_string());
            Ok(Some(told.into()))
        }
        Err(other) => Err(failed(other)),
    }
}

pub(super) fn list_keys(request: &Request<'_>) -> Outcome<Option<Value>> {
    let act = request.call.act()?;
    let mut found = Vec::new();
    for provider in own_providers(request.call, &act)? {
        let keys = act
            .provider_keys(Some(&provider.vcenter), &provider.name)
            .map_err(failed)?;
        found.extend(
            keys.iter()
                .map(|key| inventory::key_id(provider.name.as_str(), &key.key_id)),
        );
    }
    limit(&mut found, request)?;
    Ok(Some(Value::objects("CryptoKeyId", found)))
}

pub(super) fn key_status(request: &Request<'_>) -> Outcome<Option<Value>> {
    const AVAILABLE: i64 = 1;
    const USED_BY_VMS: i64 = 2;
    let bits = request.args.number("checkKeyBitMap").unwrap_or(AVAILABLE);
    let act = request.call.act()?;
    let world = request.world()?;
    let providers = own_providers(request.call, &act)?;
    let mut found = Vec::new();
    for element in request.args.all("keyIds") {
        let key = super::reconfigure::read_key(element)?;
        let id = key.id.unwrap_or_default();
        let provider = providers
            .iter()
            .find(|provider| key.provider.as_ref() == Some(&provider.name));
        let mut object = Object::new("CryptoManagerKmipCryptoKeyStatus").with(
            "keyId",
            inventory::key_id(key.provider.as_ref().map_or("", Name::as_str), &id),
        );
        if bits & AVAILABLE != 0 {
            let state = match provider {
                Some(provider) => act
                    .key_state(&provider.vcenter, &provider.name, &id)
                    .map_err(failed)?,
                None => KeyState::Unusable,
            };
            object = object
                .with("keyAvailable", state == KeyState::Usable)
                .with_some("reason", reason(state));
        }
        if bits & USED_BY_VMS != 0
            && let Some(provider) = provider
        {
            let uses = act
                .provider_keys(Some(&provider.vcenter), &provider.name)
                .map_err(failed)?;
            let names: Vec<&Name> = uses
                .iter()
                .filter(|it| it.key_id == id)
                .flat_map(|it| &it.vms)
                .collect();
            let vms = world.vms.iter().filter(|vm| {
                names.contains(&&vm.name) && vm.provider.as_ref() == Some(&provider.name)
            });
            object = object.with(
                "encryptedVMs",
                Value::refs(vms.map(|vm| inventory::vm(vm.id))),
            );
        }
        found.push(object);
    }
    Ok(Some(Value::objects(
        "CryptoManagerKmipCryptoKeyStatus",
        found,
    )))
}

/// Why a key cannot be used, by the words of the API.
fn reason(state: KeyState) -> Option<&'static str> {
    match state {
        KeyState::Usable => None,
        KeyState::Unreachable => Some("KeyStateClusterUnreachable"),
        KeyState::Missing => Some("KeyStateMissingInKMS"),
        KeyState::NotActive => Some("KeyStateNotActiveOrEnabled"),
        KeyState::Unusable => Some("KeyStateClusterInvalid"),
    }
}
