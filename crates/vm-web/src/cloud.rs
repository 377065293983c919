//! Organizations, virtual data centers, vApps, catalogs and templates.
//!
//! With `?preview=true` a request that would start a task answers what it would do instead.

use crate::Problem;
use crate::api::{Accepted, ChangePower, CreateUser, Items, Named, Page, Publish, WithVCenter};
use crate::paging::Paging;
use crate::routes::{Answer, Api, Body, InPath, Web, created};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;
use vm_inventory::model::{Catalog, CloudSettings, Datastore, Organization, Template, VCenter};
use vm_inventory::{
    AuditCheck, AuditEntry, Capture, CopyVapp, CreateCatalog, CreateVapp, CreateVdc, EditTpm,
    Error, Import, Instantiate, Job, LineageNode, MoveVapp, MoveVm, Name, Offer, Preview, Scoped,
    Task, TaskId, UserView, VappItem, VappView, VdcView,
};

/// A vApp may have thousands of VMs.
const VAPP_LIMIT: usize = 2 * 1024 * 1024;

/// The paths of this file.
pub(crate) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list_organizations, create_organization))
        .routes(routes!(list_users, create_user))
        .routes(routes!(list_vdcs, create_vdc))
        .routes(routes!(trust))
        .routes(routes!(share))
        .routes(routes!(settings, change_settings))
        .routes(routes!(list_catalogs, create_catalog))
        .routes(routes!(publish))
        .routes(routes!(sync))
        .routes(routes!(list_published))
        .routes(routes!(list_templates, capture))
        .routes(routes!(show_template, delete_template))
        .routes(routes!(instantiate))
        .routes(routes!(list_vapps, create_vapp).layer(DefaultBodyLimit::max(VAPP_LIMIT)))
        .routes(routes!(show_vapp, delete_vapp))
        .routes(routes!(add_to_vapp).layer(DefaultBodyLimit::max(VAPP_LIMIT)))
        .routes(routes!(power_vapp))
        .routes(routes!(copy_vapp))
        .routes(routes!(move_vapp))
        .routes(routes!(move_vm))
        .routes(routes!(import_vm))
        .routes(routes!(edit_tpm))
        .routes(routes!(lineage))
        .routes(routes!(cancel))
        .routes(routes!(list_audit))
        .routes(routes!(check_audit))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    preview: bool,
}

/// Whether to look only; what is wrong with the query is a problem document.
pub(crate) struct LookOnly(bool);

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
    pub(crate) async fn accept_or_look<R: Send + 'static>(
        &self,
        LookOnly(look): LookOnly,
        request: R,
        start: impl FnOnce(&Scoped, &R) -> Result<Job, Error> + Send + 'static,
        preview: impl FnOnce(&Scoped, &R) -> Result<Preview, Error> + Send + 'static,
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

/// Organizations.
#[utoipa::path(get, path = "/v1/organizations", tag = "Organizations",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<Organization>, description = "As asked for")))]
async fn list_organizations(api: Api, paging: Paging) -> Answer<Page<Organization>> {
    api.part(paging, |operations, after: Option<String>, most| {
        operations.some_organizations(after.as_deref(), most)
    })
    .await
}

/// Makes an organization.
#[utoipa::path(post, path = "/v1/organizations", tag = "Organizations",
    request_body = Named,
    responses((status = 201, body = Organization, description = "Made")))]
async fn create_organization(api: Api, Body(request): Body<Named>) -> Result<Response, Problem> {
    let made = api.blocking(|operations| operations.create_organization(request.name));
    created(made.await?)
}

/// Users.
#[utoipa::path(get, path = "/v1/users", tag = "Organizations",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<UserView>, description = "As asked for")))]
async fn list_users(api: Api, paging: Paging) -> Answer<Page<UserView>> {
    api.part(paging, |operations, after: Option<String>, most| {
        operations.some_users(after.as_deref(), most)
    })
    .await
}

/// Adds a user.
#[utoipa::path(post, path = "/v1/users", tag = "Organizations",
    request_body = CreateUser,
    responses((status = 201, body = UserView, description = "Made")))]
async fn create_user(api: Api, Body(request): Body<CreateUser>) -> Result<Response, Problem> {
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

/// Virtual data centers.
#[utoipa::path(get, path = "/v1/vdcs", tag = "Organizations",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<VdcView>, description = "As asked for")))]
async fn list_vdcs(api: Api, paging: Paging) -> Answer<Page<VdcView>> {
    api.part(paging, |operations, after: Option<String>, most| {
        operations.some_vdcs(after.as_deref(), most)
    })
    .await
}

/// Makes a virtual data center.
#[utoipa::path(post, path = "/v1/vdcs", tag = "Organizations",
    request_body = CreateVdc,
    responses((status = 201, body = VdcView, description = "Made")))]
async fn create_vdc(api: Api, Body(request): Body<CreateVdc>) -> Result<Response, Problem> {
    created(
        api.blocking(|operations| operations.create_vdc(request))
            .await?,
    )
}

/// Makes two vCenters trust each other.
#[utoipa::path(post, path = "/v1/vcenters/{vcenter}/trust", tag = "vCenters",
    request_body = WithVCenter,
    params(("vcenter" = String, Path, description = "The name of the vCenter")),
    responses((status = 200, body = Items<VCenter>, description = "As asked for")))]
async fn trust(
    api: Api,
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

/// Lets one more vCenter see a datastore.
#[utoipa::path(post, path = "/v1/datastores/{datastore}/share", tag = "vCenters",
    request_body = WithVCenter,
    params(("datastore" = String, Path, description = "The name of the datastore")),
    responses((status = 200, body = Datastore, description = "As asked for")))]
async fn share(
    api: Api,
    InPath(datastore): InPath,
    Body(request): Body<WithVCenter>,
) -> Answer<Datastore> {
    let datastore: Name = datastore.parse().map_err(Error::from)?;
    let shared =
        api.blocking(move |operations| operations.share_datastore(&datastore, &request.vcenter));
    Ok(Json(shared.await?))
}

/// Settings of the installation.
#[utoipa::path(get, path = "/v1/settings", tag = "vCenters",
    responses((status = 200, body = CloudSettings, description = "As asked for")))]
async fn settings(api: Api) -> Answer<CloudSettings> {
    Ok(Json(
        api.blocking(|operations| operations.cloud_settings())
            .await?,
    ))
}

/// Changes settings of the installation.
#[utoipa::path(put, path = "/v1/settings", tag = "vCenters",
    request_body = CloudSettings,
    responses((status = 200, body = CloudSettings, description = "As asked for")))]
async fn change_settings(api: Api, Body(request): Body<CloudSettings>) -> Answer<CloudSettings> {
    let changed = api.blocking(|operations| operations.change_cloud_settings(request));
    Ok(Json(changed.await?))
}

/// Catalogs.
#[utoipa::path(get, path = "/v1/catalogs", tag = "Templates",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<Catalog>, description = "As asked for")))]
async fn list_catalogs(api: Api, paging: Paging) -> Answer<Page<Catalog>> {
    api.part(paging, |operations, after: Option<String>, most| {
        operations.some_catalogs(after.as_deref(), most)
    })
    .await
}

/// Makes a catalog.
#[utoipa::path(post, path = "/v1/catalogs", tag = "Templates",
    request_body = CreateCatalog,
    responses((status = 201, body = Catalog, description = "Made")))]
async fn create_catalog(api: Api, Body(request): Body<CreateCatalog>) -> Result<Response, Problem> {
    created(
        api.blocking(|operations| operations.create_catalog(request))
            .await?,
    )
}

/// Publishes a catalog, or ends that.
#[utoipa::path(post, path = "/v1/catalogs/{catalog}/publish", tag = "Templates",
    request_body = Publish,
    params(("catalog" = String, Path, description = "A name or `ORGANIZATION/NAME` (escaped)"),
        ("preview" = Option<bool>, Query, description = "Only say what would be offered and what withheld")),
    responses((status = 200, body = Offer, description = "As asked for")))]
async fn publish(
    api: Api,
    InPath(catalog): InPath,
    LookOnly(look): LookOnly,
    Body(request): Body<Publish>,
) -> Answer<Offer> {
    let offer = api.blocking(move |operations| match look {
        true => operations.preview_publish_catalog(&catalog, request.published),
        false => operations.publish_catalog(&catalog, request.published),
    });
    Ok(Json(offer.await?))
}

/// Takes over what a followed catalog offers.
#[utoipa::path(post, path = "/v1/catalogs/{catalog}/sync", tag = "Templates",
    params(("catalog" = String, Path, description = "A name or `ORGANIZATION/NAME` (escaped)"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Items<Task>, description = "Accepted, one task for each template")))]
async fn sync(
    api: Api,
    InPath(catalog): InPath,
    LookOnly(look): LookOnly,
) -> Result<Response, Problem> {
    if look {
        let preview = api.blocking(move |operations| operations.preview_sync_catalog(&catalog));
        return Ok(Json(preview.await?).into_response());
    }
    let jobs = api
        .blocking(move |operations| operations.sync_catalog(&catalog))
        .await?;
    let items: Vec<Task> = jobs.into_iter().map(|job| api.jobs.start(job)).collect();
    Ok((StatusCode::ACCEPTED, Json(Items { items })).into_response())
}

/// What published catalogs offer.
#[utoipa::path(get, path = "/v1/published", tag = "Templates",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<Offer>, description = "As asked for")))]
async fn list_published(api: Api, paging: Paging) -> Answer<Page<Offer>> {
    api.page(paging, |operations| operations.published_catalogs())
        .await
}

/// vApp templates.
#[utoipa::path(get, path = "/v1/templates", tag = "Templates",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<Template>, description = "As asked for")))]
async fn list_templates(api: Api, paging: Paging) -> Answer<Page<Template>> {
    api.part(paging, Scoped::some_templates).await
}

/// Saves a vApp or a VM as a template.
#[utoipa::path(post, path = "/v1/templates", tag = "Templates",
    request_body = Capture,
    params(("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn capture(
    api: Api,
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

/// One template.
#[utoipa::path(get, path = "/v1/templates/{template}", tag = "Templates",
    params(("template" = String, Path, description = "A name, `CATALOG/NAME` (escaped) or an id")),
    responses((status = 200, body = Template, description = "As asked for")))]
async fn show_template(api: Api, InPath(template): InPath) -> Answer<Template> {
    let found = api.blocking(move |operations| operations.template(&template));
    Ok(Json(found.await?))
}

/// Deletes a template.
#[utoipa::path(delete, path = "/v1/templates/{template}", tag = "Templates",
    params(("template" = String, Path, description = "A name, `CATALOG/NAME` (escaped) or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn delete_template(
    api: Api,
    InPath(template): InPath,
    look: LookOnly,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        template,
        |operations, template| operations.delete_template(template),
        |operations, template| operations.preview_delete_template(template),
    )
    .await
}

/// Makes a vApp or a VM of a template.
#[utoipa::path(post, path = "/v1/templates/{template}/instantiate", tag = "Templates",
    request_body = Instantiate,
    params(("template" = String, Path, description = "A name, `CATALOG/NAME` (escaped) or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn instantiate(
    api: Api,
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

/// vApps.
#[utoipa::path(get, path = "/v1/vapps", tag = "vApps",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<VappView>, description = "As asked for")))]
async fn list_vapps(api: Api, paging: Paging) -> Answer<Page<VappView>> {
    api.part(paging, Scoped::some_vapps).await
}

/// Builds a vApp.
#[utoipa::path(post, path = "/v1/vapps", tag = "vApps",
    request_body = CreateVapp,
    params(("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn create_vapp(
    api: Api,
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

/// One vApp with its VMs.
#[utoipa::path(get, path = "/v1/vapps/{vapp}", tag = "vApps",
    params(("vapp" = String, Path, description = "A name, `ORGANIZATION/NAME` (escaped) or an id")),
    responses((status = 200, body = VappView, description = "As asked for")))]
async fn show_vapp(api: Api, InPath(vapp): InPath) -> Answer<VappView> {
    let found = api.blocking(move |operations| operations.vapp(&vapp));
    Ok(Json(found.await?))
}

/// Deletes a vApp and its VMs.
#[utoipa::path(delete, path = "/v1/vapps/{vapp}", tag = "vApps",
    params(("vapp" = String, Path, description = "A name, `ORGANIZATION/NAME` (escaped) or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn delete_vapp(api: Api, InPath(vapp): InPath, look: LookOnly) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        vapp,
        |operations, vapp| operations.delete_vapp(vapp),
        |operations, vapp| operations.preview_delete_vapp(vapp),
    )
    .await
}

/// Adds VMs to a vApp.
#[utoipa::path(post, path = "/v1/vapps/{vapp}/vms", tag = "vApps",
    request_body = Items<VappItem>,
    params(("vapp" = String, Path, description = "A name, `ORGANIZATION/NAME` (escaped) or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn add_to_vapp(
    api: Api,
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

/// Powers every VM of a vApp on or off, or suspends those that run.
#[utoipa::path(post, path = "/v1/vapps/{vapp}/power", tag = "vApps",
    request_body = ChangePower,
    params(("vapp" = String, Path, description = "A name, `ORGANIZATION/NAME` (escaped) or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn power_vapp(
    api: Api,
    InPath(vapp): InPath,
    look: LookOnly,
    Body(request): Body<ChangePower>,
) -> Result<Response, Problem> {
    let power = request.wanted()?;
    if request.accept_rollback {
        return Err(Error::BadValue(
            "older files are accepted VM by VM; leave accept_rollback out".to_owned(),
        )
        .into());
    }
    api.accept_or_look(
        look,
        vapp,
        move |operations, vapp| operations.power_vapp(vapp, power),
        move |operations, vapp| operations.preview_power_vapp(vapp, power),
    )
    .await
}

/// Copies a vApp.
#[utoipa::path(post, path = "/v1/vapps/{vapp}/copy", tag = "vApps",
    request_body = CopyVapp,
    params(("vapp" = String, Path, description = "A name, `ORGANIZATION/NAME` (escaped) or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn copy_vapp(
    api: Api,
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

/// Moves a vApp.
#[utoipa::path(post, path = "/v1/vapps/{vapp}/move", tag = "vApps",
    request_body = MoveVapp,
    params(("vapp" = String, Path, description = "A name, `ORGANIZATION/NAME` (escaped) or an id"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn move_vapp(
    api: Api,
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

/// Moves a VM to another vApp.
#[utoipa::path(post, path = "/v1/vms/{vm}/move", tag = "VMs",
    request_body = MoveVm,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn move_vm(
    api: Api,
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

/// Imports a VM of a vCenter into an organization.
#[utoipa::path(post, path = "/v1/vms/{vm}/import", tag = "VMs",
    request_body = Import,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn import_vm(
    api: Api,
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

/// Adds or removes a TPM.
#[utoipa::path(post, path = "/v1/vms/{vm}/tpm", tag = "VMs",
    request_body = EditTpm,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn edit_tpm(
    api: Api,
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

/// Where a VM's TPM comes from.
#[utoipa::path(get, path = "/v1/vms/{vm}/lineage", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<String>, Query, description = "Only what comes after this, the `next` of the part before")),
    responses((status = 200, body = Page<LineageNode>, description = "The tree from its oldest TPM on, each behind the one that it was made from, `depth` below the first; empty for a VM that never had a TPM")))]
async fn lineage(api: Api, InPath(vm): InPath, paging: Paging) -> Answer<Page<LineageNode>> {
    api.page(paging, move |operations| operations.lineage(&vm))
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    /// The number of the last entry that is known.
    #[serde(default)]
    after: u64,
    /// At most so many.
    limit: Option<usize>,
}

/// Entries in one answer.
const MOST: usize = 1000;

/// The audit log.
#[utoipa::path(get, path = "/v1/audit", tag = "Audit",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many"),
        ("after" = Option<u64>, Query, description = "The number of the last entry that is known")),
    responses((status = 200, body = Page<AuditEntry>, description = "As asked for")))]
async fn list_audit(
    api: Api,
    page: Result<Query<After>, QueryRejection>,
) -> Answer<Page<AuditEntry>> {
    let Query(page) = page.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = page.limit.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        let detail = format!("limit is a number from 1 to {MOST}");
        return Err(Problem::bad_request(detail));
    }
    let mut items = api
        .blocking(move |operations| operations.audit(page.after, limit + 1))
        .await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more);
    let next = next.map(|entry| entry.number.to_string());
    Ok(Json(Page { items, next }))
}

/// Looks whether the audit log was tampered with.
#[utoipa::path(get, path = "/v1/audit/check", tag = "Audit",
    responses((status = 200, body = AuditCheck, description = "As asked for")))]
async fn check_audit(api: Api) -> Answer<AuditCheck> {
    Ok(Json(
        api.blocking(|operations| operations.check_audit()).await?,
    ))
}

/// Cancels a task.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", tag = "Tasks",
    params(("id" = Uuid, Path, description = "The id of the task")),
    responses((status = 200, body = Task, description = "As asked for")))]
async fn cancel(api: Api, InPath(id): InPath) -> Answer<Task> {
    let id: TaskId = id
        .parse()
        .map_err(|_| Problem::bad_request("the id of a task is a UUID"))?;
    let task = api.blocking(move |operations| operations.cancel_task(id));
    Ok(Json(task.await?))
}
