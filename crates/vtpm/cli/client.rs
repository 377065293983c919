//! A client of the daemon's HTTP API, on its unix socket or elsewhere over TLS: the only way in for the verbs.

use std::fmt;
use std::io::{ErrorKind, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, HttpBody};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use vm_inventory::{Task, TaskStatus};
use vm_web::api::{Accepted, Opened, Password};
use vm_web::{PipeBody, Problem};

use super::server::Server;
use super::{Threads, runtime};
use crate::config::Daemon;
use crate::daemon::Direct;

/// An answer larger than this is not one of ours.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
const POLL_FIRST: Duration = Duration::from_millis(10);
const POLL_AT_MOST: Duration = Duration::from_millis(250);

/// Why a verb did not do what it was asked; each has its exit code.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The daemon refused or failed: exit code 1.
    Problem(Problem),
    /// An accepted task failed: exit code 1.
    Task(Box<Task>),
    /// The arguments do not make sense: exit code 2.
    Usage(String),
    /// There is no daemon on that socket: exit code 3.
    NoDaemon(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(problem) if problem.failures.is_empty() => f.write_str(&problem.detail),
            Self::Problem(problem) => {
                write!(f, "{}:", problem.title)?;
                for failure in &problem.failures {
                    write!(f, "\n  - {failure}")?;
                }
                Ok(())
            }
            Self::Task(task) => f.write_str(
                task.error
                    .as_ref()
                    .map_or("the task failed", |error| &error.detail),
            ),
            Self::Usage(text) | Self::NoDaemon(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Refusal {}

/// Runs the part of a verb that talks to the daemon, and turns refusals into exit codes.
pub(crate) fn talk<F>(daemon: &Daemon, verb: impl FnOnce(Client) -> F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<()>>,
{
    exit_code(runtime(Threads::One)?.block_on(async {
        match daemon.server.named_or_usual() {
            Some(url) => visit(daemon, &url, verb).await,
            None => {
                let way = Way::Socket(daemon.data.socket());
                verb(Client { way }).await
            }
        }
    }))
}

/// Runs a verb at a daemon elsewhere.
async fn visit<F>(daemon: &Daemon, url: &str, verb: impl FnOnce(Client) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let visit = daemon.server.visit(url).await?;
    let outcome = verb(visit.client()).await;
    visit.end().await;
    outcome
}

/// The same for a verb that sets something up: without a daemon it is done on the data folder itself.
pub(crate) fn set_up<F>(daemon: &Daemon, verb: impl FnOnce(Client) -> F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<()>>,
{
    if daemon.server.named_or_usual().is_some() {
        return talk(daemon, verb);
    }
    let data = &daemon.data;
    let outcome = runtime(Threads::One)?.block_on(async {
        match UnixStream::connect(data.socket()).await {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                let folder = Direct::open(&data.path()).await?;
                let way = Way::Direct(folder.router());
                verb(Client { way }).await?;
                folder.close().await
            }
            _ => {
                let way = Way::Socket(data.socket());
                verb(Client { way }).await
            }
        }
    });
    exit_code(outcome)
}

fn exit_code(outcome: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => refusal_code(error),
    }
}

/// The exit code of a refusal that has one of its own; any other error as it is.
pub(crate) fn refusal_code(error: anyhow::Error) -> anyhow::Result<ExitCode> {
    let code = match error.downcast_ref::<Refusal>() {
        Some(Refusal::Usage(_)) => 2,
        Some(Refusal::NoDaemon(_)) => 3,
        _ => return Err(error),
    };
    super::log::complain(&error);
    Ok(ExitCode::from(code))
}

/// A client of one daemon.
#[derive(Clone)]
pub(crate) struct Client {
    way: Way,
}

/// How it gets there.
#[derive(Clone)]
enum Way {
    /// The daemon's private socket.
    Socket(PathBuf),
    /// The API in this process, over a data folder that no daemon has.
    Direct(Router),
    /// A daemon's listener.
    Server(Arc<Server>),
}

impl Client {
    /// One of the daemon on this socket.
    pub(crate) fn on_socket(socket: PathBuf) -> Self {
        let way = Way::Socket(socket);
        Self { way }
    }

    /// One of a daemon's listener.
    pub(crate) fn of_server(server: Server) -> Self {
        let way = Way::Server(Arc::new(server));
        Self { way }
    }

    /// Opens a session as the user whose password goes with the requests; gives its token.
    pub(crate) async fn log_in(&self) -> anyhow::Result<Password> {
        let empty = Vec::new();
        let opened: Opened = self.send(Method::POST, "/v1/sessions", empty).await?;
        Ok(opened.token)
    }

    /// Ends the session of the requests.
    pub(crate) async fn log_out(&self) -> anyhow::Result<()> {
        let (response, _connection) = self
            .ask(Method::DELETE, "/v1/sessions", whole(Vec::new()))
            .await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(refused(response).await)
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.send(Method::GET, path, Vec::new()).await
    }

    /// Makes or changes something.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.send(Method::POST, path, serde_json::to_vec(body)?)
            .await
    }

    /// Puts something in the place of what was there.
    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.send(Method::PUT, path, serde_json::to_vec(body)?)
            .await
    }

    /// Removes something.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.send(Method::DELETE, path, Vec::new()).await
    }

    /// Waits for the end of an accepted task, showing its progress on a terminal.
    pub(crate) async fn wait(&self, accepted: Accepted) -> anyhow::Result<Task> {
        let mut task = accepted.task;
        let path = format!("/v1/tasks/{}", task.id);
        let bar = spinner(&task);
        let mut pause = POLL_FIRST;
        while !task.is_finished() {
            bar.set_message(task.step.clone());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_AT_MOST);
            task = self.get(&path).await?;
        }
        bar.finish_and_clear();
        if task.status != TaskStatus::Success {
            return Err(Refusal::Task(Box::new(task)).into());
        }
        Ok(task)
    }

    /// Asks for something that goes on: what comes, as it comes.
    pub(crate) async fn stream(&self, path: &str) -> anyhow::Result<Body> {
        let (response, _connection) = self.ask(Method::GET, path, whole(Vec::new())).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(refused(response).await)
    }

    /// Makes something of a body of any length.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        body: PipeBody,
    ) -> anyhow::Result<T> {
        self.send_body(Method::POST, path, body).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<T> {
        self.send_body(method, path, whole(body)).await
    }

    async fn send_body<T: DeserializeOwned, B>(
        &self,
        method: Method,
        path: &str,
        body: B,
    ) -> anyhow::Result<T>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let (response, connection) = self.ask(method, path, body).await?;
        let outcome = if response.status().is_success() {
            let body = whole_body(response).await?;
            serde_json::from_slice(&body)
                .context("the daemon's answer makes no sense to this version of vtpm")
        } else {
            Err(refused(response).await)
        };
        if let Some(connection) = connection {
            connection.abort();
        }
        outcome
    }

    async fn ask<B>(
        &self,
        method: Method,
        path: &str,
        body: B,
    ) -> anyhow::Result<(Response<Body>, Option<JoinHandle<hyper::Result<()>>>)>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        let local = |request: Builder| request.header(header::HOST, "vtpm");
        match &self.way {
            Way::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| {
                    Refusal::NoDaemon(format!(
                        "no daemon answers on {}: {error}; start it with `vtpm serve`, or name its folder with --data",
                        socket.display()
                    ))
                })?;
                answered(stream, local(request).body(body)?).await
            }
            Way::Direct(router) => {
                let request = local(request).body(body)?;
                let answered = router.clone().oneshot(request.map(Body::new)).await;
                let response = match answered {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                Ok((response, None))
            }
            Way::Server(server) => {
                let mut secret = HeaderValue::from_str(server.authorization())
                    .context("the token or the password has characters that none has")?;
                secret.set_sensitive(true);
                let request = request
                    .header(header::HOST, server.authority())
                    .header(header::AUTHORIZATION, secret)
                    .body(body)?;
                answered(server.connect().await?, request).await
            }
        }
    }
}

/// Sends a request over a connection of its own.
async fn answered<S, B>(
    stream: S,
    request: Request<B>,
) -> anyhow::Result<(Response<Body>, Option<JoinHandle<hyper::Result<()>>>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .context("the daemon did not answer")?;
    Ok((response.map(Body::new), Some(connection)))
}

fn whole(body: Vec<u8>) -> Full<Bytes> {
    Full::new(Bytes::from(body))
}

async fn whole_body(response: Response<Body>) -> anyhow::Result<Bytes> {
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect();
    Ok(body
        .await
        .map_err(|error| anyhow::anyhow!("the daemon's answer broke off: {error}"))?
        .to_bytes())
}

/// What the daemon says instead of what was asked for.
async fn refused(response: Response<Body>) -> anyhow::Error {
    let status = response.status();
    match whole_body(response).await {
        Ok(body) => match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Refusal::Problem(problem).into(),
            Err(_) => anyhow::anyhow!("the daemon answered {status}"),
        },
        Err(error) => error,
    }
}

/// A name as one component of a path.
pub(crate) fn component(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn spinner(task: &Task) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} [{elapsed}]") {
        bar.set_style(style);
    }
    bar.set_prefix(format!("{} {}", task.operation, task.vm_name));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_of_a_path() {
        assert_eq!(component("web01"), "web01");
        assert_eq!(component("a b/ü%"), "a%20b%2F%C3%BC%25");
    }
}
