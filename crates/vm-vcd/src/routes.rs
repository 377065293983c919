//! The table of routes: every request that there is, what it takes, and what it does. The page `docs/vcd.md` lists the same.

use crate::act::{access, catalog, compose, import, look, power, remarks, snapshot, vm};
use crate::call::{Answer, Call};
use crate::ids::strict;
use crate::query;
use crate::schema::{Root, request};
use axum::http::Method;
use uuid::Uuid;

/// What a route does.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Something for somebody who is logged in.
    Call(fn(&Call) -> Answer),
    /// Shows the versions, to anybody.
    Versions,
    /// Logs in, by XML.
    LogIn,
    /// Logs in, by JSON; for users of the system alone if so.
    CloudLogIn { system: bool },
    /// Shows the session, in JSON.
    CloudSession,
    /// Logs out.
    LogOut,
}

/// One request that there is.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// The path; `{id}` stands for an identifier, also at the end of a part.
    pub(crate) path: &'static str,
    /// What the body may begin with; nothing if there is none.
    pub(crate) takes: &'static [&'static Root],
    /// Whether the body may be left out.
    pub(crate) optional: bool,
    pub(crate) run: Run,
}

const fn get(path: &'static str, run: fn(&Call) -> Answer) -> Route {
    route(Method::GET, path, &[], Run::Call(run))
}

const fn put(
    path: &'static str,
    takes: &'static [&'static Root],
    run: fn(&Call) -> Answer,
) -> Route {
    route(Method::PUT, path, takes, Run::Call(run))
}

const fn delete(path: &'static str, run: fn(&Call) -> Answer) -> Route {
    route(Method::DELETE, path, &[], Run::Call(run))
}

const fn post(
    path: &'static str,
    takes: &'static [&'static Root],
    run: fn(&Call) -> Answer,
) -> Route {
    route(Method::POST, path, takes, Run::Call(run))
}

const fn maybe(
    path: &'static str,
    takes: &'static [&'static Root],
    run: fn(&Call) -> Answer,
) -> Route {
    let mut it = post(path, takes, run);
    it.optional = true;
    it
}

const fn route(
    method: Method,
    path: &'static str,
    takes: &'static [&'static Root],
    run: Run,
) -> Route {
    Route {
        method,
        path,
        takes,
        optional: false,
        run,
    }
}

/// Every request that there is.
pub(crate) static ROUTES: &[Route] = &[
    route(Method::GET, "/api/versions", &[], Run::Versions),
    route(Method::POST, "/api/sessions", &[], Run::LogIn),
    get("/api/session", look::show_session),
    route(Method::DELETE, "/api/session", &[], Run::LogOut),
    route(
        Method::POST,
        "/cloudapi/1.0.0/sessions",
        &[],
        Run::CloudLogIn { system: false },
    ),
    route(
        Method::POST,
        "/cloudapi/1.0.0/sessions/provider",
        &[],
        Run::CloudLogIn { system: true },
    ),
    route(
        Method::GET,
        "/cloudapi/1.0.0/sessions/current",
        &[],
        Run::CloudSession,
    ),
    route(
        Method::DELETE,
        "/cloudapi/1.0.0/sessions/current",
        &[],
        Run::LogOut,
    ),
    get("/api/org", look::list_organizations),
    get("/api/org/{id}", look::show_organization),
    get("/api/tasksList/{id}", look::list_tasks),
    get("/api/query", query::run),
    get("/api/task/{id}", look::show_task),
    post("/api/task/{id}/action/cancel", &[], look::cancel_task),
    get("/api/vdc/{id}", look::show_vdc),
    get("/api/vdcStorageProfile/{id}", look::show_storage_profile),
    post(
        "/api/vdc/{id}/action/composeVApp",
        &[&request::COMPOSE_ROOT],
        compose::compose,
    ),
    post(
        "/api/vdc/{id}/action/cloneVApp",
        &[&request::CLONE_ROOT],
        compose::clone,
    ),
    post(
        "/api/vdc/{id}/action/moveVApp",
        &[&request::MOVE_ROOT],
        compose::move_vapp,
    ),
    post(
        "/api/vdc/{id}/action/instantiateVAppTemplate",
        &[&request::INSTANTIATE_TEMPLATE_ROOT],
        compose::instantiate,
    ),
    post(
        "/api/vdc/{id}/action/instantiateVmTemplate",
        &[&request::INSTANTIATE_VM_ROOT],
        vm::instantiate,
    ),
    post(
        "/api/vdc/{id}/action/createVm",
        &[&request::CREATE_VM_ROOT],
        vm::create,
    ),
    post(
        "/api/vdc/{id}/action/uploadVAppTemplate",
        &[&request::UPLOAD_ROOT],
        catalog::upload_to_vdc,
    ),
    get("/api/vApp/vapp-{id}", look::show_vapp),
    put(
        "/api/vApp/vapp-{id}",
        &[&request::VAPP_EDIT_ROOT],
        compose::rename,
    ),
    delete("/api/vApp/vapp-{id}", compose::delete),
    get(
        "/api/vApp/vapp-{id}/leaseSettingsSection",
        access::show_leases,
    ),
    put(
        "/api/vApp/vapp-{id}/leaseSettingsSection",
        &[&request::LEASE_EDIT_ROOT],
        access::set_leases,
    ),
    get(
        "/api/vApp/vapp-{id}/networkConfigSection",
        look::show_networks,
    ),
    get("/api/vApp/vapp-{id}/controlAccess", access::show),
    post(
        "/api/vApp/vapp-{id}/action/controlAccess",
        &[&request::SHARE_ROOT],
        access::share,
    ),
    get("/api/catalog/{id}/controlAccess", access::show),
    post(
        "/api/catalog/{id}/action/controlAccess",
        &[&request::SHARE_ROOT],
        access::share,
    ),
    get("/api/vdc/{id}/controlAccess", access::show),
    put(
        "/api/vdc/{id}/action/controlAccess",
        &[&request::SHARE_ROOT],
        access::share,
    ),
    maybe(
        "/api/vApp/vapp-{id}/action/createSnapshot",
        &[&request::SNAPSHOT_ROOT],
        snapshot::take_all,
    ),
    post(
        "/api/vApp/vapp-{id}/action/revertToCurrentSnapshot",
        &[],
        snapshot::revert_all,
    ),
    post(
        "/api/vApp/vapp-{id}/action/removeAllSnapshots",
        &[],
        snapshot::remove_all_of_vapp,
    ),
    post(
        "/api/vApp/vapp-{id}/action/recomposeVApp",
        &[&request::RECOMPOSE_ROOT],
        compose::recompose,
    ),
    maybe(
        "/api/vApp/vapp-{id}/action/deploy",
        &[&request::DEPLOY_ROOT],
        power::deploy_vapp,
    ),
    maybe(
        "/api/vApp/vapp-{id}/action/undeploy",
        &[&request::UNDEPLOY_ROOT],
        power::undeploy_vapp,
    ),
    post(
        "/api/vApp/vapp-{id}/power/action/powerOn",
        &[],
        power::vapp_on,
    ),
    post(
        "/api/vApp/vapp-{id}/power/action/powerOff",
        &[],
        power::vapp_off,
    ),
    post(
        "/api/vApp/vapp-{id}/power/action/shutdown",
        &[],
        power::vapp_off,
    ),
    post(
        "/api/vApp/vapp-{id}/power/action/reset",
        &[],
        power::vapp_reset,
    ),
    post(
        "/api/vApp/vapp-{id}/power/action/reboot",
        &[],
        power::vapp_reset,
    ),
    post(
        "/api/vApp/vapp-{id}/power/action/suspend",
        &[],
        power::vapp_suspend,
    ),
    post(
        "/api/vApp/vapp-{id}/action/discardSuspendedState",
        &[],
        power::vapp_discard,
    ),
    get("/api/vApp/vm-{id}", look::show_vm),
    put(
        "/api/vApp/vm-{id}",
        &[&request::RECONFIGURE_ROOT],
        vm::reconfigure,
    ),
    get(
        "/api/vApp/vm-{id}/networkConnectionSection",
        look::show_connections,
    ),
    get(
        "/api/vApp/vm-{id}/virtualHardwareSection/cpu",
        vm::show_cpus,
    ),
    put(
        "/api/vApp/vm-{id}/virtualHardwareSection/cpu",
        &[&request::RASD_ITEM_EDIT_ROOT],
        vm::set_cpus,
    ),
    get(
        "/api/vApp/vm-{id}/virtualHardwareSection/memory",
        vm::show_memory,
    ),
    put(
        "/api/vApp/vm-{id}/virtualHardwareSection/memory",
        &[&request::RASD_ITEM_EDIT_ROOT],
        vm::set_memory,
    ),
    get(
        "/api/vApp/vm-{id}/virtualHardwareSection/disks",
        vm::show_disks,
    ),
    get(
        "/api/vApp/vm-{id}/virtualHardwareSection/media",
        vm::show_media,
    ),
    get(
        "/api/vApp/vm-{id}/virtualHardwareSection/networkCards",
        vm::show_cards,
    ),
    delete("/api/vApp/vm-{id}", vm::delete),
    get("/api/vApp/vm-{id}/trustedPlatformModule", look::show_tpm),
    post(
        "/api/vApp/vm-{id}/action/editTrustedPlatformModule",
        &[&request::EDIT_TPM_ROOT, &request::EDIT_TPM_SECTION_ROOT],
        vm::edit_tpm,
    ),
    post(
        "/api/vApp/vm-{id}/action/reconfigureVm",
        &[&request::RECONFIGURE_ROOT],
        vm::reconfigure,
    ),
    maybe(
        "/api/vApp/vm-{id}/action/deploy",
        &[&request::DEPLOY_ROOT],
        power::deploy_vm,
    ),
    maybe(
        "/api/vApp/vm-{id}/action/undeploy",
        &[&request::UNDEPLOY_ROOT],
        power::undeploy_vm,
    ),
    post("/api/vApp/vm-{id}/power/action/powerOn", &[], power::vm_on),
    post(
        "/api/vApp/vm-{id}/power/action/powerOff",
        &[],
        power::vm_off,
    ),
    post(
        "/api/vApp/vm-{id}/power/action/shutdown",
        &[],
        power::vm_off,
    ),
    post("/api/vApp/vm-{id}/power/action/reset", &[], power::vm_reset),
    post(
        "/api/vApp/vm-{id}/power/action/reboot",
        &[],
        power::vm_reset,
    ),
    post(
        "/api/vApp/vm-{id}/power/action/suspend",
        &[],
        power::vm_suspend,
    ),
    post(
        "/api/vApp/vm-{id}/action/discardSuspendedState",
        &[],
        power::vm_discard,
    ),
    get("/api/vApp/vm-{id}/snapshotSection", snapshot::show),
    maybe(
        "/api/vApp/vm-{id}/action/createSnapshot",
        &[&request::SNAPSHOT_ROOT],
        snapshot::take,
    ),
    post(
        "/api/vApp/vm-{id}/action/revertToCurrentSnapshot",
        &[],
        snapshot::revert,
    ),
    post(
        "/api/vApp/vm-{id}/action/removeAllSnapshots",
        &[],
        snapshot::remove_all,
    ),
    get("/api/vApp/vm-{id}/metadata", remarks::show),
    post(
        "/api/vApp/vm-{id}/metadata",
        &[&request::METADATA_EDIT_ROOT],
        remarks::say,
    ),
    get("/api/vApp/vm-{id}/metadata/{key}", remarks::show_value),
    put(
        "/api/vApp/vm-{id}/metadata/{key}",
        &[&request::METADATA_VALUE_EDIT_ROOT],
        remarks::set_value,
    ),
    delete("/api/vApp/vm-{id}/metadata/{key}", remarks::remove_value),
    get("/api/vApp/vapp-{id}/metadata", remarks::show),
    post(
        "/api/vApp/vapp-{id}/metadata",
        &[&request::METADATA_EDIT_ROOT],
        remarks::say,
    ),
    get("/api/vApp/vapp-{id}/metadata/{key}", remarks::show_value),
    put(
        "/api/vApp/vapp-{id}/metadata/{key}",
        &[&request::METADATA_VALUE_EDIT_ROOT],
        remarks::set_value,
    ),
    delete("/api/vApp/vapp-{id}/metadata/{key}", remarks::remove_value),
    get(
        "/api/vAppTemplate/vappTemplate-{id}/metadata",
        remarks::show,
    ),
    post(
        "/api/vAppTemplate/vappTemplate-{id}/metadata",
        &[&request::METADATA_EDIT_ROOT],
        remarks::say,
    ),
    get(
        "/api/vAppTemplate/vappTemplate-{id}/metadata/{key}",
        remarks::show_value,
    ),
    put(
        "/api/vAppTemplate/vappTemplate-{id}/metadata/{key}",
        &[&request::METADATA_VALUE_EDIT_ROOT],
        remarks::set_value,
    ),
    delete(
        "/api/vAppTemplate/vappTemplate-{id}/metadata/{key}",
        remarks::remove_value,
    ),
    get("/api/catalogItem/{id}/metadata", remarks::show),
    post(
        "/api/catalogItem/{id}/metadata",
        &[&request::METADATA_EDIT_ROOT],
        remarks::say,
    ),
    get("/api/catalogItem/{id}/metadata/{key}", remarks::show_value),
    put(
        "/api/catalogItem/{id}/metadata/{key}",
        &[&request::METADATA_VALUE_EDIT_ROOT],
        remarks::set_value,
    ),
    delete(
        "/api/catalogItem/{id}/metadata/{key}",
        remarks::remove_value,
    ),
    get("/api/catalog/{id}/metadata", remarks::show),
    post(
        "/api/catalog/{id}/metadata",
        &[&request::METADATA_EDIT_ROOT],
        remarks::say,
    ),
    get("/api/catalog/{id}/metadata/{key}", remarks::show_value),
    put(
        "/api/catalog/{id}/metadata/{key}",
        &[&request::METADATA_VALUE_EDIT_ROOT],
        remarks::set_value,
    ),
    delete("/api/catalog/{id}/metadata/{key}", remarks::remove_value),
    get("/api/admin/catalog/{id}/metadata", remarks::show),
    post(
        "/api/admin/catalog/{id}/metadata",
        &[&request::METADATA_EDIT_ROOT],
        remarks::say,
    ),
    get(
        "/api/admin/catalog/{id}/metadata/{key}",
        remarks::show_value,
    ),
    put(
        "/api/admin/catalog/{id}/metadata/{key}",
        &[&request::METADATA_VALUE_EDIT_ROOT],
        remarks::set_value,
    ),
    delete(
        "/api/admin/catalog/{id}/metadata/{key}",
        remarks::remove_value,
    ),
    get("/api/vdc/{id}/metadata", remarks::show),
    post(
        "/api/vdc/{id}/metadata",
        &[&request::METADATA_EDIT_ROOT],
        remarks::say,
    ),
    get("/api/vdc/{id}/metadata/{key}", remarks::show_value),
    put(
        "/api/vdc/{id}/metadata/{key}",
        &[&request::METADATA_VALUE_EDIT_ROOT],
        remarks::set_value,
    ),
    delete("/api/vdc/{id}/metadata/{key}", remarks::remove_value),
    get("/api/admin/vdc/{id}/metadata", remarks::show),
    post(
        "/api/admin/vdc/{id}/metadata",
        &[&request::METADATA_EDIT_ROOT],
        remarks::say,
    ),
    get("/api/admin/vdc/{id}/metadata/{key}", remarks::show_value),
    put(
        "/api/admin/vdc/{id}/metadata/{key}",
        &[&request::METADATA_VALUE_EDIT_ROOT],
        remarks::set_value,
    ),
    delete("/api/admin/vdc/{id}/metadata/{key}", remarks::remove_value),
    get("/api/vApp/vapp-{id}/owner", remarks::show_owner),
    put(
        "/api/vApp/vapp-{id}/owner",
        &[&request::OWNER_EDIT_ROOT],
        remarks::set_owner,
    ),
    get("/api/admin/catalog/{id}/owner", remarks::show_owner),
    put(
        "/api/admin/catalog/{id}/owner",
        &[&request::OWNER_EDIT_ROOT],
        remarks::set_owner,
    ),
    put(
        "/api/admin/user/{id}",
        &[&request::USER_EDIT_ROOT],
        look::change_user,
    ),
    delete("/api/admin/user/{id}", look::remove_user),
    get(
        "/api/admin/vdcStorageProfile/{id}",
        look::show_admin_storage_profile,
    ),
    get("/api/vAppTemplate/vappTemplate-{id}", look::show_template),
    delete(
        "/api/vAppTemplate/vappTemplate-{id}",
        catalog::delete_template,
    ),
    put(
        "/api/vAppTemplate/vappTemplate-{id}",
        &[&request::TEMPLATE_EDIT_ROOT],
        catalog::rename_template,
    ),
    get("/api/vAppTemplate/vm-{id}", look::show_template_vm),
    get(
        "/api/vAppTemplate/vm-{id}/trustedPlatformModule",
        look::show_template_tpm,
    ),
    get("/api/catalog/{id}", look::show_catalog),
    post(
        "/api/catalog/{id}/action/captureVApp",
        &[&request::CAPTURE_ROOT],
        catalog::capture,
    ),
    post(
        "/api/catalog/{id}/action/upload",
        &[&request::UPLOAD_ROOT],
        catalog::upload,
    ),
    get("/api/catalogItem/{id}", look::show_item),
    delete("/api/catalogItem/{id}", catalog::delete_item),
    get("/api/admin", look::show_vcloud),
    get("/api/admin/user/{id}", look::show_user),
    get("/api/admin/role/{id}", look::show_role),
    get("/api/admin/org/{id}", look::show_admin_organization),
    post(
        "/api/admin/org/{id}/users",
        &[&request::NEW_USER_ROOT],
        look::add_user,
    ),
    post(
        "/api/admin/org/{id}/catalogs",
        &[&request::NEW_CATALOG_ROOT],
        catalog::create,
    ),
    post(
        "/api/admin/catalog/{id}/action/publish",
        &[&request::PUBLISH_ROOT],
        catalog::publish,
    ),
    get("/api/admin/catalog/{id}", look::show_admin_catalog),
    put(
        "/api/admin/catalog/{id}",
        &[&request::CATALOG_EDIT_ROOT, &request::CATALOG_SHOWN_ROOT],
        catalog::rename,
    ),
    delete("/api/admin/catalog/{id}", catalog::delete),
    get("/api/admin/vdc/{id}", look::show_vdc),
    get("/api/admin/extension", look::show_extension),
    get(
        "/api/admin/extension/vimServerReferences",
        look::list_vcenters,
    ),
    get("/api/admin/extension/vimServer/{id}", look::show_vcenter),
    get(
        "/api/admin/extension/vimServer/{id}/vmsList",
        look::list_vcenter_vms,
    ),
    post(
        "/api/admin/extension/vimServer/{id}/importVmAsVApp",
        &[&request::IMPORT_AS_VAPP_ROOT],
        import::as_vapp,
    ),
    post(
        "/api/admin/extension/vimServer/{id}/importVmAsVAppTemplate",
        &[&request::IMPORT_AS_TEMPLATE_ROOT],
        import::as_template,
    ),
];

/// What a path holds besides the words of its route: identifiers, and what stands for `{key}`.
pub(crate) type Fit = (Vec<Uuid>, String);

/// The end of a path that is a key in one or two parts, whatever letters they have.
const KEY: &str = "/{key}";

impl Route {
    /// What a path of this route holds; `None` if it is another one's.
    pub(crate) fn fits(&self, path: &str) -> Option<Fit> {
        let Some(own) = self.path.strip_suffix(KEY) else {
            return Some((Self::matches(self.path, path)?, String::new()));
        };
        let slashes = own.matches('/').count();
        let (at, _) = path.match_indices('/').nth(slashes)?;
        let (before, key) = path.split_at_checked(at)?;
        let key = key.strip_prefix('/')?;
        let fits = !key.is_empty() && key.split('/').count() <= 2;
        let ids = Self::matches(own, before).filter(|_| fits)?;
        Some((ids, key.to_owned()))
    }

    fn matches(own: &str, path: &str) -> Option<Vec<Uuid>> {
        let mut ids = Vec::new();
        // A slash at the end means nothing, where it follows no identifier.
        let path = match path.strip_suffix('/') {
            Some(shorter) if !own.ends_with("{id}") => shorter,
            _ => path,
        };
        let mut own = own.split('/');
        let mut theirs = path.split('/');
        loop {
            match (own.next(), theirs.next()) {
                (None, None) => return Some(ids),
                (Some(own), Some(theirs)) => match own.strip_suffix("{id}") {
                    Some(prefix) => ids.push(strict(theirs.strip_prefix(prefix)?)?),
                    None if own == theirs => {}
                    None => return None,
                },
                _ => return None,
            }
        }
    }

    /// The same path as a router of axum takes it, where a part is a variable as a whole.
    pub(crate) fn pattern(&self) -> String {
        let own = self.path.strip_suffix(KEY).unwrap_or(self.path);
        let parts: Vec<String> = own
            .split('/')
            .enumerate()
            .map(|(number, part)| {
                if part.ends_with("{id}") {
                    format!("{{part{number}}}")
                } else {
                    part.to_owned()
                }
            })
            .collect();
        let end = if own.len() < self.path.len() {
            "/{*key}"
        } else {
            ""
        };
        parts.join("/") + end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_request_is_there_twice() {
        let mut seen = BTreeSet::new();
        for route in ROUTES {
            assert!(
                seen.insert((route.method.to_string(), route.path)),
                "{} {}",
                route.method,
                route.path
            );
        }
    }

    #[test]
    fn identifiers_are_taken_out_of_paths() {
        let vm = ROUTES
            .iter()
            .find(|route| route.path == "/api/vApp/vm-{id}")
            .unwrap();
        let id = Uuid::from_u128(5);
        assert_eq!(
            vm.fits(&format!("/api/vApp/vm-{id}")),
            Some((vec![id], String::new()))
        );
        let value = ROUTES
            .iter()
            .find(|route| route.path == "/api/vApp/vm-{id}/metadata/{key}")
            .unwrap();
        for key in ["GENERAL/team", "team", "with%20space"] {
            let fit = value.fits(&format!("/api/vApp/vm-{id}/metadata/{key}"));
            assert_eq!(fit, Some((vec![id], key.to_owned())));
        }
        for wrong in ["", "a/b/c"] {
            let path = format!("/api/vApp/vm-{id}/metadata/{wrong}");
            assert_eq!(value.fits(&path), None, "{path}");
        }
        assert_eq!(value.pattern(), "/api/vApp/{part3}/metadata/{*key}");
        for path in [
            format!("/api/vApp/vapp-{id}"),
            format!("/api/vApp/{id}"),
            format!("/api/vApp/vm-{id}/"),
            format!("/api/vApp/vm-{}", id.simple()),
            "/api/vApp/vm-x".to_owned(),
            "/api/vApp/vm-".to_owned(),
        ] {
            assert_eq!(vm.fits(&path), None, "{path}");
        }
        assert_eq!(vm.pattern(), "/api/vApp/{part3}");
    }

    #[test]
    fn the_page_lists_every_request_and_no_other() {
        let page = include_str!("../../../docs/vcd.md");
        let told: BTreeSet<(String, String)> = page
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| `")?.split('`');
                let (method, path) = cells.next()?.split_once(' ')?;
                path.starts_with('/')
                    .then(|| (method.to_owned(), path.to_owned()))
            })
            .collect();
        let there: BTreeSet<(String, String)> = ROUTES
            .iter()
            .map(|route| (route.method.to_string(), route.path.to_owned()))
            .collect();
        assert_eq!(told, there);
    }
}
