//! What can go wrong between a TPM, its keys and its certificates.

use tpm_crypto::ecc::EccError;
use tpm_crypto::rsa::RsaError;
use tpm_wire::rc::Rc;

/// Why something about the identity of a TPM could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command did not reach the TPM, or its response did not come back.
    #[error("the TPM cannot be reached: {0}")]
    Transmission(#[from] std::io::Error),
    /// The TPM refused a command.
    #[error("the TPM refused TPM2_{command}{about}: {code}")]
    Refused {
        /// The command, by its name in Part 3.
        command: &'static str,
        /// What it was sent for; empty, or beginning with a space.
        about: String,
        /// The response code.
        code: Rc,
    },
    /// The TPM's response is not one to this command.
    #[error("the TPM's response to TPM2_{command} makes no sense: {fault}")]
    Response {
        /// The command, by its name in Part 3.
        command: &'static str,
        /// What is wrong.
        fault: &'static str,
    },
    /// A value is too large for the command that should carry it.
    #[error("{what} has {size} bytes, which is too much for a TPM command")]
    TooLarge {
        /// Which value.
        what: &'static str,
        /// How large it is.
        size: usize,
    },
    /// A key has a type or a size that cannot be certified.
    #[error("no certificate can be made for {0}")]
    PublicKey(&'static str),
    /// A private key could not be read.
    #[error("the private key cannot be used: {0}")]
    PrivateKey(String),
    /// A certificate that was given cannot be used as it should be.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
    /// A text cannot be part of a certificate.
    #[error("'{text}' cannot stand in a certificate: {reason}")]
    Text {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A structure could not be encoded or decoded.
    #[error("a certificate could not be encoded: {0}")]
    Encoding(String),
    /// A signature could not be made.
    #[error("the signature could not be made: {0}")]
    Signature(String),
}

impl From<der::Error> for Error {
    fn from(error: der::Error) -> Self {
        Self::Encoding(error.to_string())
    }
}

impl From<x509_cert::builder::Error> for Error {
    fn from(error: x509_cert::builder::Error) -> Self {
        Self::Encoding(error.to_string())
    }
}

impl From<EccError> for Error {
    fn from(error: EccError) -> Self {
        Self::Signature(error.to_string())
    }
}

impl From<RsaError> for Error {
    fn from(error: RsaError) -> Self {
        Self::Signature(error.to_string())
    }
}
