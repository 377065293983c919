//! `GET /v1/tasks/events`: tasks as they change (server-sent events).

use crate::caller::{Caller, Gate};
use crate::routes::Web;
use crate::{Problem, Texts};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vm_inventory::{Operations, Principal, Scoped, Task, TaskId, TaskStatus};

/// Streams at once.
const STREAMS: usize = 64;
/// Events that wait for a slow reader before the task that sends them waits too.
const WAITING: usize = 64;
/// A line that says nothing keeps a stream from being taken for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Changes that come faster are told together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Tells streams that tasks have changed.
#[derive(Clone)]
pub(crate) struct Events {
    changed: watch::Receiver<u64>,
    closed: watch::Sender<bool>,
    places: Arc<Semaphore>,
}

impl Events {
    pub(crate) fn of(operations: &Operations) -> Self {
        let (changes, changed) = watch::channel(0u64);
        operations.on_tasks(move || changes.send_modify(|count| *count = count.wrapping_add(1)));
        Self {
            changed,
            closed: watch::Sender::new(false),
            places: Arc::new(Semaphore::new(STREAMS)),
        }
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// The route of this file.
pub(crate) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(task_events))
}

/// Tasks as they change: server-sent events.
///
/// First come the tasks that have not ended, then every task whenever it changes, each as an event `task` with the task as JSON. The
/// stream ends with the session.
#[utoipa::path(get, path = "/v1/tasks/events", tag = "Tasks",
    responses((status = 200, body = String, content_type = "text/event-stream", description = "Events, as long as the client listens")))]
async fn task_events(
    State(web): State<Web>,
    Extension(gate): Extension<Gate>,
    Caller(principal): Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    web.task_events(principal, move || gate.is_open(&headers))
}

impl Web {
    /// The same for another face: the tasks that `principal` sees, as long as `goes_on` says so.
    ///
    /// # Errors
    /// 429 if too many listen already.
    pub fn task_events(
        &self,
        principal: Principal,
        goes_on: impl Fn() -> bool + Send + 'static,
    ) -> Result<Response, Problem> {
        let Ok(place) = Arc::clone(&self.events.places).try_acquire_owned() else {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many",
                "There is too much of it",
                format!("{STREAMS} streams of events are open; close one, or ask for /v1/tasks"),
            ));
        };
        let (sender, texts) = mpsc::channel(WAITING);
        let stream = Stream {
            scoped: self.operations().as_user(principal),
            known: HashMap::new(),
            sender,
            _place: place,
        };
        tokio::spawn(stream.run(self.events.clone(), goes_on));
        let head = [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        Ok((head, Body::new(Texts::new(None, texts))).into_response())
    }
}

/// One client that listens.
struct Stream {
    scoped: Scoped,
    known: HashMap<TaskId, (TaskStatus, u8, String)>,
    sender: mpsc::Sender<String>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    async fn run(mut self, events: Events, goes_on: impl Fn() -> bool + Send + 'static) {
        let mut changed = events.changed.clone();
        let mut closed = events.closed.subscribe();
        let mut first = true;
        while goes_on() {
            changed.borrow_and_update();
            let scoped = self.scoped.clone();
            let Ok(Ok(tasks)) = tokio::task::spawn_blocking(move || scoped.tasks()).await else {
                return;
            };
            let mut texts = self.news(&tasks, first);
            if first {
                // From here on nothing is missed.
                texts.push(":\n\n".to_owned());
                first = false;
            }
            let waited = tokio::select! {
                sent = send(&self.sender, &mut texts) => {
                    if !sent {
                        return;
                    }
                    timeout(KEEP_ALIVE, async {
                        tokio::select! {
                            changed = changed.changed() => changed.is_ok(),
                            () = self.sender.closed() => false,
                            _ = closed.wait_for(|closed| *closed) => false,
                        }
                    }).await
                }
                _ = events.closed_now() => return,
            };
            match waited {
                Ok(false) => return,
                Ok(true) => sleep(TOGETHER).await,
                Err(_elapsed) => {
                    if self.sender.send(":\n\n".to_owned()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// An event for each task that is not as it was told of last, the oldest first.
    fn news(&mut self, tasks: &[Task], first: bool) -> Vec<String> {
        let mut texts = Vec::new();
        let mut now = HashMap::with_capacity(tasks.len());
        for task in tasks.iter().rev() {
            let state = (task.status, task.progress, task.step.clone());
            let told = if first {
                task.is_finished()
            } else {
                self.known.get(&task.id) == Some(&state)
            };
            if !told && let Ok(json) = serde_json::to_string(task) {
                texts.push(format!("event: task\nid: {}\ndata: {json}\n\n", task.id));
            }
            now.insert(task.id, state);
        }
        self.known = now;
        texts
    }
}

impl Events {
    async fn closed_now(&self) {
        let mut closed = self.closed.subscribe();
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

async fn send(sender: &mpsc::Sender<String>, texts: &mut Vec<String>) -> bool {
    for text in texts.drain(..) {
        if sender.send(text).await.is_err() {
            return false;
        }
    }
    true
}
