//! Certificates: of a TPM's keys, of the authorities that sign them, and lists of those that were revoked.
//!
//! Endorsement certificates follow the TCG EK Credential Profile for TPM 2.0, the others the TCG Platform Certificate Profile in
//! the form that swtpm gives them, and "TPM 2.0 Keys for Device Identity and Attestation"; all of them RFC 5280.

mod authority;
mod identity;
mod issue;
mod key;
mod name;
mod public_key;
mod revocation;
#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityNames, Locations};
pub use identity::{PlatformIdentity, Specification, TpmIdentity};
pub use issue::{Lifetime, Purpose, Request};
pub use key::{AuthorityAlgorithm, SigningKey};
pub use name::{common_name, distinguished_name, joined, serial_number_name};
pub use public_key::subject_public_key_info;
pub(crate) use public_key::{EC_PUBLIC_KEY, RSA_ENCRYPTION, curve_of};
pub use revocation::{Revocation, RevocationReason};
pub use x509_cert::Certificate;
pub use x509_cert::crl::CertificateList;
pub use x509_cert::name::Name;

use der::pem::LineEnding;
use der::{Decode, Encode, EncodePem};
use rand_core::CryptoRng;

use crate::Error;

/// A certificate as it stands in NV memory and in `.crt` files.
///
/// # Errors
/// None for a certificate that was made or read here.
pub fn to_der(certificate: &Certificate) -> Result<Vec<u8>, Error> {
    Ok(certificate.to_der()?)
}

/// A certificate as text.
///
/// # Errors
/// None for a certificate that was made or read here.
pub fn to_pem(certificate: &Certificate) -> Result<String, Error> {
    Ok(certificate.to_pem(LineEnding::LF)?)
}

/// Reads a certificate, as text or as bytes. Bytes behind it are left out of account: NV indices may be longer than what they hold.
///
/// # Errors
/// If it is none.
pub fn read(bytes: &[u8]) -> Result<Certificate, Error> {
    let refused = |error: der::Error| Error::Certificate(error.to_string());
    if let Some(text) = key::pem_blocks(bytes).find(|block| block.starts_with(b"-----BEGIN CERT")) {
        let (_, der) =
            der::pem::decode_vec(text).map_err(|error| Error::Certificate(error.to_string()))?;
        return Certificate::from_der(&der).map_err(refused);
    }
    let (certificate, _) = Certificate::from_der_partial(bytes).map_err(refused)?;
    Ok(certificate)
}

/// Reads every certificate of a text, or the one that the bytes are.
///
/// # Errors
/// If one of them is none. A text without any gives an empty list.
pub fn read_all(bytes: &[u8]) -> Result<Vec<Certificate>, Error> {
    const BEGIN: &str = "-----BEGIN ";
    match std::str::from_utf8(bytes) {
        Ok(text) => text
            .split_inclusive("-----END CERTIFICATE-----")
            .filter(|part| part.contains(BEGIN))
            .map(|part| read(part.as_bytes()))
            .collect(),
        Err(_) => Ok(vec![read(bytes)?]),
    }
}

/// Reads a list of revoked certificates, as text or as bytes.
///
/// # Errors
/// If it is none.
pub fn read_list(bytes: &[u8]) -> Result<CertificateList, Error> {
    let refused = |error: der::Error| Error::Certificate(error.to_string());
    let text = key::pem_blocks(bytes).find(|block| block.starts_with(b"-----BEGIN X509 CRL"));
    match text {
        Some(text) => {
            let (_, der) = der::pem::decode_vec(text)
                .map_err(|error| Error::Certificate(error.to_string()))?;
            CertificateList::from_der(&der).map_err(refused)
        }
        None => CertificateList::from_der(bytes).map_err(refused),
    }
}

/// A serial number that nobody can guess: 20 decimal digits, as swtpm's authority begins with.
pub fn random_serial(rng: &mut impl CryptoRng) -> u128 {
    const DIGITS: u128 = 10_u128.pow(19);
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    DIGITS + u128::from_be_bytes(bytes) % (9 * DIGITS)
}
