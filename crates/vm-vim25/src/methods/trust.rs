//! Trust between a vCenter and key servers: certificates go back and forth.

use super::Request;
use super::crypto::{address, named, provider_name};
use crate::fault::{self, About, Fault, Outcome};
use crate::value::{Object, Value};
use vm_inventory::Error;
use vm_inventory::key_server::{KeyServer, Secret};
use zeroize::Zeroizing;

fn failed(property: &'static str) -> impl Fn(Error) -> Box<Fault> {
    move |error| match error {
        Error::NotFound { .. } | Error::NoProvider { .. } => {
            Fault::invalid_argument("cluster", error.to_string())
        }
        Error::BadValue(message) => Fault::invalid_argument(property, message),
        other => fault::of(&other, &About::default()),
    }
}

fn setup(request: &Request<'_>) -> Outcome<KeyServer> {
    request
        .call
        .act()?
        .key_server_setup(&request.call.vcenter.name, &named(request, "cluster")?)
        .map_err(failed("cluster"))
}

pub(super) fn server_certificate(request: &Request<'_>) -> Outcome<Option<Value>> {
    let provider = provider_name(request.object("keyProvider")?)?;
    let act = request.call.act()?;
    let at = address(request.object("server")?)?;
    let trusted = act
        .key_server_setup(&request.call.vcenter.name, &provider)
        .map(|setup| setup.server_certificates)
        .unwrap_or_default();
    let certificate = act
        .certificate_of_key_server(&at)
        .map_err(|error| Fault::new("InvalidState", error.to_string()))?;
    Ok(Some(
        Object::new("CryptoManagerKmipServerCertInfo")
            .with("clientTrustServer", trusted.contains(certificate.trim()))
            .with("certificate", certificate)
            .into(),
    ))
}

pub(super) fn trust_server(request: &Request<'_>) -> Outcome<Option<Value>> {
    request
        .call
        .act()?
        .trust_key_server(
            &request.call.vcenter.name,
            &named(request, "cluster")?,
            request.text("certificate")?,
        )
        .map_err(failed("certificate"))?;
    Ok(None)
}

pub(super) fn self_signed(request: &Request<'_>) -> Outcome<Option<Value>> {
    let certificate = request
        .call
        .act()?
        .self_signed_identity(&request.call.vcenter.name, &named(request, "cluster")?)
        .map_err(failed("cluster"))?;
    Ok(Some(certificate.into()))
}

pub(super) fn client_certificate(request: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(setup(request)?.client_certificate.map(Value::from))
}

/// The certificate that was made is in use from its making on; another one is not its key's.
pub(super) fn use_self_signed(request: &Request<'_>) -> Outcome<Option<Value>> {
    let given = request.text("certificate")?;
    let own = setup(request)?.client_certificate;
    if own.is_some_and(|own| own.trim() == given.trim()) {
        return Ok(None);
    }
    Err(Fault::invalid_argument(
        "certificate",
        "this is not the certificate that was made; generate one, or upload it with its key",
    ))
}

pub(super) fn request(request: &Request<'_>) -> Outcome<Option<Value>> {
    let made = request
        .call
        .act()?
        .client_request(&request.call.vcenter.name, &named(request, "cluster")?)
        .map_err(failed("cluster"))?;
    Ok(Some(made.into()))
}

pub(super) fn pending_request(request: &Request<'_>) -> Outcome<Option<Value>> {
    Ok(setup(request)?.request.map(Value::from))
}

pub(super) fn answer_request(request: &Request<'_>) -> Outcome<Option<Value>> {
    request
        .call
        .act()?
        .set_provider_certificate(
            Some(&request.call.vcenter.name),
            &named(request, "cluster")?,
            request.text("certificate")?,
        )
        .map_err(failed("certificate"))?;
    Ok(None)
}

pub(super) fn upload_identity(request: &Request<'_>) -> Outcome<Option<Value>> {
    let key = Secret::new(Zeroizing::new(request.text("privateKey")?.to_owned()));
    request
        .call
        .act()?
        .set_client_identity(
            &request.call.vcenter.name,
            &named(request, "cluster")?,
            request.text("certificate")?,
            &key,
        )
        .map_err(failed("certificate"))?;
    Ok(None)
}
