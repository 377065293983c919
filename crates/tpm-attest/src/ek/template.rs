//! Templates: the public areas from which `TPM2_CreatePrimary` makes a manufacturer's keys.

use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmiEccCurve, TpmiRsaKeyBits, TpmsEccPoint,
    TpmsSchemeHash, TpmtEccScheme, TpmtRsaScheme, TpmtSymDefObject,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2bDigest, Tpm2bEccParameter, Tpm2bPublicKeyRsa};
use tpm_wire::object::{TpmsEccParms, TpmsRsaParms, TpmtPublic, TpmuPublicId, TpmuPublicParms};

use super::{EkTemplate, KeyAlgorithm, policy};

/// What an endorsement key may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// Decrypt, as the profile has it; without this the key is not the one that others would make.
    #[default]
    Decrypt,
    /// Sign.
    Sign,
    /// Both, which such a key can only do if it is not restricted.
    SignAndDecrypt,
}

/// Attributes of every key that a TPM made and keeps.
const OWN: TpmaObject = TpmaObject::FIXED_TPM
    .with(TpmaObject::FIXED_PARENT)
    .with(TpmaObject::SENSITIVE_DATA_ORIGIN);

impl EkTemplate {
    /// The template of the key, with another use than the profile's if that is asked for.
    #[must_use]
    pub fn public(self, usage: Usage) -> TpmtPublic {
        let algorithm = self.algorithm();
        let name_alg = hash_of(algorithm);
        let mut attributes = OWN.with(TpmaObject::ADMIN_WITH_POLICY);
        if !self.is_low_range() {
            attributes = attributes.with(TpmaObject::USER_WITH_AUTH);
        }
        let (uses, symmetric) = match usage {
            Usage::Decrypt => (
                TpmaObject::RESTRICTED.with(TpmaObject::DECRYPT),
                Some(cipher_of(algorithm)),
            ),
            Usage::Sign => (TpmaObject::SIGN, None),
            Usage::SignAndDecrypt => (TpmaObject::SIGN.with(TpmaObject::DECRYPT), None),
        };
        let auth_policy = if self.is_low_range() {
            policy::endorsement(name_alg)
        } else {
            policy::endorsement_or_owner(name_alg)
        };
        // In the low range what is unique is zero and as long as the key's; in the high range it is empty.
        let unique = self.is_low_range();
        TpmtPublic {
            name_alg: Some(name_alg),
            object_attributes: attributes.with(uses),
            auth_policy,
            parameters: parameters(algorithm, symmetric, None, None),
            unique: if unique {
                zeros(algorithm)
            } else {
                TpmuPublicId::empty(object_type(algorithm))
            },
        }
    }
}

impl KeyAlgorithm {
    /// The template of a storage key of the owner, without a policy (TCG TPM v2.0 Provisioning Guidance, 7.5.1).
    #[must_use]
    pub fn storage_key(self) -> TpmtPublic {
        TpmtPublic {
            name_alg: Some(hash_of(self)),
            object_attributes: OWN
                .with(TpmaObject::USER_WITH_AUTH)
                .with(TpmaObject::NO_DA)
                .with(TpmaObject::RESTRICTED)
                .with(TpmaObject::DECRYPT),
            auth_policy: Tpm2bDigest::EMPTY,
            parameters: parameters(self, Some(cipher_of(self)), None, None),
            unique: zeros(self),
        }
    }

    /// The template of an initial attestation key (TPM 2.0 Keys for Device Identity and Attestation, 7.3.4).
    #[must_use]
    pub fn attestation_key(self) -> TpmtPublic {
        let hash_alg = hash_of(self);
        let scheme = TpmsSchemeHash { hash_alg };
        TpmtPublic {
            name_alg: Some(hash_alg),
            object_attributes: OWN
                .with(TpmaObject::USER_WITH_AUTH)
                .with(TpmaObject::ADMIN_WITH_POLICY)
                .with(TpmaObject::RESTRICTED)
                .with(TpmaObject::SIGN),
            auth_policy: Tpm2bDigest::new(policy::attestation_key(hash_alg)).unwrap_or_default(),
            parameters: parameters(
                self,
                None,
                Some(TpmtRsaScheme::Rsapss(scheme.clone())),
                Some(TpmtEccScheme::Ecdsa(scheme)),
            ),
            unique: labelled(self, b"IAK"),
        }
    }

    /// The template of an initial device identity (the same document, 7.3.4).
    #[must_use]
    pub fn device_identity(self) -> TpmtPublic {
        let hash_alg = hash_of(self);
        TpmtPublic {
            name_alg: Some(hash_alg),
            object_attributes: OWN
                .with(TpmaObject::USER_WITH_AUTH)
                .with(TpmaObject::ADMIN_WITH_POLICY)
                .with(TpmaObject::SIGN),
            auth_policy: Tpm2bDigest::new(policy::device_identity(hash_alg)).unwrap_or_default(),
            parameters: parameters(
                self,
                None,
                None,
                Some(TpmtEccScheme::Ecdsa(TpmsSchemeHash { hash_alg })),
            ),
            unique: labelled(self, b"IDEVID"),
        }
    }
}

const fn hash_of(algorithm: KeyAlgorithm) -> TpmiAlgHash {
    match algorithm {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::EccP256 => TpmiAlgHash::Sha256,
        KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 | KeyAlgorithm::EccP384 => {
            TpmiAlgHash::Sha384
        }
        KeyAlgorithm::EccP521 => TpmiAlgHash::Sha512,
    }
}

const fn cipher_of(algorithm: KeyAlgorithm) -> TpmtSymDefObject {
    TpmtSymDefObject {
        algorithm: TpmiAlgSymObject::Aes,
        key_bits: match algorithm {
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::EccP256 => 128,
            _ => 256,
        },
        mode: Some(TpmiAlgSymMode::Cfb),
    }
}

const fn object_type(algorithm: KeyAlgorithm) -> tpm_wire::algorithm::TpmiAlgPublic {
    match algorithm.rsa_bits() {
        Some(_) => tpm_wire::algorithm::TpmiAlgPublic::Rsa,
        None => tpm_wire::algorithm::TpmiAlgPublic::Ecc,
    }
}

fn parameters(
    algorithm: KeyAlgorithm,
    symmetric: Option<TpmtSymDefObject>,
    rsa_scheme: Option<TpmtRsaScheme>,
    ecc_scheme: Option<TpmtEccScheme>,
) -> TpmuPublicParms {
    let curve_id = match algorithm {
        KeyAlgorithm::EccP521 => TpmiEccCurve::NistP521,
        KeyAlgorithm::EccP384 => TpmiEccCurve::NistP384,
        _ => TpmiEccCurve::NistP256,
    };
    match algorithm.rsa_bits() {
        Some(bits) => TpmuPublicParms::Rsa(TpmsRsaParms {
            symmetric,
            scheme: rsa_scheme,
            key_bits: TpmiRsaKeyBits(bits),
            exponent: 0,
        }),
        None => TpmuPublicParms::Ecc(TpmsEccParms {
            symmetric,
            scheme: ecc_scheme,
            curve_id,
            kdf: None,
        }),
    }
}

/// A `unique` of zeros, as long as that of the key.
fn zeros(algorithm: KeyAlgorithm) -> TpmuPublicId {
    let coordinate = match algorithm {
        KeyAlgorithm::EccP521 => 66,
        KeyAlgorithm::EccP384 => 48,
        _ => 32,
    };
    match algorithm.rsa_bits() {
        Some(bits) => TpmuPublicId::Rsa(
            Tpm2bPublicKeyRsa::new(vec![0; usize::from(bits / 8)]).unwrap_or_default(),
        ),
        None => TpmuPublicId::Ecc(TpmsEccPoint {
            x: Tpm2bEccParameter::zeros(coordinate),
            y: Tpm2bEccParameter::zeros(coordinate),
        }),
    }
}

/// A `unique` that tells keys of one template apart by their purpose.
fn labelled(algorithm: KeyAlgorithm, label: &[u8]) -> TpmuPublicId {
    match algorithm.rsa_bits() {
        Some(_) => TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(label.to_vec()).unwrap_or_default()),
        None => TpmuPublicId::Ecc(TpmsEccPoint {
            x: Tpm2bEccParameter::new(label).unwrap_or_default(),
            y: Tpm2bEccParameter::EMPTY,
        }),
    }
}
