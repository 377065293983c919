//! Endorsement keys and the other keys that a manufacturer gives a TPM: how they are made, and where they and their certificates are
//! kept.
//!
//! The templates are those of the TCG EK Credential Profile for TPM 2.0 (2.5, annex B) and of "TPM 2.0 Keys for Device Identity and
//! Attestation" (7.3); a TPM makes the same key from the same template for as long as its endorsement seed lives.

mod policy;
mod provision;
mod template;

pub use provision::{Keys, Made, allocate_pcr_banks, pcr_banks};
pub use template::Usage;

use std::fmt;
use std::str::FromStr;

use tpm_wire::handles::TpmHandle;

/// Type and size of a key that a manufacturer makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// NIST P-256.
    EccP256,
    /// NIST P-384.
    EccP384,
    /// NIST P-521.
    EccP521,
}

impl KeyAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::EccP256,
        Self::EccP384,
        Self::EccP521,
    ];

    /// The name that stands in file names and options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::EccP256 => "secp256r1",
            Self::EccP384 => "secp384r1",
            Self::EccP521 => "secp521r1",
        }
    }

    /// Bits of the modulus, for an RSA key.
    #[must_use]
    pub const fn rsa_bits(self) -> Option<u16> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            Self::EccP256 | Self::EccP384 | Self::EccP521 => None,
        }
    }

    /// The RSA algorithm of this many bits.
    #[must_use]
    pub fn rsa(bits: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.rsa_bits() == Some(bits))
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa2048 => "RSA 2048",
            Self::Rsa3072 => "RSA 3072",
            Self::Rsa4096 => "RSA 4096",
            ecc => ecc.name(),
        })
    }
}

/// Reads a name, in any of the spellings that swtpm's tools know.
impl FromStr for KeyAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        Ok(match lower.as_str() {
            "rsa2048" => Self::Rsa2048,
            "rsa3072" => Self::Rsa3072,
            "rsa4096" => Self::Rsa4096,
            "secp256r1" | "ecc_nist_p256" => Self::EccP256,
            "secp384r1" | "ecc_nist_p384" => Self::EccP384,
            "secp521r1" | "ecc_nist_p521" => Self::EccP521,
            _ => {
                return Err(format!(
                    "'{text}' is none of rsa2048, rsa3072, rsa4096, secp256r1, secp384r1, secp521r1"
                ));
            }
        })
    }
}

/// One of the endorsement keys of the profile, by its number there: `L` for the low range of NV indices, `H` for the high range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EkTemplate {
    /// RSA 2048 with the policy that the endorsement authorization alone satisfies.
    L1,
    /// ECC NIST P-256 with that policy.
    L2,
    /// RSA 2048.
    H1,
    /// ECC NIST P-256.
    H2,
    /// ECC NIST P-384.
    H3,
    /// ECC NIST P-521.
    H4,
    /// RSA 3072.
    H6,
    /// RSA 4096.
    H7,
}

/// The NV indices of one endorsement key (EK Credential Profile, 2.2.1.4 and 2.2.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EkIndices {
    /// Where its certificate is.
    pub certificate: u32,
    /// Where the nonce of a template that is not the default is; the high range has none.
    pub nonce: Option<u32>,
    /// Where the template is, if it is not the default.
    pub template: u32,
}

/// NV Index of the platform certificate.
pub const PLATFORM_CERTIFICATE: u32 = 0x01C0_8000;
/// NV Index of the certificate of the initial attestation key.
pub const IAK_CERTIFICATE: u32 = 0x01C9_0100;
/// NV Index of the certificate of the initial device identity.
pub const IDEVID_CERTIFICATE: u32 = 0x01C9_0200;
/// First of the NV indices that hold the chain from the endorsement certificate's issuer up, one certificate after the other.
pub const CHAIN: u32 = 0x01C0_0100;
/// Handle of the storage key that the owner's software shares.
pub const STORAGE_KEY: TpmHandle = TpmHandle(0x8100_0001);
/// Handle of the initial device identity.
pub const IDEVID_KEY: TpmHandle = TpmHandle(0x8102_0000);
/// Handle of the initial attestation key.
pub const IAK_KEY: TpmHandle = TpmHandle(0x8102_0001);

impl EkTemplate {
    /// Every template.
    pub const ALL: [Self; 8] = [
        Self::L1,
        Self::L2,
        Self::H1,
        Self::H2,
        Self::H3,
        Self::H4,
        Self::H6,
        Self::H7,
    ];

    /// The template that is usual for an algorithm: of the low range if that has one.
    #[must_use]
    pub const fn usual(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Rsa2048 => Self::L1,
            KeyAlgorithm::EccP256 => Self::L2,
            KeyAlgorithm::EccP384 => Self::H3,
            KeyAlgorithm::EccP521 => Self::H4,
            KeyAlgorithm::Rsa3072 => Self::H6,
            KeyAlgorithm::Rsa4096 => Self::H7,
        }
    }

    /// The algorithm of the key.
    #[must_use]
    pub const fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::L1 | Self::H1 => KeyAlgorithm::Rsa2048,
            Self::L2 | Self::H2 => KeyAlgorithm::EccP256,
            Self::H3 => KeyAlgorithm::EccP384,
            Self::H4 => KeyAlgorithm::EccP521,
            Self::H6 => KeyAlgorithm::Rsa3072,
            Self::H7 => KeyAlgorithm::Rsa4096,
        }
    }

    /// Whether the template belongs to the low range.
    #[must_use]
    pub const fn is_low_range(self) -> bool {
        matches!(self, Self::L1 | Self::L2)
    }

    /// Where certificate, nonce and template are.
    #[must_use]
    pub const fn indices(self) -> EkIndices {
        let certificate = match self {
            Self::L1 => 0x01C0_0002,
            Self::L2 => 0x01C0_000A,
            Self::H1 => 0x01C0_0012,
            Self::H2 => 0x01C0_0014,
            Self::H3 => 0x01C0_0016,
            Self::H4 => 0x01C0_0018,
            Self::H6 => 0x01C0_001C,
            Self::H7 => 0x01C0_001E,
        };
        if self.is_low_range() {
            EkIndices {
                certificate,
                nonce: Some(certificate + 1),
                template: certificate + 2,
            }
        } else {
            EkIndices {
                certificate,
                nonce: None,
                template: certificate + 1,
            }
        }
    }

    /// The handle at which the key is persistent: by custom that of swtpm, whose last bytes are those of the certificate's Index.
    #[must_use]
    pub const fn handle(self) -> TpmHandle {
        match self {
            Self::L1 => TpmHandle(0x8101_0001),
            other => TpmHandle(0x8101_0000 | (other.indices().certificate & 0xFF)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_and_handle_is_used_once() {
        let mut seen = std::collections::HashSet::new();
        for template in EkTemplate::ALL {
            let indices = template.indices();
            for index in [
                Some(indices.certificate),
                indices.nonce,
                Some(indices.template),
            ] {
                assert!(index.is_none_or(|index| seen.insert(index)), "{template:?}");
            }
            assert!(seen.insert(template.handle().0), "{template:?}");
        }
    }

    #[test]
    fn the_indices_are_those_of_the_profile() {
        assert_eq!(EkTemplate::L1.indices().certificate, 0x01C0_0002);
        assert_eq!(EkTemplate::L2.indices().template, 0x01C0_000C);
        assert_eq!(EkTemplate::H3.indices().template, 0x01C0_0017);
        assert_eq!(EkTemplate::H7.handle().0, 0x8101_001E);
        assert_eq!(EkTemplate::L2.handle().0, 0x8101_000A);
    }

    #[test]
    fn names_are_read_in_all_spellings() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert_eq!(EkTemplate::usual(algorithm).algorithm(), algorithm);
        }
        assert_eq!("ECC_NIST_P384".parse(), Ok(KeyAlgorithm::EccP384));
        assert!("dsa1024".parse::<KeyAlgorithm>().is_err());
        assert_eq!(KeyAlgorithm::rsa(3072), Some(KeyAlgorithm::Rsa3072));
        assert_eq!(KeyAlgorithm::rsa(1024), None);
    }
}
