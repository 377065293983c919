//! Who asks: a session's user, or whoever has got to the private socket. Logging in and out.

use crate::api::{Opened, Password};
use crate::routes::Web;
use crate::{IDLE, Problem, Sessions};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vm_inventory::{Principal, Right};
use zeroize::Zeroizing;

/// What a listener takes somebody without a token for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entrance {
    /// The owner of the data folder: nobody else can open its socket. A token makes the request that of its user nevertheless.
    Owner,
    /// Nobody.
    Tokens,
}

/// Goes with every request of a listener ([`Web::router`](crate::Web::router)), for [`Caller`] to look at.
#[derive(Clone)]
pub struct Gate {
    sessions: Sessions,
    entrance: Entrance,
}

impl Gate {
    pub(crate) fn new(sessions: Sessions, entrance: Entrance) -> Self {
        Self { sessions, entrance }
    }

    /// Whether the session of a request goes on. Looking does not keep it from ending.
    pub(crate) fn is_open(&self, headers: &HeaderMap) -> bool {
        match bearer(headers) {
            Ok(Some(token)) => self.sessions.is_open(token),
            Ok(None) => self.entrance == Entrance::Owner,
            Err(_) => false,
        }
    }

    fn principal(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        match (bearer(headers)?, self.entrance) {
            (Some(token), _) => self.sessions.principal(token).ok_or_else(|| {
                Problem::unauthenticated(
                    "the token is none of a session, or the session has ended; log in again with POST /v1/sessions",
                )
            }),
            (None, Entrance::Owner) => Ok(Principal::local()),
            (None, Entrance::Tokens) => Err(Problem::unauthenticated(
                "log in with POST /v1/sessions and send the token as `Authorization: Bearer TOKEN`",
            )),
        }
    }
}

/// Who asks; a request without a user is refused.
pub struct Caller(pub Principal);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let gate = parts.extensions.get::<Gate>().ok_or_else(|| {
            Problem::from(vm_inventory::Error::Internal(
                "a listener without a gate".to_owned(),
            ))
        })?;
        gate.principal(&parts.headers).map(Self)
    }
}

/// A user of the system who looks after what belongs to no organization.
pub struct SystemCaller;

impl<S: Send + Sync> FromRequestParts<S> for SystemCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        principal.need(Right::Infrastructure)?;
        Ok(Self)
    }
}

/// The routes of sessions.
pub(crate) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(show_session, log_in, log_out))
}

/// Who is logged in.
#[utoipa::path(get, path = "/v1/sessions", tag = "Sessions",
    responses((status = 200, body = Principal, description = "The user of the request")))]
async fn show_session(Caller(principal): Caller) -> Json<Principal> {
    Json(principal)
}

/// Logs in, and gives a token.
#[utoipa::path(post, path = "/v1/sessions", tag = "Sessions",
    responses((status = 201, body = Opened, description = "Logged in")))]
async fn log_in(State(web): State<Web>, headers: HeaderMap) -> Result<Response, Problem> {
    let Some((user, password)) = basic(&headers) else {
        return Err(Problem::unauthenticated(
            "log in with `Authorization: Basic`, the user as USER@ORGANIZATION (the system's: administrator@vsphere.local)",
        ));
    };
    let (token, user) = web.sessions.log_in(&user, &password).await?;
    let opened = Opened {
        token: Password::new(token),
        user,
        idle_seconds: IDLE.as_secs(),
    };
    let kept_nowhere = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, kept_nowhere, Json(opened)).into_response())
}

/// Logs out: the token is good no longer.
#[utoipa::path(delete, path = "/v1/sessions", tag = "Sessions",
    responses((status = 204, description = "Logged out")))]
async fn log_out(State(web): State<Web>, headers: HeaderMap) -> Result<StatusCode, Problem> {
    match bearer(&headers)? {
        Some(token) if web.sessions.log_out(token) => Ok(StatusCode::NO_CONTENT),
        _ => Err(Problem::unauthenticated(
            "there is no session to end: the token is none, or its session has ended",
        )),
    }
}

/// The token of a request. Another scheme than Bearer is none; two headers are one too many.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = all.next() else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match (token, all.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(Problem::unauthenticated(
            "requests carry one `Authorization: Bearer TOKEN`; POST /v1/sessions gives a token",
        )),
    }
}

/// User and password of `Authorization: Basic` (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), Zeroizing::new(password.to_owned())))
}
