//! Requests about the certificates of TPMs, and about the authority of a vCenter that signs them.

use crate::Problem;
use crate::api::{CertificateRequest, GivenCertificate, Items, Nothing, RevocationList, Revoke};
use crate::routes::{Answer, Api, Body, InPath};
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use vm_inventory::certificates::{AuthorityChange, AuthorityView, EndorsementKey, Revoked};
use vm_inventory::{Error, Name};

/// The routes, to be merged into all of them.
pub(crate) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/vcenters/{name}/ca", get(show).post(change))
        .route("/v1/vcenters/{name}/ca/csr", post(csr))
        .route("/v1/vcenters/{name}/ca/certificate", post(set_certificate))
        .route("/v1/vcenters/{name}/ca/revoke", post(revoke))
        .route("/v1/vcenters/{name}/ca/crl", get(crl))
        .route("/v1/vms/{vm}/ek", get(endorsement_keys))
        .route("/v1/vms/{vm}/ek/certificate", post(set_ek_certificate))
        .route("/v1/vms/{vm}/ek/issue", post(issue))
}

async fn show(State(api): State<Api>, InPath(name): InPath) -> Answer<AuthorityView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| operations.authority(Some(&name)))
        .await?;
    Ok(Json(view))
}

async fn change(
    State(api): State<Api>,
    InPath(name): InPath,
    Body(change): Body<AuthorityChange>,
) -> Answer<AuthorityView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| operations.change_authority(Some(&name), &change))
        .await?;
    Ok(Json(view))
}

async fn csr(
    State(api): State<Api>,
    InPath(name): InPath,
    Body(Nothing {}): Body<Nothing>,
) -> Answer<CertificateRequest> {
    let name = parsed(&name)?;
    let request = api
        .blocking(move |operations| operations.authority_request(Some(&name)))
        .await?;
    Ok(Json(CertificateRequest {
        csr: request.to_pem("CERTIFICATE REQUEST"),
    }))
}

async fn set_certificate(
    State(api): State<Api>,
    InPath(name): InPath,
    Body(given): Body<GivenCertificate>,
) -> Answer<AuthorityView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| {
            operations.set_authority_certificate(Some(&name), &given.certificate)
        })
        .await?;
    Ok(Json(view))
}

async fn revoke(
    State(api): State<Api>,
    InPath(name): InPath,
    Body(which): Body<Revoke>,
) -> Answer<Items<Revoked>> {
    let name = parsed(&name)?;
    api.list(move |operations| {
        operations.revoke_certificates(Some(&name), which.vm.as_deref(), which.serial.as_deref())
    })
    .await
}

async fn crl(State(api): State<Api>, InPath(name): InPath) -> Answer<RevocationList> {
    let name = parsed(&name)?;
    let list = api
        .blocking(move |operations| operations.revocation_list(Some(&name)))
        .await?;
    Ok(Json(RevocationList {
        crl: list.to_pem("X509 CRL"),
    }))
}

async fn endorsement_keys(
    State(api): State<Api>,
    InPath(vm): InPath,
) -> Answer<Items<EndorsementKey>> {
    api.list(move |operations| operations.endorsement_keys(&vm))
        .await
}

async fn set_ek_certificate(
    State(api): State<Api>,
    InPath(vm): InPath,
    Body(given): Body<GivenCertificate>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.set_ek_certificate(&vm, given.certificate))
        .await
}

async fn issue(
    State(api): State<Api>,
    InPath(vm): InPath,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.issue_ek_certificates(&vm))
        .await
}

fn parsed(name: &str) -> Result<Name, Problem> {
    Ok(name.parse().map_err(Error::from)?)
}
