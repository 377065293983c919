//! Which request does what.

use crate::api::{
    self, Accepted, BackUp, BackedUp, ChangePower, CreateDatastore, Items, PowerAction, Restore,
};
use crate::{Jobs, Problem};
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use vm_inventory::model::{Datastore, VCenter};
use vm_inventory::{
    AdoptTpm, CloneVm, CreateProvider, CreateVCenter, CreateVm, Error, Job, Name, Operations,
    ProviderView, RestoreProvider, SnapshotTree, TakeSnapshot, Task, TaskId, VmView,
};

/// Requests are small; a restore carries a backup of at most 1 MiB in base64, and a TPM is smaller.
const BODY_LIMIT: usize = 64 * 1024;
const RESTORE_LIMIT: usize = 2 * 1024 * 1024;
/// Whoever is slower holds a connection for nothing.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(30);

pub(crate) type Answer<T> = Result<Json<T>, Problem>;

/// What every request may use.
#[derive(Clone)]
pub(crate) struct Api {
    operations: Arc<Operations>,
    pub(crate) jobs: Jobs,
}

/// The API over `operations`; work that takes longer runs as one of `jobs`.
pub fn router(operations: Arc<Operations>, jobs: Jobs) -> Router {
    Router::new()
        .route("/v1/vcenters", get(list_vcenters).post(create_vcenter))
        .route(
            "/v1/datastores",
            get(list_datastores).post(create_datastore),
        )
        .route("/v1/providers", get(list_providers).post(create_provider))
        .route("/v1/providers/{name}/backup", post(back_up_provider))
        .route(
            "/v1/providers/restore",
            post(restore_provider).layer(DefaultBodyLimit::max(RESTORE_LIMIT)),
        )
        .route("/v1/vms", get(list_vms).post(create_vm))
        .route(
            "/v1/adoptions",
            post(adopt_tpm).layer(DefaultBodyLimit::max(RESTORE_LIMIT)),
        )
        .route("/v1/vms/{vm}", get(show_vm).delete(delete_vm))
        .route("/v1/vms/{vm}/power", post(change_power))
        .route("/v1/vms/{vm}/clone", post(clone_vm))
        .route(
            "/v1/vms/{vm}/snapshots",
            get(list_snapshots).post(take_snapshot),
        )
        .route("/v1/vms/{vm}/snapshots/{snapshot}", delete(forget_snapshot))
        .route("/v1/vms/{vm}/snapshots/{snapshot}/revert", post(revert_vm))
        .route("/v1/tasks", get(list_tasks))
        .route("/v1/tasks/{id}", get(show_task))
        .merge(crate::cloud::routes())
        .merge(crate::provider_routes::router())
        .merge(crate::certificate_routes::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(refuse_huge))
        .merge(crate::packages::routes())
        .with_state(Api { operations, jobs })
}

impl Api {
    /// Runs something that may wait for a disk where waiting is allowed.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Operations>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let operations = Arc::clone(&self.operations);
        match tokio::task::spawn_blocking(move || work(&operations)).await {
            Ok(result) => result.map_err(Problem::from),
            Err(_panicked) => Err(Error::Internal("a request stopped half-way".to_owned()).into()),
        }
    }

    pub(crate) async fn list<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Operations>) -> Result<Vec<T>, Error> + Send + 'static,
    ) -> Answer<Items<T>> {
        let items = self.blocking(work).await?;
        Ok(Json(Items { items }))
    }

    /// Checks a request, starts its job, and answers with the task.
    pub(crate) async fn accept(
        &self,
        work: impl FnOnce(&Arc<Operations>) -> Result<Job, Error> + Send + 'static,
    ) -> Result<Response, Problem> {
        let job = self.blocking(work).await?;
        let task = self.jobs.start(job);
        let location = format!("/v1/tasks/{}", task.id);
        let body = Json(Accepted { task });
        Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response())
    }
}

async fn list_vcenters(State(api): State<Api>) -> Answer<Items<VCenter>> {
    api.list(|operations| operations.vcenters()).await
}

async fn create_vcenter(
    State(api): State<Api>,
    Body(request): Body<CreateVCenter>,
) -> Result<Response, Problem> {
    created(
        api.blocking(|operations| operations.create_vcenter(request))
            .await?,
    )
}

async fn list_datastores(State(api): State<Api>) -> Answer<Items<Datastore>> {
    api.list(|operations| operations.datastores()).await
}

async fn create_datastore(
    State(api): State<Api>,
    Body(request): Body<CreateDatastore>,
) -> Result<Response, Problem> {
    let made =
        api.blocking(|operations| operations.create_datastore(request.name, request.vcenters));
    created(made.await?)
}

async fn list_providers(State(api): State<Api>) -> Answer<Items<ProviderView>> {
    api.list(|operations| operations.providers()).await
}

async fn create_provider(
    State(api): State<Api>,
    Body(request): Body<CreateProvider>,
) -> Result<Response, Problem> {
    created(
        api.blocking(|operations| operations.create_provider(request))
            .await?,
    )
}

async fn back_up_provider(
    State(api): State<Api>,
    InPath(name): InPath,
    Body(request): Body<BackUp>,
) -> Answer<BackedUp> {
    let name: Name = name.parse().map_err(Error::from)?;
    let file = api
        .blocking(move |operations| {
            operations.back_up_provider(request.vcenter.as_ref(), &name, request.password.expose())
        })
        .await?;
    Ok(Json(BackedUp {
        path: file.path,
        backup: STANDARD.encode(&file.bytes),
    }))
}

async fn restore_provider(
    State(api): State<Api>,
    Body(request): Body<Restore>,
) -> Result<Response, Problem> {
    let backup = STANDARD
        .decode(request.backup.as_bytes())
        .map_err(|error| Problem::bad_request(format!("the backup is not base64: {error}")))?;
    let restored = api.blocking(move |operations| {
        operations.restore_provider(RestoreProvider {
            name: request.name,
            vcenter: request.vcenter,
            default: request.default,
            backup: &backup,
            password: request.password.expose(),
        })
    });
    created(restored.await?)
}

async fn list_vms(State(api): State<Api>) -> Answer<Items<VmView>> {
    api.list(|operations| operations.vms()).await
}

async fn show_vm(State(api): State<Api>, InPath(vm): InPath) -> Answer<VmView> {
    Ok(Json(
        api.blocking(move |operations| operations.vm(&vm)).await?,
    ))
}

async fn adopt_tpm(
    State(api): State<Api>,
    Body(request): Body<api::AdoptTpm>,
) -> Result<Response, Problem> {
    let state = STANDARD
        .decode(request.state.as_bytes())
        .map_err(|error| Problem::bad_request(format!("the state is not base64: {error}")))?;
    let request = AdoptTpm {
        vm: request.vm,
        state: state.into(),
    };
    api.accept(|operations| operations.adopt_tpm(request)).await
}

async fn create_vm(
    State(api): State<Api>,
    Body(request): Body<CreateVm>,
) -> Result<Response, Problem> {
    api.accept(|operations| operations.create_vm(request)).await
}

async fn delete_vm(State(api): State<Api>, InPath(vm): InPath) -> Result<Response, Problem> {
    api.accept(move |operations| operations.delete_vm(&vm))
        .await
}

async fn change_power(
    State(api): State<Api>,
    InPath(vm): InPath,
    Body(request): Body<ChangePower>,
) -> Result<Response, Problem> {
    api.accept(move |operations| match request.action {
        PowerAction::On => operations.power_on(&vm, request.accept_rollback),
        PowerAction::Off if request.accept_rollback => Err(Error::BadValue(
            "accept_rollback belongs to powering on; leave it out".to_owned(),
        )),
        PowerAction::Off => operations.power_off(&vm),
    })
    .await
}

async fn clone_vm(
    State(api): State<Api>,
    InPath(vm): InPath,
    Body(request): Body<CloneVm>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.clone_vm(&vm, request))
        .await
}

async fn list_snapshots(State(api): State<Api>, InPath(vm): InPath) -> Answer<SnapshotTree> {
    Ok(Json(
        api.blocking(move |operations| operations.snapshots(&vm))
            .await?,
    ))
}

async fn take_snapshot(
    State(api): State<Api>,
    InPath(vm): InPath,
    Body(request): Body<TakeSnapshot>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.take_snapshot(&vm, request))
        .await
}

async fn forget_snapshot(
    State(api): State<Api>,
    InPath((vm, snapshot)): InPath<(String, String)>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.forget_snapshot(&vm, &snapshot))
        .await
}

async fn revert_vm(
    State(api): State<Api>,
    InPath((vm, snapshot)): InPath<(String, String)>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.revert_vm(&vm, &snapshot))
        .await
}

async fn list_tasks(State(api): State<Api>) -> Answer<Items<Task>> {
    api.list(|operations| operations.tasks()).await
}

async fn show_task(State(api): State<Api>, InPath(id): InPath) -> Answer<Task> {
    let id: TaskId = id
        .parse()
        .map_err(|_| Problem::bad_request("the id of a task is a UUID"))?;
    Ok(Json(
        api.blocking(move |operations| operations.task(id)).await?,
    ))
}

async fn no_such_path() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not-found",
        "There is no such thing",
        "the API has no such path; it begins with /v1/vms, /v1/vapps, /v1/templates, /v1/catalogs, /v1/organizations, /v1/vdcs, /v1/vcenters, /v1/providers, /v1/datastores or /v1/tasks",
    )
}

async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This path does not have that method",
        "use GET to look, POST to make or change, DELETE to remove",
    )
}

pub(crate) fn created<T: Serialize>(thing: T) -> Result<Response, Problem> {
    Ok((StatusCode::CREATED, Json(thing)).into_response())
}

/// Who announces more than any request may have is refused before anything of it is read.
async fn refuse_huge(request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|length| length > RESTORE_LIMIT) {
        let detail = format!("a request has at most {RESTORE_LIMIT} bytes");
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The request is too large",
            detail,
        )
        .into_response();
    }
    next.run(request).await
}

/// A JSON body; what is wrong with it is a problem document.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T> FromRequest<S> for Body<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match timeout(BODY_TIME, Json::<T>::from_request(request, state)).await {
            Ok(body) => {
                let Json(value) = body?;
                Ok(Self(value))
            }
            Err(_elapsed) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "The request did not arrive",
                "the body of the request took too long",
            )),
        }
    }
}

/// The variable part of the path, or the parts; what is wrong with it is a problem document.
pub(crate) struct InPath<T = String>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        Path::<T>::from_request_parts(parts, state)
            .await
            .map(|Path(found)| Self(found))
            .map_err(|error: PathRejection| Problem::bad_request(error.body_text()))
    }
}
