//! The TPM: a pure state machine.
//!
//! [`Tpm`] takes the bytes of a command and gives the bytes of the response. It has no clock, no file and no entropy of its own;
//! those come in through [`Platform`], and what must reach stable storage before an answer leaves is announced by
//! [`Tpm::must_persist`]. The same state, command and platform answers give the same response, bit for bit.
#![no_std]
extern crate alloc;

mod algorithms;
mod attest;
mod authorization;
mod clock;
mod command_audit;
mod commands;
mod commit;
mod creation;
mod dictionary_attack;
mod entity;
mod execute;
mod hierarchy;
mod identity;
pub mod import;
mod keys;
mod loading;
mod management;
mod manufacturer;
mod nv;
mod object;
mod parameter_encryption;
mod pcr;
mod platform;
mod policy;
mod power;
mod profile;
mod protection;
mod secret_exchange;
mod session;
mod signature;
mod state;
mod state_format;
mod template;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod ticket;

pub use platform::Platform;
pub use profile::{Profile, ProfileError};
pub use state::Tpm;
pub use state_format::StateError;
