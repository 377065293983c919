//! Keys for hosts that attested, as vSphere Trust Authority has it: a service holds key-encryption keys and hands one out only to a
//! host whose TPM is enrolled and whose quote, made for this very request, satisfies the service's policy.
//!
//! [`Service`] is the side that judges, [`Server`] brings it to a socket, [`Host`] is the side that asks with its TPM. A key travels
//! [sealed](tpm_attest::sealed) for that TPM and for the PCR that were quoted, so what is recorded on the way opens nothing later.
//! The bytes on the socket are described in `docs/key-providers.md`.

#![forbid(unsafe_code)]

mod address;
mod error;
mod host;
mod protocol;
mod server;
mod service;
mod transport;

pub use address::{Address, NoAddress};
pub use error::{Error, ServerFault};
pub use host::{Host, HostTpm, Limits, ServerHealth, Settings};
pub use protocol::{
    Answer, Description, Enrolment, MAX_MESSAGE, Purpose, Refusal, RefusalKind, Request, Want,
};
pub use server::Server;
pub use service::{HostState, KeyState, Service, ServiceError};
pub use transport::server_config;
