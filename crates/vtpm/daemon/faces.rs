//! What the daemon's listeners serve: the one place where its faces come together.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_extractor;
use utoipa_axum::router::OpenApiRouter;
use vm_inventory::Operations;
use vm_vcd::Site;
use vm_web::{Entrance, Jobs, Sessions, SystemCaller, Web};

use super::machines::RunningMachines;

/// Every face over the same operations, jobs and sessions.
#[derive(Clone)]
pub(crate) struct Faces {
    web: Web,
    machines: Arc<RunningMachines>,
    verifier: OpenApiRouter,
}

impl Faces {
    pub(crate) fn new(
        operations: Arc<Operations>,
        machines: Arc<RunningMachines>,
        jobs: Jobs,
        data: &Path,
    ) -> anyhow::Result<Self> {
        let sessions = Sessions::new(Arc::clone(&operations));
        let verifier = super::verifier::router(Arc::clone(&operations), &data.join("attest"))?;
        Ok(Self {
            web: Web::new(operations, jobs, sessions),
            machines,
            verifier: verifier.route_layer(from_extractor::<SystemCaller>()),
        })
    }

    /// For the private socket: the native API.
    pub(crate) fn for_owner(&self) -> Router {
        self.native(Entrance::Owner)
    }

    /// For everybody, over TLS: the native API, whose fallback answers for all that no face serves, and the other faces beside it.
    pub(crate) fn for_users(&self) -> Router {
        let vsphere = vm_vim25::router(self.web.operations(), self.web.sessions(), self.web.jobs());
        let site = Site {
            scheme: "https",
            name: None,
        };
        let cloud_director = vm_vcd::router(
            self.web.operations(),
            self.web.jobs(),
            self.web.sessions(),
            site,
        );
        self.native(Entrance::Tokens)
            .merge(vsphere)
            .merge(cloud_director)
            .merge(vm_pages::router(self.web.clone(), self.machines.clone()))
    }

    /// For everybody, in the clear: what certificates name of their authorities.
    pub(crate) fn for_verifiers(&self) -> Router {
        Router::from(super::published::router(self.web.operations()))
    }

    /// Ends what would go on for as long as a client listens.
    pub(crate) fn close(&self) {
        self.web.close();
    }

    fn native(&self, entrance: Entrance) -> Router {
        let traces = super::trace::router(self.web.operations(), Arc::clone(&self.machines));
        let published = super::published::router(self.web.operations());
        let beside = traces.merge(self.verifier.clone()).merge(published);
        self.web.router(entrance, beside)
    }
}
