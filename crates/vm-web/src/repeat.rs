//! `Idempotency-Key`: a request that is sent again, since its answer was lost, does nothing twice.

use crate::Problem;
use crate::routes::{BODY_TIME, LARGEST_BODY};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

/// The name of the header.
pub(crate) const HEADER: &str = "idempotency-key";
/// Characters that a key may have.
const LONGEST: usize = 255;

/// What a request with a key is known by, apart from who sent it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Repeatable {
    /// The key.
    pub(crate) key: String,
    /// SHA-256 of method, path and body.
    pub(crate) fingerprint: [u8; 32],
}

/// Reads a POST with a key whole, to tell it from another one with the same key.
pub(crate) async fn recognize(request: Request, next: Next) -> Response {
    match recognized(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn recognized(request: Request) -> Result<Request, Problem> {
    let Some(value) = request.headers().get(HEADER) else {
        return Ok(request);
    };
    if request.method() != Method::POST {
        return Ok(request);
    }
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=LONGEST).contains(&key.len()))
        .map(str::to_owned)
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "an Idempotency-Key has 1 to {LONGEST} printable characters"
            ))
        })?;
    let (mut parts, body) = request.into_parts();
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
    parts.extensions.insert(Repeatable {
        key,
        fingerprint: digest.finalize().into(),
    });
    Ok(Request::from_parts(parts, Body::from(body)))
}
