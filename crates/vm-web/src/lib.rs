//! The HTTP API over the inventory.
//!
//! JSON in, JSON out, errors as problem documents (RFC 9457). Changes of a VM are tasks: the request carries out every check
//! and answers 202 with the task, whose end `GET /v1/tasks/{id}` shows.

#![forbid(unsafe_code)]

pub mod api;
mod certificate_routes;
mod cloud;
mod error;
mod jobs;
mod packages;
mod pipe;
mod provider_routes;
mod routes;
mod sessions;

#[cfg(test)]
mod tests;

pub use error::Problem;
pub use jobs::Jobs;
pub use pipe::{PipeBody, PipeReader, PipeWriter, from_body, into_body};
pub use routes::router;
pub use sessions::{IDLE, Sessions, Token};
