//! Requests about one key provider and its keys.

use crate::Problem;
use crate::api::{CertificateRequest, Forgotten, Items, OnVCenter, SetCertificate};
use crate::routes::{Answer, Api, Body, InPath};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use vm_inventory::{Error, KeyUse, Name, ProviderStatus, ProviderView, Rekey, RekeyAll};

/// The routes, to be merged into all of them.
pub(crate) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/providers/{name}", get(show))
        .route("/v1/providers/{name}/status", get(status))
        .route("/v1/providers/{name}/keys", get(keys))
        .route("/v1/providers/{name}/forget-keys", post(forget_keys))
        .route("/v1/providers/{name}/csr", post(csr))
        .route("/v1/providers/{name}/certificate", post(set_certificate))
        .route("/v1/providers/{name}/rekey", post(rekey_all))
        .route("/v1/vms/{vm}/rekey", post(rekey))
        .route("/v1/vms/{vm}/unlock", post(unlock))
}

async fn show(
    State(api): State<Api>,
    InPath(name): InPath,
    Which(at): Which,
) -> Answer<ProviderView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| operations.provider(at.vcenter.as_ref(), &name))
        .await?;
    Ok(Json(view))
}

async fn status(
    State(api): State<Api>,
    InPath(name): InPath,
    Which(at): Which,
) -> Answer<ProviderStatus> {
    let name = parsed(&name)?;
    let status = api
        .blocking(move |operations| operations.provider_status(at.vcenter.as_ref(), &name))
        .await?;
    Ok(Json(status))
}

async fn keys(
    State(api): State<Api>,
    InPath(name): InPath,
    Which(at): Which,
) -> Answer<Items<KeyUse>> {
    let name = parsed(&name)?;
    api.list(move |operations| operations.provider_keys(at.vcenter.as_ref(), &name))
        .await
}

async fn forget_keys(
    State(api): State<Api>,
    InPath(name): InPath,
    Body(at): Body<OnVCenter>,
) -> Answer<Forgotten> {
    let name = parsed(&name)?;
    let keys = api
        .blocking(move |operations| operations.forget_keys(at.vcenter.as_ref(), &name))
        .await?;
    Ok(Json(Forgotten { keys }))
}

async fn csr(
    State(api): State<Api>,
    InPath(name): InPath,
    Body(at): Body<OnVCenter>,
) -> Answer<CertificateRequest> {
    let name = parsed(&name)?;
    let csr = api
        .blocking(move |operations| operations.provider_csr(at.vcenter.as_ref(), &name))
        .await?;
    Ok(Json(CertificateRequest { csr }))
}

async fn set_certificate(
    State(api): State<Api>,
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

async fn rekey_all(
    State(api): State<Api>,
    InPath(name): InPath,
    Body(request): Body<RekeyAll>,
) -> Result<Response, Problem> {
    let name = parsed(&name)?;
    api.accept(move |operations| operations.rekey_provider(&name, request))
        .await
}

async fn rekey(
    State(api): State<Api>,
    InPath(vm): InPath,
    Body(request): Body<Rekey>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.rekey_vm(&vm, request))
        .await
}

async fn unlock(State(api): State<Api>, InPath(vm): InPath) -> Result<Response, Problem> {
    api.accept(move |operations| operations.unlock_vm(&vm))
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
