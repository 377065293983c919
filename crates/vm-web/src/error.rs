//! Errors as problem documents (RFC 9457): the one place that maps the inventory's errors to HTTP.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vm_inventory::ovf::PackageError;
use vm_inventory::requirements::Failure;
use vm_inventory::{Error, ErrorKind};

/// A problem document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem, as a URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was refused or failed, and what to do.
    pub detail: String,
    /// Each rule for a TPM that is not met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

impl Problem {
    /// A problem of a kind of its own.
    pub(crate) fn new(
        status: StatusCode,
        kind: &str,
        title: &str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("urn:vtpm:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            failures: Vec::new(),
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request is wrong",
            detail,
        )
    }

    /// That a request takes too long to arrive.
    pub(crate) fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "The request did not arrive",
            "the body of the request took too long",
        )
    }

    /// That nobody has shown who they are.
    pub(crate) fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Nobody is logged in",
            detail,
        )
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, kind, title) = match error.kind() {
            ErrorKind::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad-request",
                "The request is wrong",
            ),
            ErrorKind::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "The user's role does not allow it",
            ),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            ErrorKind::Conflict => (
                StatusCode::CONFLICT,
                "conflict",
                "It clashes with what there is",
            ),
            ErrorKind::Refused => (
                StatusCode::BAD_REQUEST,
                "refused",
                "The rules for TPMs refuse it",
            ),
            ErrorKind::Unavailable => (
                StatusCode::CONFLICT,
                "unavailable",
                "The files or the key provider do not allow it",
            ),
            ErrorKind::KeyRequired => (
                StatusCode::CONFLICT,
                "key-required",
                "The key of the VM cannot be had",
            ),
            ErrorKind::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something failed that should not",
            ),
        };
        let (status, kind, title) = match &error {
            Error::Package(PackageError::TooLarge { .. }) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
            ),
            Error::Changed { .. } => (
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "It was changed meanwhile",
            ),
            _ => (status, kind, title),
        };
        let mut problem = Self::new(status, kind, title, error.to_string());
        problem.failures = error.failures();
        problem
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let status = match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        Self {
            status: status.as_u16(),
            ..Self::bad_request(rejection.body_text())
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                header::HeaderValue::from_static("Bearer realm=\"vtpm\""),
            );
        }
        response
    }
}
