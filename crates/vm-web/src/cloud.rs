//! Organizations, virtual data centers, vApps, catalogs and templates.
//!
//! With `?preview=true` a request that would start a task answers what it would do instead.

use crate::Problem;
use crate::api::{CreateUser, Items, Named, Publish, WithVCenter};
use crate::routes::{Answer, Api, Body, InPath, created};
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use std::sync::Arc;
use vm_inventory::model::{Catalog, CloudSettings, Datastore, Organization, Template, VCenter};
use vm_inventory::{
    AuditCheck, AuditEntry, Capture, CopyVapp, CreateCatalog, CreateVapp, CreateVdc, EditTpm,
    Error, Import, Instantiate, Job, LineageNode, MoveVapp, MoveVm, Name, Offer, Operations,
    Preview, Task, TaskId, UserView, VappItem, VappView, VdcView,
};

/// A vApp may have thousands of VMs.
const VAPP_LIMIT: usize = 2 * 1024 * 1024;

/// The paths of this file.
pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route(
            "/v1/organizations",
            get(list_organizations).post(create_organization),
        )
        .route("/v1/users", get(list_users).post(create_user))
        .route("/v1/vdcs", get(list_vdcs).post(create_vdc))
        .route("/v1/vcenters/{vcenter}/trust", post(trust))
        .route("/v1/datastores/{datastore}/share", post(share))
        .route("/v1/settings", get(settings).put(change_settings))
        .route("/v1/catalogs", get(list_catalogs).post(create_catalog))
        .route("/v1/catalogs/{catalog}/publish", post(publish))
        .route("/v1/catalogs/{catalog}/sync", post(sync))
        .route("/v1/published", get(list_published))
        .route("/v1/templates", get(list_templates).post(capture))
        .route(
            "/v1/templates/{template}",
            get(show_template).delete(delete_template),
        )
        .route("/v1/templates/{template}/instantiate", post(instantiate))
        .route(
            "/v1/vapps",
            get(list_vapps)
                .post(create_vapp)
                .layer(DefaultBodyLimit::max(VAPP_LIMIT)),
        )
        .route("/v1/vapps/{vapp}", get(show_vapp).delete(delete_vapp))
        .route(
            "/v1/vapps/{vapp}/vms",
            post(add_to_vapp).layer(DefaultBodyLimit::max(VAPP_LIMIT)),
        )
        .route("/v1/vapps/{vapp}/copy", post(copy_vapp))
        .route("/v1/vapps/{vapp}/move", post(move_vapp))
        .route("/v1/vms/{vm}/move", post(move_vm))
        .route("/v1/vms/{vm}/import", post(import_vm))
        .route("/v1/vms/{vm}/tpm", post(edit_tpm))
        .route("/v1/vms/{vm}/lineage", get(lineage))
        .route("/v1/tasks/{id}/cancel", post(cancel))
        .route("/v1/audit", get(list_audit))
        .route("/v1/audit/check", get(check_audit))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    preview: bool,
}

/// Whether to look only; what is wrong with the query is a problem document.
struct LookOnly(bool);

impl<S: Send + Sync> FromRequestParts<S> for LookOnly {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::<Options>::from_request_parts(parts, state)
            .await
            .map(|Query(options)| Self(options.preview))
            .map_err(|error: QueryRejection| Problem::bad_request(error.body_text()))
    }
}

impl Api {
    /// Starts a job, or says what it would do.
    async fn accept_or_look<R: Send + 'static>(
        &self,
        LookOnly(look): LookOnly,
        request: R,
        start: impl FnOnce(&Arc<Operations>, &R) -> Result<Job, Error> + Send + 'static,
        preview: impl FnOnce(&Operations, &R) -> Result<Preview, Error> + Send + 'static,
    ) -> Result<Response, Problem> {
        if look {
            let preview = self
                .blocking(move |operations| preview(operations, &request))
                .await?;
            return Ok(Json(preview).into_response());
        }
        self.accept(move |operations| start(operations, &request))
            .await
    }
}

async fn list_organizations(State(api): State<Api>) -> Answer<Items<Organization>> {
    api.list(|operations| operations.organizations()).await
}

async fn create_organization(
    State(api): State<Api>,
    Body(request): Body<Named>,
) -> Result<Response, Problem> {
    let made = api.blocking(|operations| operations.create_organization(request.name));
    created(made.await?)
}

async fn list_users(State(api): State<Api>) -> Answer<Items<UserView>> {
    api.list(|operations| operations.users(None)).await
}

async fn create_user(
    State(api): State<Api>,
    Body(request): Body<CreateUser>,
) -> Result<Response, Problem> {
    let made = api.blocking(move |operations| {
        operations.create_user(
            request.organization.as_ref(),
            request.name,
            request.role,
            request.password.expose(),
        )
    });
    created(made.await?)
}

async fn list_vdcs(State(api): State<Api>) -> Answer<Items<VdcView>> {
    api.list(|operations| operations.vdcs()).await
}

async fn create_vdc(
    State(api): State<Api>,
    Body(request): Body<CreateVdc>,
) -> Result<Response, Problem> {
    created(
        api.blocking(|operations| operations.create_vdc(request))
            .await?,
    )
}

async fn trust(
    State(api): State<Api>,
    InPath(one): InPath,
    Body(request): Body<WithVCenter>,
) -> Answer<Items<VCenter>> {
    let one: Name = one.parse().map_err(Error::from)?;
    api.list(move |operations| {
        operations.trust(&one, &request.vcenter)?;
        let mut both = operations.vcenters()?;
        both.retain(|it| it.name == one || it.name == request.vcenter);
        Ok(both)
    })
    .await
}

async fn share(
    State(api): State<Api>,
    InPath(datastore): InPath,
    Body(request): Body<WithVCenter>,
) -> Answer<Datastore> {
    let datastore: Name = datastore.parse().map_err(Error::from)?;
    let shared =
        api.blocking(move |operations| operations.share_datastore(&datastore, &request.vcenter));
    Ok(Json(shared.await?))
}

async fn settings(State(api): State<Api>) -> Answer<CloudSettings> {
    Ok(Json(
        api.blocking(|operations| operations.cloud_settings())
            .await?,
    ))
}

async fn change_settings(
    State(api): State<Api>,
    Body(request): Body<CloudSettings>,
) -> Answer<CloudSettings> {
    let changed = api.blocking(|operations| operations.change_cloud_settings(request));
    Ok(Json(changed.await?))
}

async fn list_catalogs(State(api): State<Api>) -> Answer<Items<Catalog>> {
    api.list(|operations| operations.catalogs()).await
}

async fn create_catalog(
    State(api): State<Api>,
    Body(request): Body<CreateCatalog>,
) -> Result<Response, Problem> {
    created(
        api.blocking(|operations| operations.create_catalog(request))
            .await?,
    )
}

async fn publish(
    State(api): State<Api>,
    InPath(catalog): InPath,
    Body(request): Body<Publish>,
) -> Answer<Offer> {
    let offer =
        api.blocking(move |operations| operations.publish_catalog(&catalog, request.published));
    Ok(Json(offer.await?))
}

async fn sync(State(api): State<Api>, InPath(catalog): InPath) -> Result<Response, Problem> {
    let jobs = api
        .blocking(move |operations| operations.sync_catalog(&catalog))
        .await?;
    let items: Vec<Task> = jobs.into_iter().map(|job| api.jobs.start(job)).collect();
    Ok((StatusCode::ACCEPTED, Json(Items { items })).into_response())
}

async fn list_published(State(api): State<Api>) -> Answer<Items<Offer>> {
    api.list(|operations| operations.published_catalogs()).await
}

async fn list_templates(State(api): State<Api>) -> Answer<Items<Template>> {
    api.list(|operations| operations.templates()).await
}

async fn capture(
    State(api): State<Api>,
    look: LookOnly,
    Body(request): Body<Capture>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        request,
        |operations, request| operations.capture(request),
        |operations, request| operations.preview_capture(request),
    )
    .await
}

async fn show_template(State(api): State<Api>, InPath(template): InPath) -> Answer<Template> {
    let found = api.blocking(move |operations| operations.template(&template));
    Ok(Json(found.await?))
}

async fn delete_template(
    State(api): State<Api>,
    InPath(template): InPath,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.delete_template(&template))
        .await
}

async fn instantiate(
    State(api): State<Api>,
    InPath(template): InPath,
    look: LookOnly,
    Body(request): Body<Instantiate>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (template, request),
        |operations, (template, request)| operations.instantiate(template, request),
        |operations, (template, request)| operations.preview_instantiate(template, request),
    )
    .await
}

async fn list_vapps(State(api): State<Api>) -> Answer<Items<VappView>> {
    api.list(|operations| operations.vapps()).await
}

async fn create_vapp(
    State(api): State<Api>,
    look: LookOnly,
    Body(request): Body<CreateVapp>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        request,
        |operations, request| operations.create_vapp(request),
        |operations, request| operations.preview_create_vapp(request),
    )
    .await
}

async fn show_vapp(State(api): State<Api>, InPath(vapp): InPath) -> Answer<VappView> {
    let found = api.blocking(move |operations| operations.vapp(&vapp));
    Ok(Json(found.await?))
}

async fn delete_vapp(
    State(api): State<Api>,
    InPath(vapp): InPath,
    look: LookOnly,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        vapp,
        |operations, vapp| operations.delete_vapp(vapp),
        |operations, vapp| operations.preview_delete_vapp(vapp),
    )
    .await
}

async fn add_to_vapp(
    State(api): State<Api>,
    InPath(vapp): InPath,
    look: LookOnly,
    Body(request): Body<Items<VappItem>>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vapp, request.items),
        |operations, (vapp, items)| operations.add_to_vapp(vapp, items),
        |operations, (vapp, items)| operations.preview_add_to_vapp(vapp, items),
    )
    .await
}

async fn copy_vapp(
    State(api): State<Api>,
    InPath(vapp): InPath,
    look: LookOnly,
    Body(request): Body<CopyVapp>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vapp, request),
        |operations, (vapp, request)| operations.copy_vapp(vapp, request),
        |operations, (vapp, request)| operations.preview_copy_vapp(vapp, request),
    )
    .await
}

async fn move_vapp(
    State(api): State<Api>,
    InPath(vapp): InPath,
    look: LookOnly,
    Body(request): Body<MoveVapp>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vapp, request),
        |operations, (vapp, request)| operations.move_vapp(vapp, request),
        |operations, (vapp, request)| operations.preview_move_vapp(vapp, request),
    )
    .await
}

async fn move_vm(
    State(api): State<Api>,
    InPath(vm): InPath,
    look: LookOnly,
    Body(request): Body<MoveVm>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vm, request),
        |operations, (vm, request)| operations.move_vm(vm, request),
        |operations, (vm, request)| operations.preview_move_vm(vm, request),
    )
    .await
}

async fn import_vm(
    State(api): State<Api>,
    InPath(vm): InPath,
    look: LookOnly,
    Body(request): Body<Import>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vm, request),
        |operations, (vm, request)| operations.import_vm(vm, request),
        |operations, (vm, request)| operations.preview_import_vm(vm, request),
    )
    .await
}

async fn edit_tpm(
    State(api): State<Api>,
    InPath(vm): InPath,
    look: LookOnly,
    Body(request): Body<EditTpm>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vm, request),
        |operations, (vm, request)| operations.edit_tpm(vm, request),
        |operations, (vm, request)| operations.preview_edit_tpm(vm, request),
    )
    .await
}

async fn lineage(State(api): State<Api>, InPath(vm): InPath) -> Answer<Option<LineageNode>> {
    let tree = api.blocking(move |operations| operations.lineage(&vm));
    Ok(Json(tree.await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    /// The number of the last entry that is known.
    #[serde(default)]
    after: u64,
}

/// Entries in one answer.
const PAGE: usize = 1000;

async fn list_audit(
    State(api): State<Api>,
    page: Result<Query<Page>, QueryRejection>,
) -> Answer<Items<AuditEntry>> {
    let Query(page) = page.map_err(|error| Problem::bad_request(error.body_text()))?;
    api.list(move |operations| operations.audit(page.after, PAGE))
        .await
}

async fn check_audit(State(api): State<Api>) -> Answer<AuditCheck> {
    Ok(Json(
        api.blocking(|operations| operations.check_audit()).await?,
    ))
}

async fn cancel(State(api): State<Api>, InPath(id): InPath) -> Answer<Task> {
    let id: TaskId = id
        .parse()
        .map_err(|_| Problem::bad_request("the id of a task is a UUID"))?;
    let task = api.blocking(move |operations| operations.cancel_task(id));
    Ok(Json(task.await?))
}
