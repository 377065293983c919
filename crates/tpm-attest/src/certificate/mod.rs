//! Certificates: of a TPM's keys, of the authorities that sign them, and lists of those that were revoked.
//!
//! Endorsement certificates follow the TCG EK Credential Profile for TPM 2.0, the others the TCG Platform Certificate Profile in
//! the form that swtpm gives them, and "TPM 2.0 Keys for Device Identity and Attestation"; all of them RFC 5280.

mod authority;
mod facts;
mod identity;
mod issue;
mod key;
mod name;
mod public_key;
mod request;
mod revocation;
#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityNames, Locations};
pub use facts::Facts;
pub use identity::{PlatformIdentity, Specification, TpmIdentity};
pub use issue::{Lifetime, Purpose, Request, validity_start};
pub use key::{AuthorityAlgorithm, SigningKey};
pub use name::{common_name, distinguished_name, joined, serial_number_name};
pub use public_key::subject_public_key_info;
pub(crate) use public_key::{EC_PUBLIC_KEY, RSA_ENCRYPTION, RSAES_OAEP, curve_of};
pub use revocation::{Revocation, RevocationReason};
pub use x509_cert::Certificate;
pub use x509_cert::crl::CertificateList;
pub use x509_cert::name::Name;

use der::pem::LineEnding;
use der::{Decode, Encode, EncodePem};
use rand_core::CryptoRng;
use tpm_crypto::ecc::Curve;
use tpm_crypto::hash::HashAlgorithm;
use tpm_wire::object::TpmtPublic;
use x509_cert::ext::pkix::BasicConstraints;

use crate::ek::KeyAlgorithm;
use crate::verify::signature::VerifyingKey;
use crate::{Error, verify};

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

/// The DER of a certificate without what stands behind it; the bytes as they are, if they are none.
#[must_use]
pub fn without_padding(bytes: Vec<u8>) -> Vec<u8> {
    let exact = read(&bytes).and_then(|certificate| to_der(&certificate));
    exact.unwrap_or(bytes)
}

/// A list of revoked certificates in bytes.
///
/// # Errors
/// None for a list that was made or read here.
pub fn list_to_der(list: &CertificateList) -> Result<Vec<u8>, Error> {
    Ok(list.to_der()?)
}

/// What the first block of a PEM text holds.
///
/// # Errors
/// If there is none.
pub fn pem_bytes(text: &str) -> Result<Vec<u8>, Error> {
    let block = key::pem_blocks(text.as_bytes())
        .next()
        .ok_or_else(|| Error::Certificate("there is none in the text".to_owned()))?;
    let (_, bytes) =
        der::pem::decode_vec(block).map_err(|error| Error::Certificate(error.to_string()))?;
    Ok(bytes)
}

/// Checks that a signature is one of `message` by the key of a certificate: PKCS #1 1.5, or ECDSA in DER.
///
/// # Errors
/// If it is not, or the key is of a kind that makes none.
pub fn check_signature(
    certificate: &Certificate,
    hash: HashAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    let tbs = certificate.tbs_certificate();
    let key = VerifyingKey::of_certificate(tbs.subject_public_key_info());
    key.and_then(|key| key.verify_hash(hash, message, signature))
        .map_err(|reason| Error::Certificate(format!("its key made no such signature: {reason}")))
}

/// Whether a certificate is for this key.
///
/// # Errors
/// If the key cannot be certified.
pub fn certifies(certificate: &Certificate, key: &TpmtPublic) -> Result<bool, Error> {
    let of_key = subject_public_key_info(key)?;
    let certified = certificate.tbs_certificate().subject_public_key_info();
    Ok(of_key.algorithm.oid == certified.algorithm.oid
        && of_key.subject_public_key == certified.subject_public_key)
}

/// Whether a certificate is for a key of this type and size.
#[must_use]
pub fn may_certify(certificate: &Certificate, algorithm: KeyAlgorithm) -> bool {
    let info = certificate.tbs_certificate().subject_public_key_info();
    match algorithm.rsa_bits() {
        Some(bits) => {
            // The key is a sequence of a modulus, whose first bit is set, and a small exponent: little more than the modulus.
            let modulus = usize::from(bits) / 8;
            let size = info.subject_public_key.raw_bytes().len();
            info.algorithm.oid == RSA_ENCRYPTION && (modulus..modulus + 32).contains(&size)
        }
        None => {
            let curve = info.algorithm.parameters.as_ref();
            let curve = curve
                .and_then(|any| any.decode_as().ok())
                .and_then(curve_of);
            info.algorithm.oid == EC_PUBLIC_KEY
                && matches!(
                    (algorithm, curve),
                    (KeyAlgorithm::EccP256, Some(Curve::NistP256))
                        | (KeyAlgorithm::EccP384, Some(Curve::NistP384))
                        | (KeyAlgorithm::EccP521, Some(Curve::NistP521))
                )
        }
    }
}

/// Reads every certificate of a PEM text, or the one that the bytes are.
///
/// # Errors
/// If one of them is none, or there is none at all.
pub fn read_all(bytes: &[u8]) -> Result<Vec<Certificate>, Error> {
    let certificates: Vec<Certificate> = key::pem_blocks(bytes)
        .filter(|block| block.starts_with(b"-----BEGIN CERT"))
        .map(read)
        .collect::<Result<_, _>>()?;
    if certificates.is_empty() {
        return match std::str::from_utf8(bytes) {
            Ok(_) => Err(Error::Certificate("there is none in the text".to_owned())),
            Err(_) => Ok(vec![read(bytes)?]),
        };
    }
    Ok(certificates)
}

/// The certificate of the authority with this key out of several, then those above it, each of which signed the one before.
///
/// # Errors
/// If none is for that key, one of them may not sign, or one is left over.
pub fn chain_of(
    key: &SigningKey,
    mut certificates: Vec<Certificate>,
) -> Result<Vec<Certificate>, Error> {
    let refused = |reason: String| Error::Certificate(reason);
    let own = key.public()?;
    let first = certificates
        .iter()
        .position(|it| *it.tbs_certificate().subject_public_key_info() == own)
        .ok_or_else(|| refused("none of them is for the key that was made here".to_owned()))?;
    let first = certificates.swap_remove(first);
    Authority::from_parts(key.clone(), first.clone())?;
    let mut chain = vec![first];
    while let Some(last) = chain.last() {
        let above = certificates.iter().position(|it| {
            it.tbs_certificate().subject() == last.tbs_certificate().issuer()
                && verify::signed_by(last, it).is_ok()
        });
        let Some(above) = above else { break };
        let above = certificates.swap_remove(above);
        let constraints = above
            .tbs_certificate()
            .get_extension::<BasicConstraints>()?;
        let allowed = constraints.is_some_and(|(_, it)| {
            it.ca
                && it
                    .path_len_constraint
                    .is_none_or(|most| chain.len() <= usize::from(most))
        });
        if !allowed {
            return Err(refused(format!(
                "{} may not sign authorities",
                above.tbs_certificate().subject()
            )));
        }
        chain.push(above);
    }
    match certificates.first() {
        None => Ok(chain),
        Some(left) => Err(refused(format!(
            "{} signed none of the others",
            left.tbs_certificate().subject()
        ))),
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

/// Reads every list of a PEM text, or the one that the bytes are.
///
/// # Errors
/// If one of them is none, or there is none at all.
pub fn read_lists(bytes: &[u8]) -> Result<Vec<CertificateList>, Error> {
    let lists: Vec<CertificateList> = key::pem_blocks(bytes)
        .filter(|block| block.starts_with(b"-----BEGIN X509 CRL"))
        .map(read_list)
        .collect::<Result<_, _>>()?;
    if lists.is_empty() {
        return Ok(vec![read_list(bytes)?]);
    }
    Ok(lists)
}

/// A serial number that nobody can guess: 20 decimal digits, as swtpm's authority begins with.
pub fn random_serial(rng: &mut impl CryptoRng) -> u128 {
    const DIGITS: u128 = 10_u128.pow(19);
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    DIGITS + u128::from_be_bytes(bytes) % (9 * DIGITS)
}
