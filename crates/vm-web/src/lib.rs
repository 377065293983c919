//! The HTTP API over the inventory.
//!
//! JSON in, JSON out, errors as problem documents (RFC 9457). Changes of a VM are tasks: the request carries out every check
//! and answers 202 with the task, whose end `GET /v1/tasks/{id}` shows. Who asks is known by a token ([`Sessions`]), or, on the private
//! socket in the data folder, by having got there ([`Entrance`]); what they may do, [`vm_inventory::Scoped`] decides.

#![forbid(unsafe_code)]

pub mod api;
mod caller;
mod certificate_routes;
mod cloud;
mod error;
mod events;
mod jobs;
mod openapi;
mod packages;
mod paging;
mod pipe;
mod provider_routes;
mod repeat;
mod routes;
mod sessions;
mod stream;
mod tags;

#[cfg(test)]
mod tests;

pub use caller::{Caller, Entrance, Gate, SystemCaller};
pub use error::Problem;
pub use jobs::Jobs;
pub use pipe::{PipeBody, PipeReader, PipeWriter, from_body, into_body};
pub use routes::Web;
pub use sessions::{IDLE, Sessions, Token};
pub use stream::Texts;
