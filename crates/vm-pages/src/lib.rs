//! Pages over the inventory, for people with a browser: `/ui/` on the daemon's listener.
//!
//! Everything is made on this side and works without scripts: links, forms that are posted, redirects. One small script makes it live: it
//! listens to tasks as they change and copies lines to the clipboard. Who asks is known by a cookie that holds a token of the same
//! [`vm_web::Sessions`] as the API's; what they may see and do, [`vm_inventory::Scoped`] decides. No rule stands here.

#![forbid(unsafe_code)]

mod assets;
mod audit;
mod catalog;
mod catalog_operations;
mod choices;
mod chrome;
mod events;
mod fields;
mod form;
mod guard;
mod inventory;
mod lineage;
mod login;
mod operate;
mod packages;
mod parts;
mod preview;
mod providers;
mod refusal;
mod setup;
mod sight;
mod snapshots;
mod tasks;
mod tpm;
mod vapp;
mod vapp_operations;
mod visitor;
mod vm;
mod vm_operations;

pub use sight::{Bank, Lockout, NvIndex, Persistent, Sight, TpmSight};

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Router, http::StatusCode};
use std::sync::Arc;
use vm_web::{Problem, Web};

/// Forms are small.
const BODY_LIMIT: usize = 64 * 1024;

/// What every page may use. Clones share it.
#[derive(Clone)]
pub(crate) struct Pages {
    web: Web,
    sight: Arc<dyn Sight>,
}

/// The pages over the same operations, jobs and sessions as `web`; `sight` shows the TPMs that run.
pub fn router(web: Web, sight: Arc<dyn Sight>) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/ui/")))
        .route("/ui", get(async || Redirect::to("/ui/")))
        .route("/ui/", get(inventory::show))
        .route("/ui/login", get(login::ask).post(login::log_in))
        .route("/ui/logout", post(login::log_out))
        .route("/ui/assets/{name}", get(assets::serve))
        .route(
            "/ui/new/vm",
            get(vm_operations::ask_new).post(vm_operations::new),
        )
        .route(
            "/ui/new/vapp",
            get(vapp_operations::ask_new).post(vapp_operations::new),
        )
        .route("/ui/vms/{vm}", get(vm::show))
        .route("/ui/vms/{vm}/lineage", get(lineage::show))
        .route("/ui/vms/{vm}/certificates/{key}", get(tpm::certificate))
        .route(
            "/ui/vms/{vm}/do/{operation}",
            get(vm_operations::ask).post(vm_operations::act),
        )
        .route("/ui/vapps/{vapp}", get(vapp::show))
        .route(
            "/ui/vapps/{vapp}/do/{operation}",
            get(vapp_operations::ask).post(vapp_operations::act),
        )
        .route("/ui/catalogs/{organization}/{catalog}", get(catalog::show))
        .route(
            "/ui/catalogs/{organization}/{catalog}/do/{operation}",
            get(catalog_operations::look_at_catalog).post(catalog_operations::act_on_catalog),
        )
        .route("/ui/vms/{vm}/package", get(packages::download_vm))
        .route("/ui/vapps/{vapp}/package", get(packages::download_vapp))
        .route(
            "/ui/templates/{template}/package",
            get(packages::download_template),
        )
        .route("/ui/setup", get(setup::show))
        .route("/ui/setup/do/{what}", get(setup::ask).post(setup::act))
        .route("/ui/templates/{template}", get(catalog::show_template))
        .route(
            "/ui/templates/{template}/do/{operation}",
            get(catalog_operations::ask).post(catalog_operations::act),
        )
        .route("/ui/tasks", get(tasks::list))
        .route("/ui/tasks/events", get(tasks::events))
        .route("/ui/tasks/{task}", get(tasks::show))
        .route("/ui/tasks/{task}/cancel", post(tasks::cancel))
        .route("/ui/events", get(events::show))
        .route("/ui/providers", get(providers::list))
        .route("/ui/providers/{vcenter}/{provider}", get(providers::show))
        .route(
            "/ui/providers/{vcenter}/{provider}/do/{operation}",
            get(providers::ask).post(providers::act),
        )
        .route("/ui/audit", get(audit::show))
        .route("/ui/{*rest}", get(nothing_here))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        // Packages are streams with limits of their own.
        .merge(uploads())
        .layer(from_fn(guard::protect))
        .with_state(Pages { web, sight })
}

fn uploads() -> Router<Pages> {
    Router::new()
        .route(
            "/ui/new/package",
            get(packages::ask_for_vapp).post(packages::take_vapp),
        )
        .route(
            "/ui/catalogs/{organization}/{catalog}/upload",
            get(packages::ask_for_template).post(packages::take_template),
        )
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
}

async fn nothing_here() -> refusal::Refusal {
    refusal::Refusal::new(
        StatusCode::NOT_FOUND,
        "There is no such page",
        "the address is none of these pages; the inventory leads to all of them",
    )
}

async fn wrong_method() -> refusal::Refusal {
    refusal::Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "This page does not take that",
        "go back, and use the buttons of the page",
    )
}

/// A problem of ours, in the words of the API's.
fn problem(status: StatusCode, title: &str, detail: impl Into<String>) -> Problem {
    Problem {
        kind: "urn:vtpm:problem:page".to_owned(),
        title: title.to_owned(),
        status: status.as_u16(),
        detail: detail.into(),
        failures: Vec::new(),
    }
}
