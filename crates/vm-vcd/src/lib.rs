//! The VMware Cloud Director API over the inventory: `/api` and `/cloudapi`.
//!
//! A thin translation: `routes` lists every request, `schema` describes every body once for XML and JSON, and handlers call the
//! operations of the inventory as the user has them. No rule stands here.

#![forbid(unsafe_code)]

mod act;
mod call;
mod fault;
mod ids;
mod json;
mod node;
mod query;
mod routes;
mod schema;
mod sessions;
mod show;
mod uploads;
mod version;
mod visit;
mod xml;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodFilter, any, on, put};
use call::Server;
use std::collections::BTreeMap;
use std::sync::Arc;
use vm_inventory::Operations;
use vm_web::{Jobs, Sessions};

/// How clients reach the server: what addresses in documents begin with.
#[derive(Clone, Debug)]
pub struct Site {
    /// `https`, or `http` where no TLS is.
    pub scheme: &'static str,
    /// Host and port, if a proxy makes clients use others than the `Host` header says.
    pub name: Option<String>,
}

/// The API over `operations`; users log in at `sessions`, and work that takes longer runs as one of `jobs`.
pub fn router(operations: Arc<Operations>, jobs: Jobs, sessions: Sessions, site: Site) -> Router {
    let mut methods: BTreeMap<String, Option<MethodFilter>> = BTreeMap::new();
    for route in routes::ROUTES {
        let own = MethodFilter::try_from(route.method.clone()).ok();
        let all = methods.entry(route.pattern()).or_default();
        *all = match (*all, own) {
            (Some(one), Some(other)) => Some(one.or(other)),
            (one, other) => one.or(other),
        };
    }
    let mut router = Router::new();
    let mut shared = Router::new();
    for (path, filter) in methods {
        let Some(filter) = filter else { continue };
        // vCenters log in at this path too, by another method: whoever merges both sees to it.
        if path == "/api/session" {
            shared = shared.route(&path, on(filter, visit::serve));
        } else {
            router = router.route(&path, on(filter, visit::serve));
        }
    }
    router
        .route("/api", any(visit::serve))
        .route("/api/{*rest}", any(visit::serve))
        .route("/cloudapi", any(visit::serve))
        .route("/cloudapi/{*rest}", any(visit::serve))
        .method_not_allowed_fallback(visit::serve)
        .merge(shared)
        // Files of any length: what is too long for its descriptor is refused as it arrives.
        .route(
            "/transfer/{id}/{name}",
            put(visit::upload).layer(DefaultBodyLimit::disable()),
        )
        .with_state(Server {
            operations,
            sessions,
            jobs,
            site,
            uploads: uploads::Uploads::default(),
        })
}
