//! Keys of a TPM by which others know the device, made on request.

use super::{Der, EkAlgorithm, IssuedCertificate};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use utoipa::ToSchema;

/// Which key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKeyKind {
    /// An attestation key, which signs quotes.
    Ak,
    /// The initial attestation key (TPM 2.0 Keys for Device Identity and Attestation).
    Iak,
    /// The initial device identity (the same).
    Idevid,
}

impl DeviceKeyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ak, Self::Iak, Self::Idevid];

    /// The word in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ak => "ak",
            Self::Iak => "iak",
            Self::Idevid => "idevid",
        }
    }
}

impl fmt::Display for DeviceKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DeviceKeyKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is none of ak, iak, idevid"))
    }
}

/// A key that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedDeviceKey {
    /// Which.
    pub kind: DeviceKeyKind,
    /// Its type and size; an `ak` is `rsa2048` or `secp256r1`.
    #[serde(default = "usual")]
    pub algorithm: EkAlgorithm,
}

const fn usual() -> EkAlgorithm {
    EkAlgorithm::Secp256r1
}

/// A key that a TPM showed to have, with its certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeviceKey {
    /// Which.
    pub kind: DeviceKeyKind,
    /// Its type and size.
    pub algorithm: EkAlgorithm,
    /// Where it is persistent in the TPM.
    pub handle: u32,
    /// Its Name, in hexadecimal.
    pub name: String,
    /// Its public area (`TPM2B_PUBLIC`), in base64.
    pub public: Der,
    /// A request for its certificate (PKCS #10), signed by the key itself.
    pub request: Der,
    /// Its certificate, of the vCenter's authority.
    pub certificate: IssuedCertificate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in DeviceKeyKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert!("lak".parse::<DeviceKeyKind>().is_err());
        let wanted: WantedDeviceKey = serde_json::from_str(r#"{"kind":"iak"}"#).unwrap();
        assert_eq!(wanted.algorithm, EkAlgorithm::Secp256r1);
    }
}
