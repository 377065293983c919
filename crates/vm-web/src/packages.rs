//! Packages of VMs (OVA), up and down, as streams: nothing of one is ever whole in memory.

use crate::Problem;
use crate::api::Accepted;
use crate::pipe::{from_body, into_body};
use crate::routes::{Api, BODY_TIME, InPath, Web};
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vm_inventory::{Error, Export, ExportPackage, ImportPackage, Name, Preview, Principal, Task};

/// Packages on their way at a time, up and down.
const AT_ONCE: usize = 16;
/// What is read over of a package that was refused, so that its sender gets to the answer.
const READ_OVER: usize = 4 << 20;
const READ_OVER_TIME: Duration = Duration::from_secs(2);

/// The paths of this file; their bodies have limits of their own.
pub(crate) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(upload))
        .routes(routes!(download_vapp))
        .routes(routes!(download_vm))
        .routes(routes!(download_template))
}

/// Room for packages on their way.
pub(crate) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

impl Web {
    /// Takes a package as one user: what sends its pieces, and its task.
    pub fn import_package(
        &self,
        user: Principal,
        request: ImportPackage,
    ) -> (
        mpsc::Sender<io::Result<Bytes>>,
        impl Future<Output = Result<Task, Problem>> + Send + 'static,
    ) {
        let (sender, mut reader) = from_body();
        let room = Arc::clone(&self.room);
        let (scoped, jobs) = (self.operations.as_user(user), self.jobs.clone());
        let work = async move {
            let _permit = room.try_acquire_owned().map_err(busy)?;
            let taken =
                tokio::task::spawn_blocking(move || scoped.import_package(&request, &mut reader));
            match taken.await {
                Ok(job) => Ok(jobs.start(job?)),
                Err(_panicked) => Err(half_way().into()),
            }
        };
        (sender, work)
    }

    /// Gives a package as one user has it.
    ///
    /// # Errors
    /// When there is no such thing, or too much at a time.
    pub async fn export_package(
        &self,
        user: Principal,
        what: ExportPackage,
    ) -> Result<Response, Problem> {
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(busy)?;
        let scoped = self.operations.as_user(user);
        match tokio::task::spawn_blocking(move || scoped.export_package(&what)).await {
            Ok(export) => Ok(sent(export?, permit)),
            Err(_panicked) => Err(half_way().into()),
        }
    }
}

fn half_way() -> Error {
    Error::Internal("a request stopped half-way".to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Upload {
    name: Option<Name>,
    catalog: Option<String>,
    vdc: Option<String>,
    organization: Option<Name>,
    #[serde(default)]
    standalone: bool,
    #[serde(default)]
    preview: bool,
}

/// Makes a template, a vApp or a VM of a package (OVA).
#[utoipa::path(post, path = "/v1/packages", tag = "Packages",
    request_body(content = Vec<u8>, content_type = "application/x-tar"),
    params(
        ("name" = Option<Name>, Query, description = "The name of what is made; that of the package if left out"),
        ("catalog" = Option<String>, Query, description = "As a template in this catalog, or"),
        ("vdc" = Option<String>, Query, description = "as a vApp in this virtual data center"),
        ("organization" = Option<Name>, Query, description = "The organization of the virtual data center"),
        ("standalone" = Option<bool>, Query, description = "Make a standalone VM instead of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")
    ),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"),
        (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn upload(
    api: Api,
    State(web): State<Web>,
    query: Result<Query<Upload>, QueryRejection>,
    body: Body,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let _permit = web.room.try_acquire_owned().map_err(busy)?;
    let request = ImportPackage {
        name: query.name,
        catalog: query.catalog,
        vdc: query.vdc,
        organization: query.organization,
        standalone: query.standalone,
    };
    let api = api.on_its_own();
    let (sender, mut reader) = from_body();
    let work = async {
        if query.preview {
            let preview = api
                .blocking(move |operations| {
                    operations.preview_import_package(&request, &mut reader)
                })
                .await?;
            return Ok(Json(preview).into_response());
        }
        api.accept(move |operations| operations.import_package(&request, &mut reader))
            .await
    };
    let (answer, ()) = tokio::join!(work, feed(body, sender));
    answer
}

fn busy(_: TryAcquireError) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "busy",
        "Too much at a time",
        format!("{AT_ONCE} packages are on their way already; try again when one is done"),
    )
}

/// Hands a body on as it comes. One that is refused is read a little further.
async fn feed(mut body: Body, sender: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let piece = match timeout(BODY_TIME, body.frame()).await {
            Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            Ok(None) => return,
            Ok(Some(Err(error))) => Err(io::Error::other(error.to_string())),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
        };
        let broken = piece.is_err();
        if sender.send(piece).await.is_err() {
            let rest = async {
                let mut seen = 0;
                while let Some(Ok(frame)) = body.frame().await {
                    seen += frame.data_ref().map_or(0, Bytes::len);
                    if seen > READ_OVER {
                        return;
                    }
                }
            };
            // Whoever sends on regardless loses the connection.
            let _ = timeout(READ_OVER_TIME, rest).await;
            return;
        }
        if broken {
            return;
        }
    }
}

/// A vApp as a package (OVA).
#[utoipa::path(get, path = "/v1/vapps/{vapp}/package", tag = "Packages",
    params(("vapp" = String, Path, description = "A name, `ORGANIZATION/NAME` (escaped) or an id")),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar", description = "The package")))]
async fn download_vapp(
    api: Api,
    State(web): State<Web>,
    InPath(vapp): InPath,
) -> Result<Response, Problem> {
    download(&api, web, ExportPackage::Vapp(vapp)).await
}

/// A VM as a package (OVA).
#[utoipa::path(get, path = "/v1/vms/{vm}/package", tag = "Packages",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`")),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar", description = "The package")))]
async fn download_vm(
    api: Api,
    State(web): State<Web>,
    InPath(vm): InPath,
) -> Result<Response, Problem> {
    download(&api, web, ExportPackage::Vm(vm)).await
}

/// A template as a package (OVA).
#[utoipa::path(get, path = "/v1/templates/{template}/package", tag = "Packages",
    params(("template" = String, Path, description = "A name, `CATALOG/NAME` (escaped) or an id")),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar", description = "The package")))]
async fn download_template(
    api: Api,
    State(web): State<Web>,
    InPath(template): InPath,
) -> Result<Response, Problem> {
    download(&api, web, ExportPackage::Template(template)).await
}

async fn download(api: &Api, web: Web, what: ExportPackage) -> Result<Response, Problem> {
    let permit = web.room.try_acquire_owned().map_err(busy)?;
    let export = api
        .blocking(move |operations| operations.export_package(&what))
        .await?;
    Ok(sent(export, permit))
}

/// A package as an answer, written while it is sent.
fn sent(export: Export, permit: OwnedSemaphorePermit) -> Response {
    let name = format!("attachment; filename=\"{}\"", export.file_name());
    let (mut writer, body) = into_body(export.length());
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        if let Err(error) = export.write(&mut writer) {
            tracing::warn!("a package was not written to its end: {error}");
            writer.fail(error);
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    (headers, Body::new(body)).into_response()
}
