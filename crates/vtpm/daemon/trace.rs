//! `GET /v1/vms/{vm}/trace`: what a VM's TPM is asked and answers, a line of JSON each, as long as the VM is on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::mpsc::channel;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vm_inventory::{Error, Operations};
use vm_web::{Caller, Problem, Texts};

use super::machines::RunningMachines;
use crate::trace::{Head, LiveRecorder};

/// Lines that wait for a reader before any are dropped.
const WAITING: usize = 1024;

#[derive(Clone)]
struct Traces {
    operations: Arc<Operations>,
    machines: Arc<RunningMachines>,
}

/// What the API has beside the inventory: the commands of running VMs.
pub(crate) fn router(operations: Arc<Operations>, machines: Arc<RunningMachines>) -> OpenApiRouter {
    let traces = Traces {
        operations,
        machines,
    };
    OpenApiRouter::new()
        .routes(routes!(trace))
        .with_state(traces)
}

#[derive(Deserialize)]
struct Wanted {
    /// Whether the lines hold secrets.
    #[serde(default)]
    secrets: bool,
}

/// What a VM's TPM is asked and answers, as it happens.
#[utoipa::path(get, path = "/v1/vms/{vm}/trace", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`"),
        ("secrets" = Option<bool>, Query, description = "Whether the lines hold secrets")),
    responses((status = 200, body = String, content_type = "application/jsonl", description = "A line of JSON for each command, as long as the VM is on")))]
async fn trace(
    State(traces): State<Traces>,
    Caller(principal): Caller,
    Path(vm): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|rejection| {
        problem(
            400,
            "bad-request",
            "The request is wrong",
            rejection.body_text(),
        )
    })?;
    let scoped = traces.operations.as_user(principal);
    let looked_up = tokio::task::spawn_blocking(move || scoped.traced_vm(&vm));
    let vm = match looked_up.await {
        Ok(found) => found?,
        Err(_panicked) => {
            return Err(Error::Internal("a request stopped half-way".to_owned()).into());
        }
    };
    let Some(device) = traces.machines.device(vm.id) else {
        let detail = format!(
            "the VM {} has no TPM that runs; power it on with `vtpm vm start {}`",
            vm.name, vm.name
        );
        let title = "It clashes with what there is";
        return Err(problem(409, "conflict", title, detail));
    };
    let (sender, lines) = channel(WAITING);
    let head = Some(Head::line(wanted.secrets));
    device
        .tracer()
        .add(Box::new(LiveRecorder::new(sender, wanted.secrets)));
    let body = Body::new(Texts::new(head, lines));
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], body).into_response())
}

fn problem(status: u16, kind: &str, title: &str, detail: String) -> Problem {
    Problem {
        kind: format!("urn:vtpm:problem:{kind}"),
        title: title.to_owned(),
        status,
        detail,
        failures: Vec::new(),
    }
}
