//! The part of vCenter's REST API that native key providers need: they are made, backed up, restored and deleted there only.

use crate::server::{Act, Server};
use crate::{BODY_TIME, Shared, vcenter};
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;
use vm_inventory::model::ProviderKind;
use vm_inventory::{CreateProvider, Error, ErrorKind, Name, ProviderView, RestoreProvider};
use vm_store::KeyProvider as _;
use vm_store::key_provider::BackupKeys;
use zeroize::Zeroizing;

/// The header with the token of a session.
const SESSION: &str = "vmware-api-session-id";
/// For how long a backup can be fetched.
const FETCHABLE: Duration = Duration::from_secs(600);
/// Backups that wait to be fetched.
const MOST_BACKUPS: usize = 16;

/// Backups that were made and not fetched yet, by the token for it.
#[derive(Default)]
pub(crate) struct Backups {
    waiting: Mutex<BTreeMap<Uuid, Backup>>,
}

/// When it was made, of which provider, and its bytes.
type Backup = (Instant, String, Vec<u8>);

impl Backups {
    fn keep(&self, provider: String, bytes: Vec<u8>) -> Uuid {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (since, _, _)| since.elapsed() < FETCHABLE);
        while waiting.len() >= MOST_BACKUPS {
            waiting.pop_first();
        }
        let token = Uuid::new_v4();
        waiting.insert(token, (Instant::now(), provider, bytes));
        token
    }

    fn fetch(&self, provider: &str, token: &str) -> Option<Vec<u8>> {
        let token = Uuid::try_parse(token).ok()?;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, of, _) = waiting.get(&token)?;
        if of != provider || since.elapsed() >= FETCHABLE {
            return None;
        }
        waiting.remove(&token).map(|(_, _, bytes)| bytes)
    }
}

/// Every path twice: for the first vCenter, and for each by its name.
pub(crate) fn routes() -> Router<Arc<Server>> {
    let providers = "/api/vcenter/crypto-manager/kms/providers";
    let mut router = Router::new()
        .route("/api/session", post(log_in))
        .route(
            "/rest/com/vmware/cis/session",
            post(log_in_old).delete(log_out),
        )
        .route(
            "/{vcenter}/api/session",
            post(log_in).get(who).delete(log_out),
        )
        .route(
            "/{vcenter}/rest/com/vmware/cis/session",
            post(log_in_old).delete(log_out),
        );
    for begin in ["", "/{vcenter}"] {
        router = router
            .route(&format!("{begin}{providers}"), get(list).post(change))
            .route(
                &format!("{begin}{providers}/{{provider}}"),
                get(show).delete(delete),
            )
            .route(
                &format!("{begin}/cryptomanager/kms/{{provider}}"),
                get(download).post(download),
            );
    }
    router
}

/// Why a request is refused, as this API says it.
struct Refused {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
        }
    }

    fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHENTICATED",
            "This method requires authentication.",
        )
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        if matches!(error, Error::Exists { .. }) {
            return Self::new(StatusCode::BAD_REQUEST, "ALREADY_EXISTS", message);
        }
        let (status, kind) = match error.kind() {
            ErrorKind::BadRequest => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
            ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "UNAUTHORIZED"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            ErrorKind::Conflict | ErrorKind::Refused => {
                (StatusCode::BAD_REQUEST, "NOT_ALLOWED_IN_CURRENT_STATE")
            }
            ErrorKind::Unavailable | ErrorKind::KeyRequired => {
                (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE")
            }
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "ERROR"),
        };
        Self::new(status, kind, message)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let id = format!("com.vmware.vapi.std.errors.{}", self.kind.to_lowercase());
        let body = json!({
            "error_type": self.kind,
            "messages": [{"id": id, "default_message": self.message, "args": []}],
        });
        (self.status, Json(body)).into_response()
    }
}

type Answer = Result<Response, Response>;

fn refuse(refused: impl Into<Refused>) -> Response {
    refused.into().into_response()
}

/// What the path names: a vCenter, a provider, both or neither.
#[derive(Clone, Default, Deserialize)]
struct InPath {
    vcenter: Option<String>,
    provider: Option<String>,
}

/// A request of somebody who is logged in.
struct Asked {
    vcenter: Name,
    provider: Option<Name>,
    act: Act,
}

impl FromRequestParts<Arc<Server>> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, Response> {
        let Path(path) = Path::<InPath>::from_request_parts(parts, server)
            .await
            .map_err(IntoResponse::into_response)?;
        let vcenter = vcenter(server, path.vcenter).await?;
        let token = parts.headers.get(SESSION).and_then(|it| it.to_str().ok());
        let login = token.and_then(|token| server.logins.find(&vcenter.name, token));
        let login = login.ok_or_else(|| refuse(Refused::unauthenticated()))?;
        let provider = match path.provider {
            Some(name) => Some(name.parse().map_err(|_| {
                refuse(Refused::new(
                    StatusCode::NOT_FOUND,
                    "NOT_FOUND",
                    "there is no key provider of that name",
                ))
            })?),
            None => None,
        };
        Ok(Self {
            vcenter: vcenter.name,
            provider,
            act: server.act(login.principal.clone()),
        })
    }
}

impl Asked {
    /// Does something that may wait for a disk where waiting is allowed.
    async fn blocking<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Response> {
        match tokio::task::spawn_blocking(move || work(&self)).await {
            Ok(outcome) => outcome.map_err(refuse),
            Err(_panicked) => Err(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        }
    }
}

async fn begin(
    server: &Arc<Server>,
    path: InPath,
    headers: &HeaderMap,
) -> Result<vm_web::Token, Response> {
    let vcenter = vcenter(server, path.vcenter).await?;
    let wrong = || refuse(Refused::unauthenticated());
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("Basic "))
        .and_then(|text| STANDARD.decode(text.trim()).ok())
        .map(Zeroizing::new)
        .ok_or_else(wrong)?;
    let given = std::str::from_utf8(&given).map_err(|_| wrong())?;
    let (user, password) = given.split_once(':').ok_or_else(wrong)?;
    let logged_in = server.logins.log_in(&vcenter.name, user, password, "");
    let (token, _) = logged_in.await.map_err(|_| wrong())?;
    Ok(token)
}

async fn log_in(State(server): Shared, Path(path): Path<InPath>, headers: HeaderMap) -> Answer {
    let token = begin(&server, path, &headers).await?;
    let named = [(SESSION, token.as_str().to_owned())];
    Ok((StatusCode::CREATED, named, Json(token.as_str())).into_response())
}

/// The same as older clients want it.
async fn log_in_old(State(server): Shared, Path(path): Path<InPath>, headers: HeaderMap) -> Answer {
    let token = begin(&server, path, &headers).await?;
    Ok(Json(json!({"value": token.as_str()})).into_response())
}

async fn who(asked: Asked) -> Answer {
    Ok(Json(json!({"user": asked.act.principal().to_string()})).into_response())
}

async fn log_out(State(server): Shared, headers: HeaderMap, _asked: Asked) -> Answer {
    if let Some(token) = headers.get(SESSION).and_then(|it| it.to_str().ok()) {
        server.logins.log_out(token);
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The native providers of the vCenter: of others this API knows nothing.
fn native(asked: &Asked) -> Result<Vec<ProviderView>, Refused> {
    let mut all = asked.act.providers()?;
    all.retain(|it| it.vcenter == asked.vcenter && it.kind == ProviderKind::Native);
    Ok(all)
}

fn one(asked: &Asked, name: &Name) -> Result<ProviderView, Refused> {
    let found = native(asked)?.into_iter().find(|it| it.name == *name);
    if let Some(found) = found {
        return Ok(found);
    }
    // One that is there and of another kind is a wrong argument.
    match asked.act.provider(Some(&asked.vcenter), name) {
        Ok(_) => Err(Refused::bad(format!(
            "the key provider {name} is not a native one; CryptoManagerKmip manages it"
        ))),
        Err(error) => Err(error.into()),
    }
}

fn health(provider: &ProviderView) -> &'static str {
    if provider.status == "active" {
        "OK"
    } else {
        "ERROR"
    }
}

async fn list(asked: Asked) -> Answer {
    asked
        .blocking(|asked| {
            let all: Vec<Value> = native(asked)?
                .iter()
                .map(|it| json!({"provider": it.name, "type": "NATIVE", "health": health(it)}))
                .collect();
            Ok(Json(all).into_response())
        })
        .await
}

async fn show(asked: Asked) -> Answer {
    asked
        .blocking(|asked| {
            let name = named(asked)?;
            let provider = one(asked, name)?;
            let details: Vec<Value> = if provider.status == "active" {
                Vec::new()
            } else {
                vec![json!({"id": "com.vmware.vcenter.crypto.nkp.not_backed_up", "default_message": "the key provider has to be backed up before it holds keys", "args": []})]
            };
            let info = json!({
                "type": "NATIVE",
                "native_info": {"constraints": {"tpm_required": false}},
                "constraints": {"tpm_required": false},
                "health": health(&provider),
                "details": details,
            });
            Ok(Json(info).into_response())
        })
        .await
}

fn named(asked: &Asked) -> Result<&Name, Refused> {
    asked
        .provider
        .as_ref()
        .ok_or_else(|| Refused::bad("name the key provider"))
}

async fn delete(asked: Asked) -> Answer {
    asked
        .blocking(|asked| {
            let name = named(asked)?;
            one(asked, name)?;
            let removed = asked.act.remove_provider(&asked.vcenter, name);
            removed.map_err(|error| match error {
                Error::BadValue(message) => {
                    Refused::new(StatusCode::BAD_REQUEST, "RESOURCE_IN_USE", message)
                }
                other => other.into(),
            })?;
            Ok(StatusCode::NO_CONTENT.into_response())
        })
        .await
}

#[derive(Deserialize)]
struct Action {
    action: Option<String>,
}

#[derive(Default, Deserialize)]
struct Constraints {
    #[serde(default)]
    tpm_required: bool,
}

#[derive(Deserialize)]
struct Create {
    provider: Name,
    #[serde(default)]
    constraints: Constraints,
}

#[derive(Deserialize)]
struct Export {
    provider: Name,
    #[serde(default)]
    password: Option<Zeroizing<String>>,
}

#[derive(Deserialize)]
struct Import {
    config: String,
    #[serde(default)]
    password: Option<Zeroizing<String>>,
    #[serde(default)]
    constraints: Constraints,
    #[serde(default)]
    dry_run: bool,
}

/// A JSON body of bounded size that arrived in time.
struct JsonBody(Bytes);

impl FromRequest<Arc<Server>> for JsonBody {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Arc<Server>) -> Result<Self, Response> {
        match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, server)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejection)) => Err(rejection.into_response()),
            Err(_elapsed) => Err(StatusCode::REQUEST_TIMEOUT.into_response()),
        }
    }
}

impl JsonBody {
    fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Refused> {
        serde_json::from_slice(&self.0)
            .map_err(|error| Refused::bad(format!("the body is wrong: {error}")))
    }
}

async fn change(
    State(server): Shared,
    Query(action): Query<Action>,
    headers: HeaderMap,
    asked: Asked,
    body: JsonBody,
) -> Answer {
    match action.action.as_deref() {
        None => create(asked, body.read().map_err(refuse)?).await,
        Some("export") => export(server, &headers, asked, body.read().map_err(refuse)?).await,
        Some("import") => import(asked, body.read().map_err(refuse)?).await,
        Some(_) => Err(refuse(Refused::bad("the action is export or import"))),
    }
}

fn no_host_tpm(constraints: &Constraints) -> Result<(), Refused> {
    if constraints.tpm_required {
        return Err(Refused::bad(
            "hosts have no TPM of their own here; set constraints.tpm_required to false",
        ));
    }
    Ok(())
}

async fn create(asked: Asked, request: Create) -> Answer {
    asked
        .blocking(move |asked| {
            no_host_tpm(&request.constraints)?;
            let vcenter = Some(asked.vcenter.clone());
            asked
                .act
                .create_provider(CreateProvider::native(request.provider, vcenter, false))?;
            Ok(StatusCode::NO_CONTENT.into_response())
        })
        .await
}

async fn export(server: Arc<Server>, headers: &HeaderMap, asked: Asked, request: Export) -> Answer {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("localhost")
        .to_owned();
    asked
        .blocking(move |asked| {
            let name = &request.provider;
            one(asked, name)?;
            let password = request.password.as_ref().map_or("", |it| it.as_str());
            let file = asked
                .act
                .back_up_provider(Some(&asked.vcenter), name, password)?;
            let key = format!("{}/{name}", asked.vcenter);
            let token = server.backups.keep(key, file.bytes);
            let url = format!(
                "https://{host}/{}/cryptomanager/kms/{}",
                escaped(asked.vcenter.as_str()),
                escaped(name.as_str())
            );
            let seconds = vm_inventory::model::Timestamp::now().0 + FETCHABLE.as_secs();
            let expiry = crate::value::date_time(vm_inventory::model::Timestamp(seconds));
            Ok(Json(json!({
                "type": "LOCATION",
                "location": {
                    "url": url,
                    "download_token": {"token": token, "expiry": expiry},
                },
            }))
            .into_response())
        })
        .await
}

/// A name as a part of a URL.
fn escaped(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

async fn import(asked: Asked, request: Import) -> Answer {
    asked
        .blocking(move |asked| {
            no_host_tpm(&request.constraints)?;
            let backup = STANDARD
                .decode(request.config.as_bytes())
                .map_err(|_| Refused::bad("config is not base64"))?;
            let password = request.password.as_ref().map_or("", |it| it.as_str());
            let name: Name = BackupKeys::open("the backup", &backup, password)
                .map_err(Error::from)?
                .name()
                .parse()
                .map_err(Error::from)?;
            if !request.dry_run {
                asked.act.restore_provider(RestoreProvider {
                    name: name.clone(),
                    vcenter: Some(asked.vcenter.clone()),
                    default: false,
                    backup: &backup,
                    password,
                })?;
            }
            Ok(Json(json!({"provider": name, "type": "NATIVE"})).into_response())
        })
        .await
}

async fn download(State(server): Shared, Path(path): Path<InPath>, headers: HeaderMap) -> Answer {
    let vcenter = vcenter(&server, path.vcenter).await?;
    let name = path.provider.unwrap_or_default();
    let key = format!("{}/{name}", vcenter.name);
    let bytes = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.strip_prefix("Bearer "))
        .and_then(|token| server.backups.fetch(&key, token.trim()))
        .ok_or_else(|| refuse(Refused::unauthenticated()))?;
    let kind = [(header::CONTENT_TYPE, "application/x-pkcs12")];
    Ok((kind, bytes).into_response())
}
