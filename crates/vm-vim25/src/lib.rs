//! The vSphere API (vim25, SOAP) over the inventory, and the part of vCenter's REST API with which native key providers are made.
//!
//! Each vCenter of the inventory has a service of its own, under `/VCENTER/sdk`, in the version of that vCenter; the first one is at
//! `/sdk` too. No rule of an operation stands here: a method reads its arguments, calls the operation as whoever is logged in, and
//! answers with the data object or the fault of the API.

#![forbid(unsafe_code)]

mod arguments;
mod collector;
mod fault;
mod given;
mod inventory;
mod machine;
mod methods;
mod properties;
mod rest;
mod schema;
mod server;
mod session;
mod soap;
mod tasks;
mod value;
mod xml;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use fault::Fault;
use schema::Version;
use server::{Call, Server, offered};
use std::sync::Arc;
use std::time::Duration;
use vm_inventory::Operations;
use vm_inventory::model::VCenter;
use vm_web::{Jobs, Sessions, Token};

/// Requests are small; a restore carries a backup in base64.
const BODY_LIMIT: usize = 2 * 1024 * 1024;
/// Whoever is slower holds a connection for nothing.
const BODY_TIME: Duration = Duration::from_secs(30);
/// The cookie of a session, by vCenter's name for it.
const COOKIE: &str = "vmware_soap_session";

/// The services of every vCenter.
pub fn router(operations: Arc<Operations>, sessions: Sessions, jobs: Jobs) -> Router {
    let server = Arc::new(Server::new(operations, sessions, jobs));
    Router::new()
        .route("/sdk", post(first_soap))
        .route("/sdk/", post(first_soap))
        .route("/sdk/vimService", post(first_soap))
        .route("/sdk/vimServiceVersions.xml", get(first_versions))
        .route("/{vcenter}/sdk", post(soap_of))
        .route("/{vcenter}/sdk/", post(soap_of))
        .route("/{vcenter}/sdk/vimService", post(soap_of))
        .route("/{vcenter}/sdk/vimServiceVersions.xml", get(versions_of))
        .merge(rest::routes())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(server)
}

type Shared = State<Arc<Server>>;

async fn first_soap(State(server): Shared, headers: HeaderMap, body: Body) -> Response {
    answer(server, None, headers, body).await
}

async fn soap_of(
    State(server): Shared,
    Path(vcenter): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(server, Some(vcenter), headers, body).await
}

async fn first_versions(State(server): Shared) -> Response {
    versions(server, None).await
}

async fn versions_of(State(server): Shared, Path(vcenter): Path<String>) -> Response {
    versions(server, Some(vcenter)).await
}

/// A body that arrived in time.
struct Body(Bytes);

impl<S: Send + Sync> axum::extract::FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Response> {
        let read = Bytes::from_request(request, state);
        match tokio::time::timeout(BODY_TIME, read).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejection)) => Err(rejection.into_response()),
            Err(_elapsed) => {
                Err((StatusCode::REQUEST_TIMEOUT, "the request did not arrive").into_response())
            }
        }
    }
}

/// The vCenter that a request goes to.
async fn vcenter(server: &Arc<Server>, name: Option<String>) -> Result<VCenter, Response> {
    let server = Arc::clone(server);
    let found = tokio::task::spawn_blocking(move || server.vcenter(name.as_deref())).await;
    match found {
        Ok(Ok(Some(vcenter))) => Ok(vcenter),
        Ok(Ok(None)) => Err((StatusCode::NOT_FOUND, "there is no such vCenter\n").into_response()),
        Ok(Err(error)) => {
            tracing::error!("the vCenters were not read: {error}");
            Err(StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
        Err(_panicked) => Err(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    }
}

async fn answer(
    server: Arc<Server>,
    name: Option<String>,
    headers: HeaderMap,
    Body(bytes): Body,
) -> Response {
    let vcenter = match vcenter(&server, name).await {
        Ok(vcenter) => vcenter,
        Err(response) => return response,
    };
    let own = offered(vcenter.version)
        .first()
        .and_then(|version| Version::parse(version))
        .unwrap_or_default();
    let action = headers
        .get("soapaction")
        .and_then(|value| value.to_str().ok());
    let read = soap::version(action, own).and_then(|version| Ok((version, soap::body(&bytes)?)));
    drop(bytes);
    let (version, body) = match read {
        Ok(read) => read,
        Err(fault) => return refused(&fault, own),
    };
    let token = token_of(&headers);
    let login = token
        .as_ref()
        .and_then(|token| server.logins.find(&vcenter.name, token));
    let call = Call {
        server,
        vcenter,
        version,
        login,
        token,
        address: String::new(),
    };
    let reply = soap::answer(&call, body).await;
    let status = if reply.is_fault {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::OK
    };
    let mut response = xml(status, reply.document);
    if let Some(token) = reply.token
        && let Ok(cookie) = cookie(&token)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn cookie(token: &Token) -> Result<header::HeaderValue, header::InvalidHeaderValue> {
    let text = format!("{COOKIE}=\"{}\"; Path=/; HttpOnly; Secure", token.as_str());
    header::HeaderValue::from_str(&text).map(|mut value| {
        value.set_sensitive(true);
        value
    })
}

/// The token in the cookies of a request.
fn token_of(headers: &HeaderMap) -> Option<Token> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| Token::new(value.trim().trim_matches('"').to_owned()))
}

fn xml(status: StatusCode, document: String) -> Response {
    let kind = [
        (header::CONTENT_TYPE, "text/xml; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (status, kind, document).into_response()
}

fn refused(fault: &Fault, version: Version) -> Response {
    xml(
        StatusCode::INTERNAL_SERVER_ERROR,
        soap::fault_document(fault, version),
    )
}

/// The versions that a vCenter speaks: clients choose the latest that they know too.
async fn versions(server: Arc<Server>, name: Option<String>) -> Response {
    let vcenter = match vcenter(&server, name).await {
        Ok(vcenter) => vcenter,
        Err(response) => return response,
    };
    let mut versions = offered(vcenter.version).into_iter();
    let mut writer = xml::Writer::default();
    writer.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    writer.open("namespaces", &[("version", "1.0")]);
    writer.open("namespace", &[]);
    writer.leaf("name", &[], "urn:vim25");
    writer.leaf("version", &[], versions.next().unwrap_or("6.0"));
    writer.open("priorVersions", &[]);
    for version in versions {
        writer.leaf("version", &[], version);
    }
    writer.close("priorVersions");
    writer.close("namespace");
    writer.close("namespaces");
    xml(StatusCode::OK, writer.finish())
}
