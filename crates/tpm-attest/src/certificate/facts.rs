//! What people and lists want to know of a certificate.

use der::{Decode, Encode};
use tpm_crypto::hash::{HashAlgorithm, hash};
use x509_cert::Certificate;
use x509_cert::time::Time;

use super::identity::hex;
use crate::Error;

/// What a certificate says, as text and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose key it is (RFC 4514); empty for endorsement keys, which the alternative name describes.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, in hexadecimal digits.
    pub serial: String,
    /// From when on it is valid, in seconds since 1970.
    pub not_before: u64,
    /// Until when it is valid; `None` if without an end.
    pub not_after: Option<u64>,
    /// SHA-256 of the whole, in hexadecimal digits.
    pub fingerprint: String,
}

impl Facts {
    /// Those of a certificate.
    ///
    /// # Errors
    /// None for a certificate that was made or read here.
    pub fn of(certificate: &Certificate) -> Result<Self, Error> {
        let tbs = certificate.tbs_certificate();
        let seconds = |time: &Time| time.to_unix_duration().as_secs();
        let validity = tbs.validity();
        Ok(Self {
            subject: tbs.subject().to_string(),
            issuer: tbs.issuer().to_string(),
            serial: hex(tbs.serial_number().as_bytes()),
            not_before: seconds(&validity.not_before),
            not_after: (validity.not_after != Time::INFINITY).then(|| seconds(&validity.not_after)),
            fingerprint: hex(&hash(HashAlgorithm::Sha256, &[&certificate.to_der()?])),
        })
    }

    /// Those of a certificate's bytes.
    ///
    /// # Errors
    /// If they are none.
    pub fn of_der(bytes: &[u8]) -> Result<Self, Error> {
        let certificate =
            Certificate::from_der(bytes).map_err(|error| Error::Certificate(error.to_string()))?;
        Self::of(&certificate)
    }
}
