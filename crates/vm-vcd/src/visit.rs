//! From HTTP to a handler and back.

use crate::call::{Call, Reply, Server};
use crate::fault::Fault;
use crate::node::Node;
use crate::routes::{Fit, ROUTES, Route, Run};
use crate::schema::entity;
use crate::version::{ApiVersion, Format, accepted, written};
use crate::{ids, json, sessions, show, xml};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;
use vm_inventory::Principal;

/// A vApp of ten thousand VMs fits.
const BODY_LIMIT: usize = 8 * 1024 * 1024;
/// Whoever is slower holds a connection for nothing.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How an answer is to be written.
#[derive(Clone, Copy)]
struct Style {
    format: Format,
    version: ApiVersion,
    /// Errors of the newer paths are objects without a schema.
    cloud: bool,
}

/// Serves any request of the API.
pub(crate) async fn serve(State(server): State<Server>, request: Request) -> Response {
    let cloud = request.uri().path().starts_with("/cloudapi");
    let accept = text_of(request.headers(), &header::ACCEPT);
    let fallback = Style {
        format: if cloud { Format::Json } else { Format::Xml },
        version: ApiVersion::DEFAULT,
        cloud,
    };
    // The versions are what somebody asks for who knows none yet.
    let open = request.uri().path() == "/api/versions";
    let (style, faulty) = match accepted(accept.as_deref()) {
        Ok((format, version)) => (
            Style {
                format: match format {
                    _ if cloud => Format::Json,
                    Some(format) => format,
                    None => fallback.format,
                },
                version,
                cloud,
            },
            None,
        ),
        Err(_) if open => (fallback, None),
        Err(fault) => (fallback, Some(fault)),
    };
    let answer = match faulty {
        Some(fault) => Err(fault),
        None => answer(&server, request, style).await,
    };
    answer.unwrap_or_else(|fault| refuse(&fault, style))
}

/// Takes a file of a template, or a piece of one.
pub(crate) async fn upload(
    State(server): State<Server>,
    Path((id, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    let style = Style {
        format: Format::Xml,
        version: ApiVersion::DEFAULT,
        cloud: false,
    };
    let (parts, body) = request.into_parts();
    let done = async {
        let who = sessions::principal(&server.sessions, &parts.headers)?;
        let id = ids::strict(&id).ok_or_else(|| Fault::not_found("the identifier is none"))?;
        let uploads = &server.uploads;
        uploads
            .put(&server, &who, (id, name), &parts.headers, body)
            .await
    };
    match done.await {
        Ok(()) => build(StatusCode::OK, "", style.version, String::new()),
        Err(fault) => refuse(&fault, style),
    }
}

async fn answer(server: &Server, request: Request, style: Style) -> Result<Response, Fault> {
    let path = request.uri().path().to_owned();
    let fitting: Vec<(&Route, Fit)> = ROUTES
        .iter()
        .filter_map(|route| Some((route, route.fits(&path)?)))
        .collect();
    if fitting.is_empty() {
        return Err(Fault::not_found(
            "the API has no such path, or the identifier in it is none; start from GET /api/session",
        ));
    }
    let methods: Vec<String> = fitting
        .iter()
        .map(|(route, _)| route.method.to_string())
        .collect();
    let (route, fit) = fitting
        .into_iter()
        .find(|(route, _)| route.method == *request.method())
        .ok_or_else(|| Fault::method_not_allowed(&methods.join(", ")))?;
    let headers = request.headers().clone();
    let base = base(server, &headers, request.uri())?;
    match route.run {
        Run::Versions => Ok(versions(&base, style)),
        Run::LogIn => {
            let (token, principal) = sessions::log_in(&server.sessions, &headers, false).await?;
            let call = call(server, principal, base, style);
            let node = show::org::session(&call);
            let reply = Reply::ok(&entity::SESSION_ROOT, node);
            Ok(with_token(respond(reply, style), &token))
        }
        Run::CloudLogIn { system } => {
            let (token, principal) = sessions::log_in(&server.sessions, &headers, system).await?;
            let call = call(server, principal, base, style);
            Ok(with_token(cloud_session(&call, style), &token))
        }
        Run::CloudSession => {
            let principal = sessions::principal(&server.sessions, &headers)?;
            Ok(cloud_session(&call(server, principal, base, style), style))
        }
        Run::LogOut => {
            sessions::principal(&server.sessions, &headers)?;
            if let Some(token) = sessions::token(&headers) {
                server.sessions.log_out(token);
            }
            Ok(respond(Reply::nothing(), style))
        }
        Run::Call(run) => {
            let principal = sessions::principal(&server.sessions, &headers)?;
            let mut call = call(server, principal, base, style);
            (call.ids, call.key) = fit;
            call.route = route.path;
            call.parameters = parameters(request.uri())?;
            call.body = body(route, request, style).await?;
            let done = tokio::task::spawn_blocking(move || run(&call)).await;
            match done {
                Ok(reply) => Ok(respond(reply?, style)),
                Err(_panicked) => Err(Fault::internal(
                    "a request stopped half-way; please report it",
                )),
            }
        }
    }
}

fn call(server: &Server, principal: Principal, base: String, style: Style) -> Call {
    Call {
        operations: server.operations.as_user(principal),
        jobs: server.jobs.clone(),
        uploads: server.uploads.clone(),
        base,
        version: style.version,
        ids: Vec::new(),
        route: "",
        key: String::new(),
        parameters: Vec::new(),
        body: None,
    }
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Scheme, host and port that the client uses.
fn base(server: &Server, headers: &HeaderMap, uri: &Uri) -> Result<String, Fault> {
    let scheme = server.site.scheme;
    if let Some(name) = &server.site.name {
        return Ok(format!("{scheme}://{name}"));
    }
    let host = text_of(headers, &header::HOST)
        .or_else(|| uri.authority().map(ToString::to_string))
        .unwrap_or_default();
    let fits = (1..=300).contains(&host.len())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    if fits {
        Ok(format!("{scheme}://{host}"))
    } else {
        Err(Fault::bad_request(
            "Bad request: the Host header is no host name",
        ))
    }
}

/// What stands after the question mark.
fn parameters(uri: &Uri) -> Result<Vec<(String, String)>, Fault> {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(&text.replace('+', " "))
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| Fault::bad_request("Bad request: a parameter is not UTF-8"))
    };
    uri.query()
        .unwrap_or_default()
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// The body, read by the type that the route takes.
async fn body(route: &Route, request: Request, style: Style) -> Result<Option<Node>, Fault> {
    let media = text_of(request.headers(), &header::CONTENT_TYPE);
    let announced = text_of(request.headers(), &header::CONTENT_LENGTH)
        .and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT) {
        return Err(Fault::too_large(BODY_LIMIT));
    }
    let bytes: Bytes = match timeout(BODY_TIME, to_bytes(request.into_body(), BODY_LIMIT)).await {
        Err(_elapsed) => return Err(Fault::timeout()),
        Ok(Err(_)) => return Err(Fault::too_large(BODY_LIMIT)),
        Ok(Ok(bytes)) => bytes,
    };
    // A body that nobody asks for is read over, as the API does.
    let Some(first) = route.takes.first() else {
        return Ok(None);
    };
    if bytes.is_empty() {
        return if route.optional {
            Ok(None)
        } else {
            Err(Fault::bad_request(format!(
                "Bad request: this request takes {} as its body",
                first.element
            )))
        };
    }
    let media = media.unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let format = written(media);
    let specific = media
        .rsplit_once('+')
        .map(|(name, _)| name.to_ascii_lowercase())
        .filter(|name| name != "application/*");
    let fits = specific.is_none_or(|name| {
        route
            .takes
            .iter()
            .any(|root| root.media.eq_ignore_ascii_case(&name))
    });
    let (Some(format), true) = (format, fits) else {
        return Err(Fault::unsupported_media_type(format!(
            "the Content-Type is {}; this request takes {}+xml or +json",
            xml::shown(media),
            first.media
        )));
    };
    let node = match format {
        Format::Json => json::read(&bytes, first.ty, style.version)?,
        Format::Xml => {
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| Fault::bad_request("Bad request: the body is not UTF-8"))?;
            xml::read(text, route.takes, style.version)?
        }
    };
    Ok(Some(node))
}

fn versions(base: &str, style: Style) -> Response {
    let all = ApiVersion::ALL.iter().map(|version| {
        Node::of(entity::version_info())
            .with("deprecated", false)
            .with("Version", version.to_string())
            .with("LoginUrl", format!("{base}/cloudapi/1.0.0/sessions"))
    });
    let node = Node::of(&entity::VERSIONS).with_all("VersionInfo", all);
    respond(Reply::ok(&entity::VERSIONS_ROOT, node), style)
}

/// A session as the newer paths show it.
fn cloud_session(call: &Call, style: Style) -> Response {
    let principal = call.operations.principal();
    let org = show::org::own(call);
    let user = ids::derived(ids::Kind::User, &principal.to_string());
    let role = show::org::role(call);
    let reference = |name: &str, id: String| json!({"name": name, "id": id});
    let body = json!({
        "id": format!("urn:vcloud:session:{}", Uuid::new_v4()),
        "user": reference(principal.name.as_str(), ids::Kind::User.urn(user)),
        "org": reference(&org, ids::Kind::Org.urn(ids::org(&org))),
        "operatingOrg": reference(&org, ids::Kind::Org.urn(ids::org(&org))),
        "location": format!("{}@local", ids::org(&org)),
        "roles": [role],
        "roleRefs": [reference(&role, format!("urn:vcloud:role:{}", ids::derived(ids::Kind::User, &role)))],
        "sessionIdleTimeoutMinutes": vm_web::IDLE.as_secs() / 60,
    });
    build(
        StatusCode::OK,
        "application/json",
        style.version,
        body.to_string(),
    )
}

fn with_token(mut response: Response, token: &str) -> Response {
    if let Ok(mut value) = HeaderValue::from_str(token) {
        value.set_sensitive(true);
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static(sessions::OLD_TOKEN), value.clone());
        headers.insert(HeaderName::from_static(sessions::ACCESS_TOKEN), value);
        headers.insert(
            HeaderName::from_static(sessions::TOKEN_TYPE),
            HeaderValue::from_static("Bearer"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn respond(reply: Reply, style: Style) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match &reply.document {
        None => build(status, "", style.version, String::new()),
        Some((root, node)) => {
            let (media, text) = match style.format {
                Format::Json if root.media == "text/xml" => (
                    "application/json".to_owned(),
                    json::write(node, style.version),
                ),
                Format::Json => (
                    format!("{}+json", root.media),
                    json::write(node, style.version),
                ),
                Format::Xml if root.media == "text/xml" => {
                    ("text/xml".to_owned(), xml::write(root, node, style.version))
                }
                Format::Xml => (
                    format!("{}+xml", root.media),
                    xml::write(root, node, style.version),
                ),
            };
            build(status, &media, style.version, text)
        }
    };
    if let Some(Ok(location)) = reply.location.map(HeaderValue::try_from) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn refuse(fault: &Fault, style: Style) -> Response {
    if fault.status >= 500 {
        tracing::error!("{fault}");
    }
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if style.cloud {
        let body = json!({
            "minorErrorCode": fault.code,
            "message": fault.message,
            "stackTrace": null,
        });
        return build(status, "application/json", style.version, body.to_string());
    }
    let mut reply = Reply::ok(&entity::ERROR_ROOT, fault.node());
    reply.status = fault.status;
    respond(reply, style)
}

fn build(status: StatusCode, media: &str, version: ApiVersion, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if !media.is_empty()
        && let Ok(value) = HeaderValue::try_from(format!("{media};version={version}"))
    {
        headers.insert(header::CONTENT_TYPE, value);
    }
    if let Ok(value) = HeaderValue::try_from(Uuid::new_v4().to_string()) {
        headers.insert(HeaderName::from_static("x-vmware-vcloud-request-id"), value);
    }
    response
}
