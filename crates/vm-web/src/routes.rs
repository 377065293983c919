//! Which request does what.

use crate::api::{
    self, Accepted, BackUp, BackedUp, ChangePower, CreateDatastore, Items, Page, Restore,
};
use crate::caller::{Caller, Entrance, Gate};
use crate::cloud::LookOnly;
use crate::events::Events;
use crate::paging::{Listed, Paging, cut, first, gone};
use crate::repeat::{self, Turns};
use crate::tags::{self, Expected};
use crate::{Jobs, Problem, Sessions, openapi};
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;
use vm_inventory::model::{Datastore, PowerState, VCenter};
use vm_inventory::{
    AdoptTpm, CloneVm, CreateProvider, CreateVCenter, CreateVm, Error, Job, Name, Once, Operations,
    Preview, ProviderView, RequestKey, RestoreProvider, Scoped, SnapshotTree, TakeSnapshot, Task,
    TaskId, VmView,
};

/// Requests are small; a restore carries a backup of at most 1 MiB in base64, and a TPM is smaller.
const BODY_LIMIT: usize = 64 * 1024;
const RESTORE_LIMIT: usize = 2 * 1024 * 1024;
/// No JSON of a request is larger.
pub(crate) const LARGEST_BODY: usize = RESTORE_LIMIT;
/// Whoever is slower holds a connection for nothing.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(30);

pub(crate) type Answer<T> = Result<Json<T>, Problem>;

/// What every request may use. Clones share it.
#[derive(Clone)]
pub struct Web {
    pub(crate) operations: Arc<Operations>,
    pub(crate) jobs: Jobs,
    pub(crate) sessions: Sessions,
    pub(crate) events: Events,
    pub(crate) turns: Turns,
    pub(crate) room: Arc<Semaphore>,
}

impl Web {
    /// The API over `operations`; work that takes longer runs as one of `jobs`, and users log in to `sessions`.
    #[must_use]
    pub fn new(operations: Arc<Operations>, jobs: Jobs, sessions: Sessions) -> Self {
        Self {
            events: Events::of(&operations),
            operations,
            jobs,
            sessions,
            turns: Turns::default(),
            room: crate::packages::room(),
        }
    }

    /// What it is over.
    #[must_use]
    pub fn operations(&self) -> Arc<Operations> {
        Arc::clone(&self.operations)
    }

    /// Who is logged in: for other faces, whose users are the same.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }

    /// Where jobs run.
    #[must_use]
    pub fn jobs(&self) -> Jobs {
        self.jobs.clone()
    }

    /// Ends what would go on for as long as a client listens.
    pub fn close(&self) {
        self.events.close();
    }

    /// What one listener serves, with further routes `beside`; `entrance` says whom it takes somebody without a token for.
    pub fn router(&self, entrance: Entrance, beside: OpenApiRouter) -> Router {
        let own = routes().with_state(self.clone());
        let (router, mut described) = own.split_for_parts();
        // What stands beside says itself how much it takes.
        let (beside, of_beside) = beside.split_for_parts();
        described.merge(of_beside);
        let beside = beside
            .method_not_allowed_fallback(no_such_method)
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(middleware::from_fn(tags::tag))
            .layer(middleware::from_fn_with_state(
                self.clone(),
                repeat::recognize,
            ));
        // Bodies of packages have limits of their own.
        let packages = crate::packages::routes().with_state(self.clone());
        let (packages, of_packages) = packages.split_for_parts();
        described.merge(of_packages);
        let document: Arc<str> = match openapi::document(&described) {
            Ok(document) => format!("{document:#}\n").into(),
            // Types that JSON cannot say do not get through the tests.
            Err(error) => error.to_string().into(),
        };
        let served = get(async move || {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (kind, document.to_string())
        });
        router
            .route("/openapi.json", served)
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(middleware::from_fn(tags::tag))
            .layer(middleware::from_fn_with_state(
                self.clone(),
                repeat::recognize,
            ))
            .layer(middleware::from_fn(refuse_huge))
            .merge(beside)
            .merge(packages)
            .layer(Extension(Gate::new(self.sessions.clone(), entrance)))
    }
}

/// The inventory as the user of one request has it.
pub(crate) struct Api {
    scoped: Scoped,
    pub(crate) jobs: Jobs,
    /// What the request takes the thing for that it changes.
    expected: Option<Expected>,
    repeat: Option<RequestKey>,
}

impl FromRequestParts<Web> for Api {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Problem> {
        let Caller(principal) = Caller::from_request_parts(parts, web).await?;
        let expected = if matches!(parts.method, Method::GET | Method::HEAD) {
            None
        } else {
            Expected::by(parts).await?
        };
        Ok(Self {
            repeat: parts.extensions.get::<RequestKey>().cloned(),
            scoped: web.operations.as_user(principal),
            jobs: web.jobs.clone(),
            expected,
        })
    }
}

fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list_vcenters, create_vcenter))
        .routes(routes!(list_datastores, create_datastore))
        .routes(routes!(list_providers, create_provider))
        .routes(routes!(back_up_provider))
        .routes(routes!(restore_provider).layer(DefaultBodyLimit::max(RESTORE_LIMIT)))
        .routes(routes!(list_vms, create_vm))
        .routes(routes!(adopt_tpm).layer(DefaultBodyLimit::max(RESTORE_LIMIT)))
        .routes(routes!(show_vm, delete_vm))
        .routes(routes!(change_power))
        .routes(routes!(clone_vm))
        .routes(routes!(list_snapshots, take_snapshot))
        .routes(routes!(forget_snapshot))
        .routes(routes!(revert_vm))
        .routes(routes!(list_tasks))
        .routes(routes!(show_task))
        .merge(crate::cloud::routes())
        .merge(crate::provider_routes::router())
        .merge(crate::certificate_routes::router())
        .merge(crate::caller::routes())
        .merge(crate::events::routes())
}

impl Api {
    /// For what goes on for long: it is in nobody's way, and nobody in its.
    pub(crate) fn on_its_own(self) -> Self {
        Self {
            expected: None,
            ..self
        }
    }

    /// Runs something that may wait for a disk where waiting is allowed.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Scoped) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let answering = self.repeat.clone();
        self.waiting(move |scoped| match answering {
            Some(key) => scoped.answering(&key, work),
            None => work(scoped),
        })
        .await
    }

    async fn waiting<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Scoped) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let scoped = self.scoped.clone();
        let expected = self.expected.clone();
        let work = move || match expected {
            None => work(&scoped),
            Some(expected) => {
                // Looked at before anything else is said, and again at the moment of the change, by whatever face others come.
                expected.check(&scoped)?;
                scoped.expecting(move |scoped| expected.check(scoped), work)
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result.map_err(Problem::from),
            Err(_panicked) => Err(Error::Internal("a request stopped half-way".to_owned()).into()),
        }
    }

    /// A list of which nobody wants a part only.
    pub(crate) async fn list<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Scoped) -> Result<Vec<T>, Error> + Send + 'static,
    ) -> Answer<Items<T>> {
        let items = self.blocking(work).await?;
        Ok(Json(Items { items }))
    }

    /// A list, or a part of it.
    pub(crate) async fn page<T: Listed + Send + 'static>(
        &self,
        paging: Paging,
        work: impl FnOnce(&Scoped) -> Result<Vec<T>, Error> + Send + 'static,
    ) -> Answer<Page<T>> {
        let items = self.blocking(work).await?;
        cut(items, &paging).map(Json)
    }

    /// A list of which only the part is read that was asked for; `some` gives at most so many after the one of an id, or nothing if that
    /// is not in the list.
    pub(crate) async fn part<T, I>(
        &self,
        paging: Paging,
        some: impl FnOnce(&Scoped, Option<I>, usize) -> Result<Option<Vec<T>>, Error> + Send + 'static,
    ) -> Answer<Page<T>>
    where
        T: Listed + Send + 'static,
        I: FromStr + Send + 'static,
    {
        let after = paging.after_id::<I>()?;
        let most = paging.most();
        let items = self
            .blocking(move |operations| some(operations, after, most))
            .await?;
        first(items.ok_or_else(gone)?, &paging).map(Json)
    }

    /// Checks a request, starts its job, and answers with the task.
    pub(crate) async fn accept(
        &self,
        work: impl FnOnce(&Scoped) -> Result<Job, Error> + Send + 'static,
    ) -> Result<Response, Problem> {
        let (task, replayed) = match self.repeat.clone() {
            None => (self.jobs.start(self.waiting(work).await?), false),
            Some(key) => match self.waiting(move |scoped| scoped.once(&key, work)).await? {
                Once::Now(job) => (self.jobs.start(*job), false),
                Once::Before(task) => (*task, true),
            },
        };
        let location = format!("/v1/tasks/{}", task.id);
        let body = Json(Accepted { task });
        let mut response =
            (StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response();
        if replayed {
            repeat::mark_replayed(&mut response);
        }
        Ok(response)
    }
}

/// vCenters.
#[utoipa::path(get, path = "/v1/vcenters", tag = "vCenters",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<VCenter>, description = "As asked for")))]
async fn list_vcenters(api: Api, paging: Paging) -> Answer<Page<VCenter>> {
    api.page(paging, |operations| operations.vcenters()).await
}

/// Registers a vCenter.
#[utoipa::path(post, path = "/v1/vcenters", tag = "vCenters",
    request_body = CreateVCenter,
    responses((status = 201, body = VCenter, description = "Made")))]
async fn create_vcenter(api: Api, Body(request): Body<CreateVCenter>) -> Result<Response, Problem> {
    created(
        api.blocking(|operations| operations.create_vcenter(request))
            .await?,
    )
}

/// Datastores.
#[utoipa::path(get, path = "/v1/datastores", tag = "vCenters",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<Datastore>, description = "As asked for")))]
async fn list_datastores(api: Api, paging: Paging) -> Answer<Page<Datastore>> {
    api.page(paging, |operations| operations.datastores()).await
}

/// Adds a datastore.
#[utoipa::path(post, path = "/v1/datastores", tag = "vCenters",
    request_body = CreateDatastore,
    responses((status = 201, body = Datastore, description = "Made")))]
async fn create_datastore(
    api: Api,
    Body(request): Body<CreateDatastore>,
) -> Result<Response, Problem> {
    let made =
        api.blocking(|operations| operations.create_datastore(request.name, request.vcenters));
    created(made.await?)
}

/// Key providers.
#[utoipa::path(get, path = "/v1/providers", tag = "Key providers",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<ProviderView>, description = "As asked for")))]
async fn list_providers(api: Api, paging: Paging) -> Answer<Page<ProviderView>> {
    api.page(paging, |operations| operations.providers()).await
}

/// Registers a key provider.
#[utoipa::path(post, path = "/v1/providers", tag = "Key providers",
    request_body = CreateProvider,
    responses((status = 201, body = ProviderView, description = "Made")))]
async fn create_provider(
    api: Api,
    Body(request): Body<CreateProvider>,
) -> Result<Response, Problem> {
    created(
        api.blocking(|operations| operations.create_provider(request))
            .await?,
    )
}

/// Takes a backup of a native key provider.
#[utoipa::path(post, path = "/v1/providers/{name}/backup", tag = "Key providers",
    request_body = BackUp,
    params(("name" = String, Path, description = "The name of the key provider")),
    responses((status = 200, body = BackedUp, description = "As asked for")))]
async fn back_up_provider(
    api: Api,
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

/// Restores a native key provider from its backup.
#[utoipa::path(post, path = "/v1/providers/restore", tag = "Key providers",
    request_body = Restore,
    responses((status = 201, body = ProviderView, description = "Made")))]
async fn restore_provider(api: Api, Body(request): Body<Restore>) -> Result<Response, Problem> {
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

/// VMs.
#[utoipa::path(get, path = "/v1/vms", tag = "VMs",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<VmView>, description = "As asked for")))]
async fn list_vms(api: Api, paging: Paging) -> Answer<Page<VmView>> {
    api.part(paging, Scoped::some_vms).await
}

/// One VM with its TPM.
#[utoipa::path(get, path = "/v1/vms/{vm}", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp")),
    responses((status = 200, body = VmView, description = "As asked for")))]
async fn show_vm(api: Api, InPath(vm): InPath) -> Answer<VmView> {
    Ok(Json(
        api.blocking(move |operations| operations.vm(&vm)).await?,
    ))
}

/// Makes a VM with a TPM that another program has kept.
#[utoipa::path(post, path = "/v1/adoptions", tag = "VMs",
    request_body = api::AdoptTpm,
    responses((status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn adopt_tpm(api: Api, Body(request): Body<api::AdoptTpm>) -> Result<Response, Problem> {
    let state = STANDARD
        .decode(request.state.as_bytes())
        .map_err(|error| Problem::bad_request(format!("the state is not base64: {error}")))?;
    let request = AdoptTpm {
        vm: request.vm,
        state: state.into(),
    };
    api.accept(|operations| operations.adopt_tpm(request)).await
}

/// Makes a VM outside vApps.
#[utoipa::path(post, path = "/v1/vms", tag = "VMs",
    request_body = CreateVm,
    params(("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn create_vm(
    api: Api,
    look: LookOnly,
    Body(request): Body<CreateVm>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        request,
        |operations, request| operations.create_vm(request.clone()),
        |operations, request| operations.preview_create_vm(request),
    )
    .await
}

/// Deletes a VM and its TPM.
#[utoipa::path(delete, path = "/v1/vms/{vm}", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn delete_vm(api: Api, InPath(vm): InPath, look: LookOnly) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        vm,
        |operations, vm| operations.delete_vm(vm),
        |operations, vm| operations.preview_delete_vm(vm),
    )
    .await
}

/// Powers a VM on or off, or suspends it.
#[utoipa::path(post, path = "/v1/vms/{vm}/power", tag = "VMs",
    request_body = ChangePower,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn change_power(
    api: Api,
    InPath(vm): InPath,
    look: LookOnly,
    Body(request): Body<ChangePower>,
) -> Result<Response, Problem> {
    let power = request.wanted()?;
    api.accept_or_look(
        look,
        (vm, request.accept_rollback),
        move |operations, (vm, accept_rollback)| match power {
            PowerState::On => operations.power_on(vm, *accept_rollback),
            PowerState::Off => operations.power_off(vm),
            PowerState::Suspended => operations.suspend_vm(vm),
        },
        move |operations, (vm, accept_rollback)| {
            operations.preview_power(vm, power, *accept_rollback)
        },
    )
    .await
}

/// Clones a VM, by the rules of vSphere.
#[utoipa::path(post, path = "/v1/vms/{vm}/clone", tag = "VMs",
    request_body = CloneVm,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn clone_vm(
    api: Api,
    InPath(vm): InPath,
    look: LookOnly,
    Body(request): Body<CloneVm>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vm, request),
        |operations, (vm, request)| operations.clone_vm(vm, request),
        |operations, (vm, request)| operations.preview_clone_vm(vm, request),
    )
    .await
}

/// Snapshots of a VM.
#[utoipa::path(get, path = "/v1/vms/{vm}/snapshots", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp")),
    responses((status = 200, body = SnapshotTree, description = "As asked for")))]
async fn list_snapshots(api: Api, InPath(vm): InPath) -> Answer<SnapshotTree> {
    Ok(Json(
        api.blocking(move |operations| operations.snapshots(&vm))
            .await?,
    ))
}

/// Takes a snapshot.
#[utoipa::path(post, path = "/v1/vms/{vm}/snapshots", tag = "VMs",
    request_body = TakeSnapshot,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn take_snapshot(
    api: Api,
    InPath(vm): InPath,
    look: LookOnly,
    Body(request): Body<TakeSnapshot>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vm, request),
        |operations, (vm, request)| operations.take_snapshot(vm, request.clone()),
        |operations, (vm, request)| operations.preview_take_snapshot(vm, request),
    )
    .await
}

/// Removes a snapshot.
#[utoipa::path(delete, path = "/v1/vms/{vm}/snapshots/{snapshot}", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("snapshot" = String, Path, description = "A name or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn forget_snapshot(
    api: Api,
    InPath(named): InPath<(String, String)>,
    look: LookOnly,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        named,
        |operations, (vm, snapshot)| operations.forget_snapshot(vm, snapshot),
        |operations, (vm, snapshot)| operations.preview_forget_snapshot(vm, snapshot),
    )
    .await
}

/// Goes back to a snapshot.
#[utoipa::path(post, path = "/v1/vms/{vm}/snapshots/{snapshot}/revert", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("snapshot" = String, Path, description = "A name or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn revert_vm(
    api: Api,
    InPath(named): InPath<(String, String)>,
    look: LookOnly,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        named,
        |operations, (vm, snapshot)| operations.revert_vm(vm, snapshot),
        |operations, (vm, snapshot)| operations.preview_revert_vm(vm, snapshot),
    )
    .await
}

/// Tasks, the newest first.
#[utoipa::path(get, path = "/v1/tasks", tag = "Tasks",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<Task>, description = "As asked for")))]
async fn list_tasks(api: Api, paging: Paging) -> Answer<Page<Task>> {
    api.part(paging, Scoped::some_tasks).await
}

/// One task.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "Tasks",
    params(("id" = Uuid, Path, description = "The id of the task")),
    responses((status = 200, body = Task, description = "As asked for")))]
async fn show_task(api: Api, InPath(id): InPath) -> Answer<Task> {
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
            Err(_elapsed) => Err(Problem::too_slow()),
        }
    }
}

/// The variable part of the path, or the parts; what is wrong with it is a problem document.
pub(crate) struct InPath<T = String>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<T>::from_request_parts(parts, state)
            .await
            .map(|Path(found)| Self(found))
            .map_err(|error: PathRejection| Problem::bad_request(error.body_text()))
    }
}
