//! Requests about one key provider and its keys.

use crate::Problem;
use crate::api::{Accepted, CertificateRequest, Forgotten, Items, OnVCenter, SetCertificate};
use crate::cloud::LookOnly;
use crate::routes::{Answer, Api, Body, InPath, Web};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vm_inventory::{
    EncryptVm, Error, KeyUse, Name, Preview, ProviderStatus, ProviderView, Rekey, RekeyAll,
};

/// The routes, to be merged into all of them.
pub(crate) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(show, remove))
        .routes(routes!(make_default))
        .routes(routes!(status))
        .routes(routes!(keys))
        .routes(routes!(forget_keys))
        .routes(routes!(csr))
        .routes(routes!(set_certificate))
        .routes(routes!(rekey_all))
        .routes(routes!(rekey))
        .routes(routes!(encrypt))
        .routes(routes!(decrypt))
        .routes(routes!(unlock))
}

/// One key provider.
#[utoipa::path(get, path = "/v1/providers/{name}", tag = "Key providers",
    params(("name" = String, Path, description = "The name of the key provider"),
        ("vcenter" = Option<String>, Query, description = "The vCenter of the provider, where several have one of that name")),
    responses((status = 200, body = ProviderView, description = "As asked for")))]
async fn show(api: Api, InPath(name): InPath, Which(at): Which) -> Answer<ProviderView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| operations.provider(at.vcenter.as_ref(), &name))
        .await?;
    Ok(Json(view))
}

/// Removes a key provider.
///
/// Refused while VMs, templates or snapshots need its keys. The key of a native one goes, too: only a backup brings it back.
#[utoipa::path(delete, path = "/v1/providers/{name}", tag = "Key providers",
    params(("name" = String, Path, description = "The name of the key provider"),
        ("vcenter" = Option<String>, Query, description = "The vCenter of the provider, where several have one of that name")),
    responses((status = 200, body = ProviderView, description = "What it was")))]
async fn remove(api: Api, InPath(name): InPath, Which(at): Which) -> Answer<ProviderView> {
    let name = parsed(&name)?;
    let was = api
        .blocking(move |operations| {
            let was = operations.provider(at.vcenter.as_ref(), &name)?;
            operations.remove_provider(&was.vcenter, &name)?;
            Ok(was)
        })
        .await?;
    Ok(Json(was))
}

/// Makes a key provider the default of its vCenter.
///
/// New TPMs get keys of it where the request names no provider; VMs that there are keep theirs.
#[utoipa::path(post, path = "/v1/providers/{name}/default", tag = "Key providers",
    request_body = OnVCenter,
    params(("name" = String, Path, description = "The name of the key provider")),
    responses((status = 200, body = ProviderView, description = "As it is now")))]
async fn make_default(
    api: Api,
    InPath(name): InPath,
    Body(at): Body<OnVCenter>,
) -> Answer<ProviderView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| {
            let vcenter = operations.provider(at.vcenter.as_ref(), &name)?.vcenter;
            operations.set_default_provider(&vcenter, Some(&name))?;
            operations.provider(Some(&vcenter), &name)
        })
        .await?;
    Ok(Json(view))
}

/// What a provider's key servers say.
#[utoipa::path(get, path = "/v1/providers/{name}/status", tag = "Key providers",
    params(("name" = String, Path, description = "The name of the key provider"),
        ("vcenter" = Option<String>, Query, description = "The vCenter of the provider, where several have one of that name")),
    responses((status = 200, body = ProviderStatus, description = "As asked for")))]
async fn status(api: Api, InPath(name): InPath, Which(at): Which) -> Answer<ProviderStatus> {
    let name = parsed(&name)?;
    let status = api
        .blocking(move |operations| operations.provider_status(at.vcenter.as_ref(), &name))
        .await?;
    Ok(Json(status))
}

/// Keys of a provider and the VMs that need them.
#[utoipa::path(get, path = "/v1/providers/{name}/keys", tag = "Key providers",
    params(("name" = String, Path, description = "The name of the key provider"),
        ("vcenter" = Option<String>, Query, description = "The vCenter of the provider, where several have one of that name")),
    responses((status = 200, body = Items<KeyUse>, description = "As asked for")))]
async fn keys(api: Api, InPath(name): InPath, Which(at): Which) -> Answer<Items<KeyUse>> {
    let name = parsed(&name)?;
    api.list(move |operations| operations.provider_keys(at.vcenter.as_ref(), &name))
        .await
}

/// Wipes the keys of a provider from memory.
#[utoipa::path(post, path = "/v1/providers/{name}/forget-keys", tag = "Key providers",
    request_body = OnVCenter,
    params(("name" = String, Path, description = "The name of the key provider")),
    responses((status = 200, body = Forgotten, description = "As asked for")))]
async fn forget_keys(
    api: Api,
    InPath(name): InPath,
    Body(at): Body<OnVCenter>,
) -> Answer<Forgotten> {
    let name = parsed(&name)?;
    let keys = api
        .blocking(move |operations| operations.forget_keys(at.vcenter.as_ref(), &name))
        .await?;
    Ok(Json(Forgotten { keys }))
}

/// Makes a key and a request for a client certificate.
#[utoipa::path(post, path = "/v1/providers/{name}/csr", tag = "Key providers",
    request_body = OnVCenter,
    params(("name" = String, Path, description = "The name of the key provider")),
    responses((status = 200, body = CertificateRequest, description = "As asked for")))]
async fn csr(
    api: Api,
    InPath(name): InPath,
    Body(at): Body<OnVCenter>,
) -> Answer<CertificateRequest> {
    let name = parsed(&name)?;
    let csr = api
        .blocking(move |operations| operations.provider_csr(at.vcenter.as_ref(), &name))
        .await?;
    Ok(Json(CertificateRequest { csr }))
}

/// Sets the client certificate of a provider.
#[utoipa::path(post, path = "/v1/providers/{name}/certificate", tag = "Key providers",
    request_body = SetCertificate,
    params(("name" = String, Path, description = "The name of the key provider")),
    responses((status = 200, body = ProviderView, description = "As asked for")))]
async fn set_certificate(
    api: Api,
    InPath(name): InPath,
    Body(request): Body<SetCertificate>,
) -> Answer<ProviderView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| {
            operations.set_provider_certificate(
                request.vcenter.as_ref(),
                &name,
                &request.certificate,
            )
        })
        .await?;
    Ok(Json(view))
}

/// Re-keys every VM of a provider.
#[utoipa::path(post, path = "/v1/providers/{name}/rekey", tag = "Key providers",
    request_body = RekeyAll,
    params(("name" = String, Path, description = "The name of the key provider"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn rekey_all(
    api: Api,
    InPath(name): InPath,
    look: LookOnly,
    Body(request): Body<RekeyAll>,
) -> Result<Response, Problem> {
    let name = parsed(&name)?;
    api.accept_or_look(
        look,
        (name, request),
        |operations, (name, request)| operations.rekey_provider(name, request.clone()),
        |operations, (name, request)| operations.preview_rekey_provider(name, request),
    )
    .await
}

/// Re-keys a VM.
#[utoipa::path(post, path = "/v1/vms/{vm}/rekey", tag = "VMs",
    request_body = Rekey,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn rekey(
    api: Api,
    InPath(vm): InPath,
    look: LookOnly,
    Body(request): Body<Rekey>,
) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        (vm, request),
        |operations, (vm, request)| operations.rekey_vm(vm, request.clone()),
        |operations, (vm, request)| operations.preview_rekey_vm(vm, request),
    )
    .await
}

/// Encrypts a VM that has no TPM.
#[utoipa::path(post, path = "/v1/vms/{vm}/encrypt", tag = "VMs",
    request_body = EncryptVm,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp")),
    responses((status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn encrypt(
    api: Api,
    InPath(vm): InPath,
    Body(request): Body<EncryptVm>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.encrypt_vm(&vm, request))
        .await
}

/// Ends the encryption of a VM that has no TPM.
#[utoipa::path(post, path = "/v1/vms/{vm}/decrypt", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp")),
    responses((status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn decrypt(api: Api, InPath(vm): InPath) -> Result<Response, Problem> {
    api.accept(move |operations| operations.decrypt_vm(&vm))
        .await
}

/// Unlocks a VM whose key is back.
#[utoipa::path(post, path = "/v1/vms/{vm}/unlock", tag = "VMs",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`; `VAPP/NAME` (escaped) for a VM of a vApp"),
        ("preview" = Option<bool>, Query, description = "Only say what it would do")),
    responses((status = 200, body = Preview, description = "With `preview`: what it would do"), (status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn unlock(api: Api, InPath(vm): InPath, look: LookOnly) -> Result<Response, Problem> {
    api.accept_or_look(
        look,
        vm,
        |operations, vm| operations.unlock_vm(vm),
        |operations, vm| operations.preview_unlock_vm(vm),
    )
    .await
}

fn parsed(name: &str) -> Result<Name, Problem> {
    Ok(name.parse().map_err(Error::from)?)
}

/// Which vCenter, from the query; what is wrong with it is a problem document.
struct Which(OnVCenter);

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::<OnVCenter>::from_request_parts(parts, state)
            .await
            .map(|Query(at)| Self(at))
            .map_err(|error: QueryRejection| Problem::bad_request(error.body_text()))
    }
}
