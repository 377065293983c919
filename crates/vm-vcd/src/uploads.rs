//! Templates that are uploaded: a descriptor first, then each of its files, in pieces.
//!
//! Nothing is kept here: what arrives goes on at once, as the archive that it would be, to the operation of the inventory that takes
//! packages. So files come in the order of the descriptor, and a client that stays away ends its upload.

use crate::call::{Call, Reply, Server};
use crate::fault::Fault;
use crate::ids::{self, Kind};
use crate::node::Node;
use crate::schema::entity;
use crate::show::{self, link};
use crate::xml::files::{File, list};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderMap;
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as Turn, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;
use vm_inventory::model::Catalog;
use vm_inventory::{Error, ImportPackage, Job, Name, Principal, TargetKind, Task, TaskStatus};

/// Uploads on their way at a time.
const AT_ONCE: usize = 16;
/// Uploads that are remembered, ended ones included: so long do their addresses lead to the template.
const REMEMBERED: usize = 1000;
/// The largest descriptor.
const DESCRIPTOR: usize = 4 * 1024 * 1024;
/// A client that sends nothing for so long has gone.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How long one piece may take.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// What archives are made of.
const BLOCK: usize = 512;

/// The file that the descriptor is sent as.
const DESCRIPTOR_NAME: &str = "descriptor.ovf";

type Importing = JoinHandle<Result<Job, Error>>;

/// Every upload that is known.
#[derive(Clone, Default)]
pub(crate) struct Uploads {
    known: Arc<Mutex<HashMap<Uuid, Arc<Upload>>>>,
}

struct Upload {
    id: Uuid,
    name: Name,
    catalog: String,
    owner: Principal,
    begun: Instant,
    /// Whoever sends has the turn.
    turn: Turn<Stage>,
    /// What everybody may see meanwhile.
    seen: Mutex<Seen>,
}

/// How far an upload is.
#[derive(Clone)]
struct Seen {
    files: Vec<(File, u64)>,
    described: bool,
    active: Instant,
    end: Option<Result<Task, Fault>>,
}

enum Stage {
    Waiting,
    Receiving {
        to: mpsc::Sender<io::Result<Bytes>>,
        importing: Importing,
        file: usize,
    },
    Over,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uploads {
    /// Begins an upload into a catalog, and shows the entry that is to be.
    pub(crate) fn begin(&self, call: &Call, catalog: &Catalog, name: Name) -> Result<Reply, Fault> {
        let taken = call.operations.templates()?.iter().any(|template| {
            template.organization == catalog.organization
                && template.catalog == catalog.name
                && template.name == name
        });
        if taken {
            return Err(Fault::duplicate(format!(
                "the catalog {} already has a template called {name}; choose another name",
                catalog.name
            )));
        }
        let id = Uuid::new_v4();
        let now = Instant::now();
        let upload = Arc::new(Upload {
            id,
            name,
            catalog: format!("{}/{}", catalog.organization, catalog.name),
            owner: call.operations.principal().clone(),
            begun: now,
            turn: Turn::new(Stage::Waiting),
            seen: Mutex::new(Seen {
                files: Vec::new(),
                described: false,
                active: now,
                end: None,
            }),
        });
        let mut known = lock(&self.known);
        let open = known.values().filter(|it| lock(&it.seen).end.is_none());
        if open.count() >= AT_ONCE {
            return Err(Fault::too_many(
                "too many templates are being uploaded at this moment; try again when one is done",
            ));
        }
        if known.len() >= REMEMBERED {
            let oldest = known
                .values()
                .filter(|it| lock(&it.seen).end.is_some())
                .min_by_key(|it| it.begun)
                .map(|it| it.id);
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
        known.insert(id, Arc::clone(&upload));
        drop(known);
        tokio::spawn(give_up_idle(Arc::downgrade(&self.known), id));
        let root = &entity::CATALOG_ITEM_ROOT;
        let name = upload.name.as_str();
        let node = show::begin(call, root, Kind::CatalogItem, ids::catalog_item(id), name)
            .with("Entity", show::reference(call, Kind::Template, id, name));
        Ok(Reply::created(root, node))
    }

    fn find(&self, id: Uuid, who: &Principal) -> Option<Arc<Upload>> {
        let found = lock(&self.known).get(&id).cloned()?;
        (found.owner == *who).then_some(found)
    }

    /// What there is of a template that is being uploaded; the task that makes it, if everything has arrived.
    pub(crate) fn show(&self, call: &Call, id: Uuid) -> Option<Result<Shown, Fault>> {
        let upload = self.find(id, call.operations.principal())?;
        let seen = lock(&upload.seen).clone();
        match seen.end {
            Some(Ok(task)) => Some(Ok(Shown::Task(Box::new(task)))),
            Some(Err(fault)) => Some(Err(fault)),
            None => Some(Ok(Shown::Node(Box::new(upload.node(call, &seen))))),
        }
    }

    /// Takes a file, or a piece of one.
    pub(crate) async fn put(
        &self,
        server: &Server,
        who: &Principal,
        path: (Uuid, String),
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(), Fault> {
        let (id, name) = path;
        let upload = self
            .find(id, who)
            .ok_or_else(|| Fault::no_access("transfer", &id.to_string()))?;
        let mut stage = upload.turn.lock().await;
        lock(&upload.seen).active = Instant::now();
        let ended = if name == DESCRIPTOR_NAME {
            upload.describe(server, &mut stage, body).await
        } else {
            upload.take(&mut stage, &name, headers, body).await
        };
        match ended {
            // Who sends a piece twice, or another's, may go on with the right one.
            Err(fault) if fault.status == 416 => return Err(fault),
            Err(fault) => {
                let fault = upload.failed(&mut stage, fault).await;
                lock(&upload.seen).end = Some(Err(fault.clone()));
                return Err(fault);
            }
            Ok(()) => {}
        }
        if let Some(done) = upload.conclude(server, &mut stage).await {
            let fault = done.as_ref().err().cloned();
            lock(&upload.seen).end = Some(done);
            if let Some(fault) = fault {
                return Err(fault);
            }
        }
        Ok(())
    }
}

/// What an upload shows.
pub(crate) enum Shown {
    /// Files that have arrived and that are missing.
    Node(Box<Node>),
    /// The task that makes the template.
    Task(Box<Task>),
}

impl Shown {
    /// The identifier of the template, if it is there.
    pub(crate) fn template(task: &Task) -> Option<Uuid> {
        let made = task.target == TargetKind::Template && task.status == TaskStatus::Success;
        made.then_some(task.vm.0)
    }
}

impl Upload {
    fn node(&self, call: &Call, seen: &Seen) -> Node {
        let list = entity::inner(&entity::VAPP_TEMPLATE, "Files");
        let file = |name: &str, size: i64, done: i64| {
            let plain = percent_decode_str(name).decode_utf8_lossy();
            let part = utf8_percent_encode(&plain, NON_ALPHANUMERIC);
            let href = format!("{}/transfer/{}/{part}", call.base, self.id);
            let node = Node::of(&entity::FILE)
                .with("name", name)
                .with("size", size)
                .with("bytesTransferred", done);
            node.with("Link", link("upload:default", href, None))
        };
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let rest = seen.files.iter();
        let rest = rest.map(|(it, done)| file(&it.href, whole(it.size), whole(*done)));
        let files = Node::of(list)
            .with("File", file(DESCRIPTOR_NAME, -1, 0))
            .with_all("File", rest);
        let root = &entity::TEMPLATE_ROOT;
        show::begin(call, root, Kind::Template, self.id, self.name.as_str())
            .with("status", 0_i64)
            .with("ovfDescriptorUploaded", seen.described)
            .with("Files", files)
    }

    /// Reads the descriptor and lets the operation begin.
    async fn describe(&self, server: &Server, stage: &mut Stage, body: Body) -> Result<(), Fault> {
        if !matches!(stage, Stage::Waiting) {
            return Err(Fault::range("the descriptor has arrived already"));
        }
        let bytes = match timeout(PIECE_TIME, to_bytes(body, DESCRIPTOR)).await {
            Err(_elapsed) => return Err(Fault::timeout()),
            Ok(Err(_)) => return Err(Fault::too_large(DESCRIPTOR)),
            Ok(Ok(bytes)) => bytes,
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Fault::bad_request("the descriptor is not UTF-8"))?;
        let files = list(text)?;
        let request = ImportPackage {
            name: Some(self.name.clone()),
            catalog: Some(self.catalog.clone()),
            ..ImportPackage::default()
        };
        let operations = server.operations.as_user(self.owner.clone());
        let (to, mut reader) = vm_web::from_body();
        let importing =
            tokio::task::spawn_blocking(move || operations.import_package(&request, &mut reader));
        let head = header(DESCRIPTOR_NAME, bytes.len() as u64)?;
        *stage = Stage::Receiving {
            to: to.clone(),
            importing,
            file: 0,
        };
        let rest = padding(bytes.len() as u64);
        for piece in [head, bytes, rest] {
            send(&to, piece).await?;
        }
        let mut seen = lock(&self.seen);
        seen.files = files.into_iter().map(|file| (file, 0)).collect();
        seen.described = true;
        Ok(())
    }

    /// Takes the next piece of the file that is its turn.
    async fn take(
        &self,
        stage: &mut Stage,
        name: &str,
        headers: &HeaderMap,
        mut body: Body,
    ) -> Result<(), Fault> {
        let Stage::Receiving { to, file, .. } = stage else {
            return Err(Fault::range("the descriptor comes first"));
        };
        let next = lock(&self.seen).files.get(*file).cloned();
        let Some((due, mut done)) = next.filter(|(due, _)| due.name() == name) else {
            return Err(Fault::range(
                "files are sent in the order of the descriptor, each once",
            ));
        };
        if begins(headers).is_some_and(|first| first != done) {
            return Err(Fault::range(format!(
                "{done} bytes of the file have arrived; the next piece begins there"
            )));
        }
        if done == 0 {
            send(to, header(name, due.size)?).await?;
        }
        loop {
            let frame = match timeout(PIECE_TIME, body.frame()).await {
                Err(_elapsed) => return Err(Fault::timeout()),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(Fault::bad_request(error.to_string())),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            done += data.len() as u64;
            if done > due.size {
                return Err(Fault::bad_request(format!(
                    "the file {} is longer than the {} bytes that the descriptor says",
                    crate::xml::shown(name),
                    due.size
                )));
            }
            send(to, data).await?;
            let mut seen = lock(&self.seen);
            seen.active = Instant::now();
            if let Some(entry) = seen.files.get_mut(*file) {
                entry.1 = done;
            }
        }
        if done == due.size {
            send(to, padding(due.size)).await?;
            *file += 1;
        }
        Ok(())
    }

    /// When the last file has arrived, the operation gets its end, and its task begins.
    async fn conclude(&self, server: &Server, stage: &mut Stage) -> Option<Result<Task, Fault>> {
        let all = lock(&self.seen).files.len();
        match stage {
            Stage::Receiving { file, .. } if *file == all => {}
            _ => return None,
        }
        let Stage::Receiving { to, importing, .. } = std::mem::replace(stage, Stage::Over) else {
            return None;
        };
        // The operation may have read enough: then it does not wait for the end.
        let _ = send(&to, Bytes::from(vec![0; 2 * BLOCK])).await;
        drop(to);
        Some(match importing.await {
            Ok(Ok(job)) => Ok(server.jobs.start(job)),
            Ok(Err(error)) => Err(error.into()),
            Err(_panicked) => Err(Fault::internal("an upload stopped half-way")),
        })
    }

    /// Ends the operation, which knows better what went wrong if it ended by itself.
    async fn failed(&self, stage: &mut Stage, fault: Fault) -> Fault {
        let Stage::Receiving { to, importing, .. } = std::mem::replace(stage, Stage::Over) else {
            return fault;
        };
        let gone = to.is_closed();
        drop(to);
        match importing.await {
            Ok(Err(error)) if gone => error.into(),
            _ => fault,
        }
    }
}

/// Forgets an upload whose client has gone: its operation sees the archive end too early, and leaves nothing.
async fn give_up_idle(known: Weak<Mutex<HashMap<Uuid, Arc<Upload>>>>, id: Uuid) {
    let mut tick = tokio::time::interval(IDLE / 10);
    loop {
        tick.tick().await;
        let Some(known) = known.upgrade() else { return };
        let found = lock(&known).get(&id).cloned();
        let Some(upload) = found else { return };
        let (over, idle) = {
            let seen = lock(&upload.seen);
            (seen.end.is_some(), seen.active.elapsed() >= IDLE)
        };
        if over {
            return;
        }
        if idle {
            lock(&known).remove(&id);
            return;
        }
    }
}

/// Where a piece begins, by its `Content-Range`.
fn begins(headers: &HeaderMap) -> Option<u64> {
    let text = headers
        .get(axum::http::header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

async fn send(to: &mpsc::Sender<io::Result<Bytes>>, piece: Bytes) -> Result<(), Fault> {
    if piece.is_empty() {
        return Ok(());
    }
    to.send(Ok(piece))
        .await
        .map_err(|_gone| Fault::bad_request("the package is not taken"))
}

/// The head of a file in an archive.
fn header(name: &str, size: u64) -> Result<Bytes, Fault> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).map_err(|error| {
        Fault::bad_request(format!(
            "the file name {}: {error}",
            crate::xml::shown(name)
        ))
    })?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

/// What fills the last block of a file.
fn padding(size: u64) -> Bytes {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 {
        Bytes::new()
    } else {
        Bytes::from(vec![0; BLOCK - over])
    }
}
