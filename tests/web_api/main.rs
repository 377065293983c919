//! The HTTP API over TLS, as its users have it: logins, two organizations that attack each other, bad input, and schemathesis against
//! its own description.
//!
//! `VTPM_UPDATE_SNAPSHOTS=1 cargo test --test web_api` writes `docs/openapi.json` anew.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod bad_input;
mod clients;
mod description;
mod elsewhere;
mod roles;
mod users;
mod without_a_daemon;
