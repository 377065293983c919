//! Another vCenter, as a request names it: by the address of its service, its identifier, and credentials for it.

use super::Request;
use crate::arguments::Read as _;
use crate::fault::{self, About, Fault, Outcome};
use crate::inventory::World;
use crate::properties::instance_uuid;
use crate::xml::Element;
use uuid::Uuid;
use vm_inventory::Name;

/// The vCenter that a request means, which is one of this product, with what it has.
pub(super) fn other(request: &Request<'_>, service: &Element) -> Outcome<World> {
    let act = request.call.act()?;
    let failed = |error| fault::of(&error, &About::default());
    let all = act.vcenters().map_err(failed)?;
    let uuid = service.text_of("instanceUuid").unwrap_or_default().trim();
    let url = service.text_of("url").unwrap_or_default().trim();
    let named = vcenter_in(url);
    let found = all.into_iter().find(|vcenter| {
        let by_uuid = instance_uuid(vcenter.name.as_str()).eq_ignore_ascii_case(uuid);
        by_uuid
            && named
                .as_deref()
                .is_none_or(|name| name == vcenter.name.as_str())
    });
    let vcenter = found.ok_or_else(|| {
        Fault::invalid_argument(
            "spec.service",
            "no vCenter here has that address and instanceUuid; ServiceContent.about.instanceUuid tells it",
        )
    })?;
    check_credential(request, service)?;
    let datastores = act.datastores().map_err(failed)?;
    let vms = act.vms().map_err(failed)?;
    let folders = act.vm_folders(&vcenter.name).map_err(failed)?;
    let placed = act.vms_in_folders(&vcenter.name).map_err(failed)?;
    Ok(World::new(vcenter, datastores, vms).with_folders(folders, placed))
}

/// The vCenter's name in `https://HOST/NAME/sdk`; `None` if the address names none.
fn vcenter_in(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let path = rest.split_once('/')?.1;
    let (name, end) = path.split_once('/')?;
    (end.trim_end_matches('/') == "sdk" && !name.is_empty()).then(|| name.to_owned())
}

/// Whoever moves a VM must be somebody on the other side too.
fn check_credential(request: &Request<'_>, service: &Element) -> Outcome<()> {
    let credential = service
        .child("credential")
        .ok_or_else(|| Fault::invalid_argument("spec.service.credential", "it is missing"))?;
    let kind = credential.kind.as_deref();
    if kind != Some("ServiceLocatorNamePassword") {
        return Err(Fault::not_supported(
            "only names with passwords are taken as credentials for the other vCenter",
        ));
    }
    let user = credential.text_of("username").unwrap_or_default();
    let password = credential.text_of("password").unwrap_or_default();
    let check = request.call.server.logins.check(user, password);
    let principal = tokio::runtime::Handle::current().block_on(check)?;
    let own = &request.call.login()?.principal;
    if principal.organization == own.organization {
        return Ok(());
    }
    let message = "the credentials for the other vCenter belong to another organization";
    Err(Fault::new("InvalidLogin", message))
}

/// The datastore that a specification names, on its vCenter.
pub(super) fn datastore(world: &World, spec: &Element) -> Outcome<Option<Name>> {
    match spec.reference("datastore")? {
        Some(named) => Ok(Some(world.datastore(&named)?.name.clone())),
        None => Ok(None),
    }
}

/// Folder, pool and host that a specification names are there.
pub(super) fn check_place(world: &World, spec: &Element) -> Outcome<()> {
    for name in ["folder", "pool", "host"] {
        if let Some(named) = spec.reference(name)?
            && !world.has(&named)
        {
            return Err(Fault::object_not_found(&named));
        }
    }
    Ok(())
}

/// The folder that a specification names: `None` if it names none.
pub(super) fn folder(world: &World, spec: &Element) -> Outcome<Option<Option<Uuid>>> {
    match spec.reference("folder")? {
        Some(folder) => super::folders::of_vms(world, &folder).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_address_names_the_vcenter() {
        let name = |url: &str| vcenter_in(url);
        assert_eq!(
            name("https://127.0.0.1:8443/vc02/sdk").as_deref(),
            Some("vc02")
        );
        assert_eq!(name("https://127.0.0.1:8443/sdk"), None);
        assert_eq!(name("https://127.0.0.1:8443"), None);
        assert_eq!(name("vc02"), None);
    }
}
