//! What went wrong, as the API says it: an HTTP status and a word, `majorErrorCode` and `minorErrorCode`.

use crate::node::Node;
use crate::schema::entity;
use std::fmt;
use vm_inventory::{Error, ErrorKind};

/// A request that was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// The HTTP status, which is the `majorErrorCode`.
    pub status: u16,
    /// The `minorErrorCode`.
    pub code: &'static str,
    /// What was refused and what to do.
    pub message: String,
}

impl Fault {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BAD_REQUEST", message)
    }

    /// A reference that leads to nothing that the request may use.
    pub(crate) fn invalid_reference(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_REFERENCE", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            401,
            "UNAUTHORIZED",
            "log in first: POST /api/sessions or /cloudapi/1.0.0/sessions with USER@ORGANIZATION, and send the token of the answer",
        )
    }

    pub(crate) fn unauthorized_because(why: &str) -> Self {
        Self::new(401, "UNAUTHORIZED", why)
    }

    pub(crate) fn too_many(why: &str) -> Self {
        Self::new(429, "TOO_MANY_REQUESTS", why)
    }

    pub(crate) fn duplicate(message: impl Into<String>) -> Self {
        Self::new(400, "DUPLICATE_NAME", message)
    }

    /// A piece of an upload that is not the next one.
    pub(crate) fn range(message: impl Into<String>) -> Self {
        Self::new(416, "INVALID_RANGE", message)
    }

    /// Somebody else's, or nothing at all: the API says the same of both.
    pub(crate) fn no_access(what: &str, id: &str) -> Self {
        Self::new(
            403,
            "ACCESS_TO_RESOURCE_IS_FORBIDDEN",
            format!(
                "No access to entity \"(com.vmware.vcloud.entity.{what}:{id})\": it does not exist, or it is not yours"
            ),
        )
    }

    /// Something that the role does not have.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "NOT_FOUND", message)
    }

    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        Self::new(
            405,
            "METHOD_NOT_ALLOWED",
            format!("this path does not have that method; it has {allowed}"),
        )
    }

    pub(crate) fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NOT_ACCEPTABLE", message)
    }

    pub(crate) fn timeout() -> Self {
        Self::new(
            408,
            "REQUEST_TIMEOUT",
            "the body of the request took too long",
        )
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            "BAD_REQUEST",
            format!("the body of a request has at most {limit} bytes"),
        )
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(400, "UNSUPPORTED_OPERATION", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "INTERNAL_SERVER_ERROR", message)
    }

    /// The document that says it.
    pub(crate) fn node(&self) -> Node {
        Node::of(&entity::ERROR)
            .with("message", self.message.as_str())
            .with("majorErrorCode", i64::from(self.status))
            .with("minorErrorCode", self.code)
            .with("stackTrace", "")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// The status and word for a kind of error: the one place that maps the inventory's errors to the API's.
pub(crate) fn codes(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::BadRequest | ErrorKind::Refused => (400, "BAD_REQUEST"),
        ErrorKind::NotFound | ErrorKind::Forbidden => (403, "ACCESS_TO_RESOURCE_IS_FORBIDDEN"),
        ErrorKind::Conflict => (409, "BUSY_ENTITY"),
        ErrorKind::Unavailable | ErrorKind::KeyRequired => (400, "OPERATION_DENIED"),
        ErrorKind::Internal => (500, "INTERNAL_SERVER_ERROR"),
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::Exists { .. } => (400, "DUPLICATE_NAME"),
            other => codes(other.kind()),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<vm_inventory::NameError> for Fault {
    fn from(error: vm_inventory::NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_and_what_is_foreign_sound_alike() {
        let unknown: Fault = Error::NotFound {
            what: "VM",
            name: "x".to_owned(),
            hint: "look",
        }
        .into();
        let foreign = Fault::no_access("vm", "x");
        assert_eq!(
            (unknown.status, unknown.code),
            (foreign.status, foreign.code)
        );
    }
}
