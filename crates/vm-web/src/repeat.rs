//! `Idempotency-Key`: a request that is sent again, since its answer was lost, does nothing twice.
//!
//! A request that starts a task is answered with that task again. Of one that starts none the answer itself is kept, and that its key is
//! used stands in the very transaction of its change: nothing lies between.

use crate::Problem;
use crate::caller::Caller;
use crate::routes::{BODY_TIME, LARGEST_BODY, Web};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::timeout;
use vm_inventory::{Before, Error, RequestKey};

/// The name of the header.
pub(crate) const HEADER: &str = "idempotency-key";
/// Characters that a key may have.
const LONGEST: usize = 255;
/// No answer that is kept is larger.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// Its answer is a secret, and is kept nowhere.
const SESSIONS: &str = "/v1/sessions";

/// Lets requests with the same key go one after the other. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<String, Weak<Turn<()>>>>>);

impl Turns {
    async fn take(&self, key: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, turn| turn.strong_count() > 0);
            match all.get(key).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::default();
                    all.insert(key.to_owned(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

/// Reads a POST with a key whole, to tell it from another one with the same key; one that came before is answered as it was then.
pub(crate) async fn recognize(State(web): State<Web>, request: Request, next: Next) -> Response {
    let has_key = request.headers().contains_key(HEADER);
    if !has_key || request.method() != Method::POST || request.uri().path() == SESSIONS {
        return next.run(request).await;
    }
    match recognized(request).await {
        Ok((request, Some(key))) => {
            // It goes on when nobody waits for the answer any more: who asks again is to find it.
            let whole = tokio::spawn(async move {
                let _turn = web.turns.take(&key.key).await;
                answer(&web, key, request, next).await
            });
            whole.await.unwrap_or_else(|_panicked| {
                Problem::from(Error::Internal("a request stopped half-way".to_owned()))
                    .into_response()
            })
        }
        // Whoever it is has to log in first, as they are told.
        Ok((request, None)) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(web: &Web, key: RequestKey, mut request: Request, next: Next) -> Response {
    let before = {
        let (operations, key) = (web.operations(), key.clone());
        tokio::task::spawn_blocking(move || operations.answered_before(&key)).await
    };
    match before {
        Ok(Ok(Before::Nothing)) => {}
        Ok(Ok(Before::Answered(status, body))) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            let kind = [(header::CONTENT_TYPE, "application/json")];
            let mut response = (status, kind, body).into_response();
            mark_replayed(&mut response);
            return response;
        }
        Ok(Err(error)) => return Problem::from(error).into_response(),
        Err(_panicked) => {
            return Problem::from(Error::Internal("a request stopped half-way".to_owned()))
                .into_response();
        }
    }
    request.extensions_mut().insert(key.clone());
    keep(web, key, next.run(request).await).await
}

/// Says that the answer is one that was given before.
pub(crate) fn mark_replayed(response: &mut Response) {
    let name = HeaderName::from_static("idempotency-replayed");
    let replayed = HeaderValue::from_static("true");
    response.headers_mut().insert(name, replayed);
}

/// Keeps an answer, unless the task that was started keeps the key.
async fn keep(web: &Web, key: RequestKey, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    if parts.headers.contains_key(header::LOCATION) {
        return Response::from_parts(parts, body);
    }
    let Ok(body) = to_bytes(body, LARGEST_ANSWER).await else {
        return Problem::from(Error::Internal("an answer broke off".to_owned())).into_response();
    };
    let said = parts
        .status
        .is_success()
        .then(|| {
            let text = std::str::from_utf8(&body).ok()?;
            Some((parts.status.as_u16(), text.to_owned()))
        })
        .flatten();
    let operations = web.operations();
    let kept = tokio::task::spawn_blocking(move || operations.keep_answer(key, said)).await;
    if let Ok(Err(error)) = kept {
        tracing::warn!("the answer to a request with a key was not kept: {error}");
    }
    Response::from_parts(parts, Body::from(body))
}

/// The request, read whole, and what it is known by; nothing if nobody is logged in.
async fn recognized(request: Request) -> Result<(Request, Option<RequestKey>), Problem> {
    let key = request
        .headers()
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|key| (1..=LONGEST).contains(&key.len()))
        .map(str::to_owned)
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "an Idempotency-Key has 1 to {LONGEST} printable characters"
            ))
        })?;
    let (mut parts, body) = request.into_parts();
    let Ok(Caller(principal)) = Caller::from_request_parts(&mut parts, &()).await else {
        return Ok((Request::from_parts(parts, body), None));
    };
    let body = match timeout(BODY_TIME, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
                format!(
                    "a request with an Idempotency-Key has at most {LARGEST_BODY} bytes, and arrives whole"
                ),
            ));
        }
        Err(_elapsed) => return Err(Problem::too_slow()),
    };
    let mut digest = Sha256::new();
    for part in [
        parts.method.as_str().as_bytes(),
        parts.uri.path().as_bytes(),
        parts.uri.query().unwrap_or_default().as_bytes(),
        &body,
    ] {
        // Lengths keep the parts apart.
        digest.update(part.len().to_string().as_bytes());
        digest.update(b":");
        digest.update(part);
    }
    let key = RequestKey::new(&principal, &key, &digest.finalize());
    Ok((Request::from_parts(parts, Body::from(body)), Some(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Api;
    use axum::http::HeaderMap;
    use serde_json::{Value, json};

    async fn post(
        api: &Api,
        key: &str,
        path: &str,
        body: &Value,
    ) -> (StatusCode, HeaderMap, Value) {
        let headers = [("content-type", "application/json"), (HEADER, key)];
        let body = serde_json::to_vec(body).unwrap();
        api.send_with(Method::POST, path, &headers, body).await
    }

    #[tokio::test]
    async fn what_starts_no_task_is_done_once_and_answered_as_it_was() {
        let api = Api::ready().await;
        let (path, acme) = ("/v1/organizations", json!({"name": "acme"}));
        let first = post(&api, "k1", path, &acme).await;
        assert_eq!(first.0, StatusCode::CREATED);
        assert!(!first.1.contains_key("idempotency-replayed"));
        let again = post(&api, "k1", path, &acme).await;
        assert_eq!((again.0, &again.2), (StatusCode::CREATED, &first.2));
        assert_eq!(again.1["idempotency-replayed"], "true");
        assert_eq!(again.1["content-type"], "application/json");
        // With another key it is another request, and the name is taken.
        let other = post(&api, "k2", path, &acme).await;
        assert_eq!(other.0, StatusCode::CONFLICT);
        // What was refused may be sent again when it has become possible; another request may not have the key of this one.
        let vdc = json!({"name": "vdc", "organization": "acme", "vcenter": "vc02"});
        assert!(post(&api, "k3", "/v1/vdcs", &vdc).await.0.is_client_error());
        let vcenter = json!({"name": "vc02", "version": "8.0.3"});
        assert_eq!(
            post(&api, "k1", "/v1/vcenters", &vcenter).await.0,
            StatusCode::CONFLICT
        );
        assert_eq!(
            post(&api, "k4", "/v1/vcenters", &vcenter).await.0,
            StatusCode::CREATED
        );
        assert_eq!(
            post(&api, "k3", "/v1/vdcs", &vdc).await.0,
            StatusCode::CREATED
        );
        let replayed = post(&api, "k3", "/v1/vdcs", &vdc).await;
        assert_eq!(replayed.1["idempotency-replayed"], "true");
    }

    #[tokio::test]
    async fn of_many_at_once_one_is_carried_out_and_all_have_its_answer() {
        let api = Arc::new(Api::ready().await);
        let organization = json!({"name": "acme"});
        let vm = json!({"name": "web", "tpm": true});
        for (key, path, body) in [
            ("k1", "/v1/organizations", organization),
            ("k2", "/v1/vms", vm),
        ] {
            let all: Vec<_> = (0..8)
                .map(|_| {
                    let (api, body) = (Arc::clone(&api), body.clone());
                    tokio::spawn(async move { post(&api, key, path, &body).await })
                })
                .collect();
            let (mut first, mut things) = (0, Vec::new());
            for one in all {
                let (status, headers, answer) = one.await.unwrap();
                assert!(status.is_success(), "{answer}");
                first += usize::from(!headers.contains_key("idempotency-replayed"));
                things.push(match answer.get("task") {
                    Some(task) => task["id"].clone(),
                    None => answer,
                });
            }
            things.dedup();
            assert_eq!((first, things.len()), (1, 1), "{path}");
        }
    }
}
