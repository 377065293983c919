//! Attestation, for any TPM: this crate knows TPMs and X.509, and never a virtual machine.
//!
//! [`ek`] has the endorsement keys, the device identity keys and where a TPM keeps them and their certificates;
//! [`certificate`] makes the certificates and the authorities that sign them; [`credential`] lets a TPM prove that it has a key;
//! [`device`] makes attestation keys and device identities that others certify;
//! [`sealed`] gives a TPM data for as long as its PCR stay what they are;
//! [`client`] talks to a TPM, wherever it is; [`event_log`] has what was measured; [`attester`] answers with quotes; [`verify`] judges
//! them.

mod algorithm;
pub mod attester;
pub mod certificate;
pub mod client;
pub mod credential;
pub mod device;
pub mod ek;
mod error;
pub mod event_log;
pub mod sealed;
pub mod verify;

pub use error::Error;
