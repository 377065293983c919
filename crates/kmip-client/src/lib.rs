//! A client for KMIP 1.1 to 1.4 key servers over mutual TLS.
//!
//! [`Client`] is one *standard key provider*: several servers that hold the same keys, tried in their order. It blocks, as the
//! `KeyProvider` trait of `vm-store` does, and one `Client` may be shared by threads.
//!
//! # How a key provider uses it
//!
//! | `KeyProvider`    | here                                                                                      |
//! |------------------|-------------------------------------------------------------------------------------------|
//! | `new_key`        | [`Client::new_key`]: Create (AES-256) and Activate on one connection                      |
//! | `wrap`           | [`Client::key_to_wrap`], then wrap under [`KeyBytes::expose`]; refused unless active       |
//! | `unwrap`         | [`Client::key_to_unwrap`]; deactivated and compromised keys still open what they protect  |
//! | `check_value`    | [`Client::key_to_unwrap`], then the check value of its bytes (`KeyCheckValue::from_kek_bytes`): the same id with other bytes is found before anything is written |
//! | `status`         | [`Client::health`]: each server with its version and maker, or with its fault             |
//!
//! [`Error::KeyMissing`] and [`Error::Unavailable`] are what makes a VM *locked* at power-on: both name the provider, the key id and
//! what each server said. [`Error::KeyState`] asks for a re-key.
//!
//! # What it relies on
//!
//! - A server is trusted by its very certificate or by an authority ([`Trust`]); ours is always sent.
//! - State is checked here: servers hand out the bytes of deactivated keys to whoever asks.
//! - A reply has a bounded length, depth and number of items, has to be about the key and the operation that were asked for, and
//!   has to be whole before [`Limits::request`] is over. What does not hold is a [`Fault`] of that server, and the next one is asked.
//! - Key bytes lie in one buffer that is wiped and in [`KeyBytes`], wiped too. The buffers inside rustls, and the private key inside
//!   ring, are theirs and are freed without being wiped.
//! - An id that one server does not know is asked for at the others as well: a copy may be late.
//!
//! [`ttlv`] is public for tests that play a key server.

#![forbid(unsafe_code)]

mod client;
mod connection;
mod error;
mod identity;
mod key;
mod message;
mod settings;
mod shown;
mod tls;
pub mod ttlv;

pub use client::{Client, ServerHealth};
pub use error::{Error, Failures, Fault, Phase, Purpose, Refusal, ResultReason, ServerFailure};
pub use identity::{ClientKey, check_certificates, check_identity};
pub use key::{KEY_LENGTH, KeyBytes, is_key_id};
pub use message::{
    KeyAttributes, KeyState, Operation, ProtocolVersion, RevocationReason, ServerDescription,
};
pub use settings::{DEFAULT_PORT, Limits, NoServerAddress, ServerAddress, Settings, Trust};
pub use shown::server_certificate;
pub use tls::trusting;
