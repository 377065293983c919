//! `GET /v1/vms/{vm}/trace`: what a VM's TPM is asked and answers, a line of JSON each, as long as the VM is on.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::{Bytes, Frame};
use serde::Deserialize;
use tokio::sync::mpsc::{Receiver, channel};
use vm_inventory::{Error, Operations};
use vm_web::Problem;

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
pub(crate) fn router(operations: Arc<Operations>, machines: Arc<RunningMachines>) -> Router {
    let traces = Traces {
        operations,
        machines,
    };
    Router::new()
        .route("/v1/vms/{vm}/trace", get(trace))
        .with_state(traces)
}

#[derive(Deserialize)]
struct Wanted {
    /// Whether the lines hold secrets.
    #[serde(default)]
    secrets: bool,
}

async fn trace(
    State(traces): State<Traces>,
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
    let operations = traces.operations;
    let looked_up = tokio::task::spawn_blocking(move || operations.vm(&vm));
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
    let body = Body::new(Lines { head, lines });
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

/// A body that goes on as lines come.
struct Lines {
    head: Option<String>,
    lines: Receiver<String>,
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = match self.head.take() {
            Some(head) => Poll::Ready(Some(head)),
            None => self.lines.poll_recv(context),
        };
        line.map(|line| line.map(|line| Ok(Frame::data(Bytes::from(line)))))
    }
}
