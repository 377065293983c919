//! Requests about the certificates of TPMs, and about the authority of a vCenter that signs them.

use crate::Problem;
use crate::api::{
    Accepted, CertificateRequest, DeviceKeysWanted, GivenCertificate, Items, Nothing,
    RevocationList, Revoke,
};
use crate::routes::{Answer, Api, Body, InPath, Web};
use axum::Json;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vm_inventory::certificates::{
    AuthorityChange, AuthorityView, DeviceKey, EndorsementKey, Revoked,
};
use vm_inventory::{Error, Name};

/// The routes, to be merged into all of them.
pub(crate) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(show_authority, change_authority))
        .routes(routes!(authority_csr))
        .routes(routes!(set_authority_certificate))
        .routes(routes!(revoke_certificates))
        .routes(routes!(revocation_list))
        .routes(routes!(endorsement_keys))
        .routes(routes!(set_ek_certificate))
        .routes(routes!(issue))
        .routes(routes!(device_keys, make_device_keys))
        .routes(routes!(set_device_certificate))
}

/// The certificate authority of a vCenter.
#[utoipa::path(get, path = "/v1/vcenters/{name}/ca", tag = "Certificates",
    params(("name" = String, Path, description = "The name of the vCenter")),
    responses((status = 200, body = AuthorityView, description = "As asked for")))]
async fn show_authority(api: Api, InPath(name): InPath) -> Answer<AuthorityView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| operations.authority(Some(&name)))
        .await?;
    Ok(Json(view))
}

/// Changes how the authority is used.
#[utoipa::path(post, path = "/v1/vcenters/{name}/ca", tag = "Certificates",
    request_body = AuthorityChange,
    params(("name" = String, Path, description = "The name of the vCenter")),
    responses((status = 200, body = AuthorityView, description = "As asked for")))]
async fn change_authority(
    api: Api,
    InPath(name): InPath,
    Body(change): Body<AuthorityChange>,
) -> Answer<AuthorityView> {
    let name = parsed(&name)?;
    let view = api
        .blocking(move |operations| operations.change_authority(Some(&name), &change))
        .await?;
    Ok(Json(view))
}

/// Makes a request to another authority.
#[utoipa::path(post, path = "/v1/vcenters/{name}/ca/csr", tag = "Certificates",
    request_body = Nothing,
    params(("name" = String, Path, description = "The name of the vCenter")),
    responses((status = 200, body = CertificateRequest, description = "As asked for")))]
async fn authority_csr(
    api: Api,
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

/// Takes the certificate that another authority gave.
#[utoipa::path(post, path = "/v1/vcenters/{name}/ca/certificate", tag = "Certificates",
    request_body = GivenCertificate,
    params(("name" = String, Path, description = "The name of the vCenter")),
    responses((status = 200, body = AuthorityView, description = "As asked for")))]
async fn set_authority_certificate(
    api: Api,
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

/// Revokes certificates.
#[utoipa::path(post, path = "/v1/vcenters/{name}/ca/revoke", tag = "Certificates",
    request_body = Revoke,
    params(("name" = String, Path, description = "The name of the vCenter")),
    responses((status = 200, body = Items<Revoked>, description = "As asked for")))]
async fn revoke_certificates(
    api: Api,
    InPath(name): InPath,
    Body(which): Body<Revoke>,
) -> Answer<Items<Revoked>> {
    let name = parsed(&name)?;
    api.list(move |operations| {
        operations.revoke_certificates(Some(&name), which.vm.as_deref(), which.serial.as_deref())
    })
    .await
}

/// The list of revoked certificates.
#[utoipa::path(get, path = "/v1/vcenters/{name}/ca/crl", tag = "Certificates",
    params(("name" = String, Path, description = "The name of the vCenter")),
    responses((status = 200, body = RevocationList, description = "As asked for")))]
async fn revocation_list(api: Api, InPath(name): InPath) -> Answer<RevocationList> {
    let name = parsed(&name)?;
    let lists = api
        .blocking(move |operations| operations.revocation_lists(Some(&name)))
        .await?;
    let lists = lists.iter().map(|list| list.to_pem("X509 CRL"));
    Ok(Json(RevocationList {
        crl: lists.collect(),
    }))
}

/// The endorsement keys of a TPM and their certificates.
#[utoipa::path(get, path = "/v1/vms/{vm}/ek", tag = "Certificates",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`")),
    responses((status = 200, body = Items<EndorsementKey>, description = "As asked for")))]
async fn endorsement_keys(api: Api, InPath(vm): InPath) -> Answer<Items<EndorsementKey>> {
    api.list(move |operations| operations.endorsement_keys(&vm))
        .await
}

/// Puts a certificate into a TPM.
#[utoipa::path(post, path = "/v1/vms/{vm}/ek/certificate", tag = "Certificates",
    request_body = GivenCertificate,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`")),
    responses((status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn set_ek_certificate(
    api: Api,
    InPath(vm): InPath,
    Body(given): Body<GivenCertificate>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.set_ek_certificate(&vm, given.certificate))
        .await
}

/// Gives a TPM certificates of its vCenter's authority.
#[utoipa::path(post, path = "/v1/vms/{vm}/ek/issue", tag = "Certificates",
    request_body = Nothing,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`")),
    responses((status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn issue(
    api: Api,
    InPath(vm): InPath,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.issue_ek_certificates(&vm))
        .await
}

/// The keys that were made in a TPM on request: attestation key, initial attestation key, initial device identity.
#[utoipa::path(get, path = "/v1/vms/{vm}/device-keys", tag = "Certificates",
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`")),
    responses((status = 200, body = Items<DeviceKey>, description = "As asked for")))]
async fn device_keys(api: Api, InPath(vm): InPath) -> Answer<Items<DeviceKey>> {
    api.list(move |operations| operations.device_keys(&vm))
        .await
}

/// Makes such keys, which the TPM shows to have, and certifies them.
#[utoipa::path(post, path = "/v1/vms/{vm}/device-keys", tag = "Certificates",
    request_body = DeviceKeysWanted,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`")),
    responses((status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn make_device_keys(
    api: Api,
    InPath(vm): InPath,
    Body(wanted): Body<DeviceKeysWanted>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.make_device_keys(&vm, wanted.keys))
        .await
}

/// Puts a certificate of another authority for such a key into a TPM, which shows to have the key.
#[utoipa::path(post, path = "/v1/vms/{vm}/device-keys/certificate", tag = "Certificates",
    request_body = GivenCertificate,
    params(("vm" = String, Path, description = "A name, an id, or a URN `urn:vcloud:vm:ID`")),
    responses((status = 202, body = Accepted, description = "Accepted: the task does it")))]
async fn set_device_certificate(
    api: Api,
    InPath(vm): InPath,
    Body(given): Body<GivenCertificate>,
) -> Result<Response, Problem> {
    api.accept(move |operations| operations.set_device_certificate(&vm, given.certificate))
        .await
}

fn parsed(name: &str) -> Result<Name, Problem> {
    Ok(name.parse().map_err(Error::from)?)
}
