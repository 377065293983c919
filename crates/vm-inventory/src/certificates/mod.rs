//! Certificates of TPMs' endorsement keys: what the inventory keeps of them, and who makes them.
//!
//! As a TPM is bytes here, so is a certificate: a [`Certifier`] makes and reads them.

mod authority;
mod device;

pub use authority::{AuthorityChange, AuthorityOrigin, AuthorityView, Revoked};
pub(crate) use authority::{AuthorityRecord, PendingAuthority, SealedKey, StoredAuthority};
pub use device::{DeviceKey, DeviceKeyKind, WantedDeviceKey};

use crate::operation::{TpmBytes, TpmMakerError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A certificate, a request or a list of revoked certificates in DER; base64 in JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct Der(pub Vec<u8>);

impl TryFrom<String> for Der {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = STANDARD.decode(text.as_bytes());
        bytes
            .map(Self)
            .map_err(|error| format!("it is not base64: {error}"))
    }
}

impl From<Der> for String {
    fn from(der: Der) -> Self {
        STANDARD.encode(der.0)
    }
}

impl Der {
    /// The same as PEM text with this label, such as `CERTIFICATE`.
    #[must_use]
    pub fn to_pem(&self, label: &str) -> String {
        let mut text = format!("-----BEGIN {label}-----\n");
        let encoded = STANDARD.encode(&self.0);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            // base64 is ASCII, so any place is between two characters.
            let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str(&format!("-----END {label}-----\n"));
        text
    }
}

/// Type and size of an endorsement key that TPMs get a certificate for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EkAlgorithm {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// NIST P-256.
    Secp256r1,
    /// NIST P-384.
    Secp384r1,
}

impl EkAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Secp256r1,
        Self::Secp384r1,
    ];
    /// Those that every TPM gets if nobody says otherwise.
    pub const USUAL: [Self; 2] = [Self::Rsa2048, Self::Secp256r1];

    /// The word in files and requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
        }
    }
}

impl fmt::Display for EkAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EkAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| {
            format!("`{text}` is none of rsa2048, rsa3072, rsa4096, secp256r1, secp384r1")
        })
    }
}

/// The hash of which a signature is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureHash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// What a certificate says, for lists and pages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CertificateFacts {
    /// Whose key it is; empty for endorsement keys, which the alternative name describes.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// From when on it is valid, in seconds since 1970.
    pub not_before: u64,
    /// Until when; left out if without an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
    /// SHA-256 of the whole, in hexadecimal.
    pub fingerprint: String,
}

/// A certificate with what it says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct IssuedCertificate {
    /// Its bytes.
    pub der: Der,
    /// The NV Index of the TPM where it is.
    pub nv_index: u32,
    /// What it says.
    pub facts: CertificateFacts,
}

/// An endorsement key of a TPM, as far as others may know it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct EndorsementKey {
    /// Its type and size.
    pub algorithm: EkAlgorithm,
    /// A request for its certificate (PKCS #10), signed by the key itself.
    pub request: Der,
    /// Its certificate, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<IssuedCertificate>,
}

/// The endorsement keys of a TPM and their certificates.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TpmCertificates {
    /// Each key.
    pub keys: Vec<EndorsementKey>,
    /// The platform certificate, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<IssuedCertificate>,
    /// Keys that were made on request, and their certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device: Vec<DeviceKey>,
}

impl TpmCertificates {
    /// Nothing is known of any key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.platform.is_none() && self.device.is_empty()
    }
}

/// One certificate of a TPM, without its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CertificateView {
    /// The endorsement key (`rsa2048`, `secp256r1`, ...), `platform`, or a key that was made on request (`ak`, `iak`, `idevid`).
    pub key: String,
    /// The NV Index of the TPM where it is.
    pub nv_index: u32,
    /// What it says.
    #[serde(flatten)]
    pub facts: CertificateFacts,
}

impl TpmCertificates {
    /// The certificates without their bytes.
    #[must_use]
    pub fn views(&self) -> Vec<CertificateView> {
        let view = |key: &str, certificate: &IssuedCertificate| CertificateView {
            key: key.to_owned(),
            nv_index: certificate.nv_index,
            facts: certificate.facts.clone(),
        };
        let keys = self.keys.iter().filter_map(|key| {
            let certificate = key.certificate.as_ref()?;
            Some(view(key.algorithm.as_str(), certificate))
        });
        let platform = self.platform.iter().map(|it| view("platform", it));
        let device = self.device.iter();
        let device = device.map(|it| view(it.kind.as_str(), &it.certificate));
        keys.chain(platform).chain(device).collect()
    }
}

/// A private key, in a form that the certifier chooses; wiped when dropped.
pub type PrivateKey = Zeroizing<Vec<u8>>;

/// A new authority: a root and the one below it, which issues.
pub struct NewAuthority {
    /// The key of the root.
    pub root_key: PrivateKey,
    /// The key that signs certificates of TPMs.
    pub issuer_key: PrivateKey,
    /// The issuer's certificate, then the root's.
    pub chain: Vec<Der>,
}

/// Who signs.
#[derive(Clone, Copy)]
pub struct Issuer<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its certificate, then those above it.
    pub chain: &'a [Der],
    /// The URL below which its certificate and its list of revoked ones are, for the certificates that it issues to say so.
    pub published: Option<&'a str>,
}

/// A TPM with its certificates in it.
pub struct Certified {
    /// The TPM.
    pub state: TpmBytes,
    /// Name of its RSA-2048 endorsement key of the default template, in hexadecimal.
    pub ek_name: String,
    /// Its keys and certificates.
    pub certificates: TpmCertificates,
    /// What could not be had, in words.
    pub notes: Vec<String>,
}

/// Makes and reads certificates, and puts them into TPMs.
pub trait Certifier: Send + Sync {
    /// An authority of its own for a vCenter.
    ///
    /// # Errors
    /// When it cannot be made.
    fn new_authority(&self, vcenter: &str) -> Result<NewAuthority, TpmMakerError>;

    /// A key for an authority below one elsewhere, and the request for its certificate.
    ///
    /// # Errors
    /// When it cannot be made.
    fn authority_request(&self, vcenter: &str) -> Result<(PrivateKey, Der), TpmMakerError>;

    /// Reads the certificate of the authority with this key and those above it, as PEM; gives them in order.
    ///
    /// # Errors
    /// What is wrong with them: another key, no authority, a broken chain.
    fn accept_authority(&self, key: &[u8], certificates: &str) -> Result<Vec<Der>, TpmMakerError>;

    /// Looks at the endorsement keys of a TPM that was never used, and puts certificates of this issuer into it, if there is one.
    ///
    /// # Errors
    /// When `state` is not the state of a TPM, or it lets nobody make its first endorsement key.
    fn certify(
        &self,
        state: &[u8],
        issuer: Option<Issuer<'_>>,
        keys: &[EkAlgorithm],
        hardware_version: u16,
    ) -> Result<Certified, TpmMakerError>;

    /// Puts a certificate into a TPM in the place of the one it has for that key; the TPM has to show that it has the key. Gives the
    /// TPM, and the key as it is to be kept.
    ///
    /// # Errors
    /// When the certificate is none, or for another key, or the TPM does not take it.
    fn set_certificate(
        &self,
        state: &[u8],
        certificate: &str,
    ) -> Result<(TpmBytes, EndorsementKey), TpmMakerError>;

    /// Makes keys in a TPM, which has to show that they are in it, and certifies them. Gives the TPM, and the keys as they are to be
    /// kept.
    ///
    /// # Errors
    /// When the TPM does not make them, has no endorsement certificate, or has another key in the place of one.
    fn device_keys(
        &self,
        state: &[u8],
        issuer: Issuer<'_>,
        wanted: &[WantedDeviceKey],
    ) -> Result<(TpmBytes, Vec<DeviceKey>), TpmMakerError>;

    /// Puts a certificate into a TPM in the place of the one that it has for one of these keys, which were made on request; the TPM has to
    /// show that the key is in it. Gives the TPM, and the key as it is to be kept.
    ///
    /// # Errors
    /// When the certificate is none, or for another key, or the TPM does not take it.
    fn set_device_certificate(
        &self,
        state: &[u8],
        certificate: &str,
        known: &[DeviceKey],
    ) -> Result<(TpmBytes, DeviceKey), TpmMakerError>;

    /// What a certificate says.
    ///
    /// # Errors
    /// When it is none.
    fn facts(&self, certificate: &Der) -> Result<CertificateFacts, TpmMakerError>;

    /// Checks that `signature` is one of `message` by the key of a certificate (PEM): by PKCS #1 1.5 or ECDSA. Says whose it is.
    ///
    /// # Errors
    /// When it is not, or the certificate is none.
    fn signer(
        &self,
        certificate: &str,
        hash: SignatureHash,
        message: &[u8],
        signature: &[u8],
    ) -> Result<CertificateFacts, TpmMakerError>;

    /// The list of what an authority revoked.
    ///
    /// # Errors
    /// When it cannot be made.
    fn revocation_list(
        &self,
        issuer: Issuer<'_>,
        number: u64,
        revoked: &[Revoked],
    ) -> Result<Der, TpmMakerError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_is_base64_in_json_and_pem_as_text() {
        let der = Der((0..60).collect());
        let json = serde_json::to_string(&der).unwrap();
        assert_eq!(serde_json::from_str::<Der>(&json).unwrap(), der);
        assert!(serde_json::from_str::<Der>("\"*\"").is_err());
        let pem = der.to_pem("CERTIFICATE");
        let lines: Vec<usize> = pem.lines().map(str::len).collect();
        assert_eq!(lines, [27, 64, 16, 25]);
    }

    #[test]
    fn algorithms_are_read_as_they_are_written() {
        for algorithm in EkAlgorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
            let json = serde_json::to_value(algorithm).unwrap();
            assert_eq!(json, algorithm.as_str());
        }
        assert!("dsa".parse::<EkAlgorithm>().is_err());
    }
}
