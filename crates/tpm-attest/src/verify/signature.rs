//! Signatures of TPM keys and of certificates.

use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Sequence};
use tpm_crypto::ecc::{self, Curve, Point};
use tpm_crypto::hash::{HashAlgorithm, hash};
use tpm_crypto::rsa::{self, DEFAULT_EXPONENT};
use tpm_wire::algorithm::{TpmiEccCurve, TpmtEccScheme, TpmtRsaScheme, TpmtSignature};
use tpm_wire::object::{TpmtPublic, TpmuPublicId, TpmuPublicParms};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::algorithm::hash_algorithm;
use crate::certificate::{EC_PUBLIC_KEY, RSA_ENCRYPTION, RSAES_OAEP, curve_of};

/// Bits of the smallest RSA key that is strong.
pub(crate) const STRONG_RSA: usize = 2048;

/// A key that verifies.
#[derive(Clone, Debug)]
pub(crate) enum VerifyingKey {
    Rsa(rsa::PublicKey),
    Ecc(Point),
}

#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

impl VerifyingKey {
    /// The key of a public area.
    pub(crate) fn of_tpm(public: &TpmtPublic) -> Result<Self, String> {
        match (&public.parameters, &public.unique) {
            (TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(modulus)) => {
                let exponent = match parameters.exponent {
                    0 => DEFAULT_EXPONENT,
                    other => other,
                };
                if modulus.len() * 8 != usize::from(parameters.key_bits.0) {
                    return Err(format!(
                        "an RSA key that calls itself one of {} bits has {}",
                        parameters.key_bits.0,
                        modulus.len() * 8
                    ));
                }
                rsa::PublicKey::new(modulus, exponent)
                    .map(Self::Rsa)
                    .map_err(|error| error.to_string())
            }
            (TpmuPublicParms::Ecc(parameters), TpmuPublicId::Ecc(point)) => {
                let curve = curve(parameters.curve_id)
                    .ok_or("a key of this curve makes no signatures that are checked here")?;
                ecc::on_curve(curve, &point.x, &point.y)
                    .map(Self::Ecc)
                    .ok_or_else(|| "its point is not on its curve".to_owned())
            }
            _ => Err("it is neither an RSA nor an ECC key".to_owned()),
        }
    }

    /// The key that a certificate is for, which need not be one that signs.
    pub(crate) fn certified(info: &SubjectPublicKeyInfoOwned) -> Result<Self, String> {
        if info.algorithm.oid != RSAES_OAEP {
            return Self::of_certificate(info);
        }
        let mut plain = info.clone();
        plain.algorithm.oid = RSA_ENCRYPTION;
        Self::of_certificate(&plain)
    }

    /// The key of a certificate, which signs.
    pub(crate) fn of_certificate(info: &SubjectPublicKeyInfoOwned) -> Result<Self, String> {
        let bytes = info
            .subject_public_key
            .as_bytes()
            .ok_or("its key has odd bits")?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => {
                let key = RsaPublicKey::from_der(bytes).map_err(|error| error.to_string())?;
                let exponent = key.exponent.as_bytes();
                let mut word = [0; 4];
                if exponent.len() > word.len() {
                    return Err("the exponent of its RSA key is too long".to_owned());
                }
                for (to, from) in word.iter_mut().rev().zip(exponent.iter().rev()) {
                    *to = *from;
                }
                rsa::PublicKey::new(key.modulus.as_bytes(), u32::from_be_bytes(word))
                    .map(Self::Rsa)
                    .map_err(|error| error.to_string())
            }
            EC_PUBLIC_KEY => {
                let oid = info
                    .algorithm
                    .parameters
                    .as_ref()
                    .and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
                let curve = oid
                    .and_then(curve_of)
                    .ok_or("its curve is none of P-256, P-384, P-521")?;
                let size = curve.field_bytes();
                bytes
                    .strip_prefix(&[4])
                    .and_then(|point| point.split_at_checked(size))
                    .and_then(|(x, y)| ecc::on_curve(curve, x, y))
                    .map(Self::Ecc)
                    .ok_or_else(|| "its point is not on its curve".to_owned())
            }
            other => Err(format!("its key's algorithm {other} is not known here")),
        }
    }

    /// What is too weak about it, if anything is.
    pub(crate) fn weakness(&self) -> Option<String> {
        match self {
            Self::Rsa(key) if key.len() * 8 < STRONG_RSA => {
                Some(format!("an RSA key of {} bits", key.len() * 8))
            }
            Self::Ecc(point) if point.curve().bits() < 256 => {
                Some(format!("a curve of {} bits", point.curve().bits()))
            }
            _ => None,
        }
    }

    /// What it is, in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Rsa(key) => format!("RSA {}", key.len() * 8),
            Self::Ecc(point) => format!("ECC {:?}", point.curve()),
        }
    }

    /// Checks a signature of a certificate, a list of revoked ones, or a policy, by the identifier of its algorithm.
    pub(crate) fn verify(
        &self,
        algorithm: ObjectIdentifier,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), String> {
        let Some((hash_alg, is_rsa)) = signature_hash(algorithm) else {
            return Err(format!(
                "the signature algorithm {algorithm} is not known here"
            ));
        };
        if is_rsa != matches!(self, Self::Rsa(_)) {
            return Err("the signature is of another kind than the key".to_owned());
        }
        self.verify_hash(hash_alg, message, signature)
    }

    /// Checks a signature of the kind that the key makes: PKCS #1 1.5, or ECDSA in DER.
    pub(crate) fn verify_hash(
        &self,
        hash_alg: HashAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), String> {
        let digest = hash(hash_alg, &[message]);
        match self {
            Self::Rsa(key) => rsa::pkcs1::verify(key, hash_alg, &digest, signature)
                .map_err(|error| error.to_string()),
            Self::Ecc(point) => {
                let parts =
                    EcdsaSignature::from_der(signature).map_err(|error| error.to_string())?;
                ecc::ecdsa::verify(point, &digest, parts.r.as_bytes(), parts.s.as_bytes())
                    .map_err(|error| error.to_string())
            }
        }
    }
}

/// The hash of a signature algorithm, and whether it is one of RSA; SHA-1 is among them only to be refused by its name.
pub(crate) fn signature_hash(algorithm: ObjectIdentifier) -> Option<(HashAlgorithm, bool)> {
    Some(match algorithm.to_string().as_str() {
        "1.2.840.113549.1.1.5" => (HashAlgorithm::Sha1, true),
        "1.2.840.113549.1.1.11" => (HashAlgorithm::Sha256, true),
        "1.2.840.113549.1.1.12" => (HashAlgorithm::Sha384, true),
        "1.2.840.113549.1.1.13" => (HashAlgorithm::Sha512, true),
        "1.2.840.10045.4.1" => (HashAlgorithm::Sha1, false),
        "1.2.840.10045.4.3.2" => (HashAlgorithm::Sha256, false),
        "1.2.840.10045.4.3.3" => (HashAlgorithm::Sha384, false),
        "1.2.840.10045.4.3.4" => (HashAlgorithm::Sha512, false),
        _ => return None,
    })
}

/// Checks the signature of a TPM key over a message (Part 1, annexes B and C).
pub(crate) fn verify_tpm_signature(
    public: &TpmtPublic,
    message: &[u8],
    signature: &TpmtSignature,
) -> Result<(), String> {
    let key = VerifyingKey::of_tpm(public)?;
    scheme_agrees(public, signature)?;
    let alg = hash_algorithm(signature.hash_alg());
    let digest = hash(alg, &[message]);
    let rsa_outcome = |outcome: Result<(), rsa::RsaError>| outcome.map_err(|e| e.to_string());
    let ecc_outcome = |outcome: Result<(), ecc::EccError>| outcome.map_err(|e| e.to_string());
    if let VerifyingKey::Ecc(point) = &key {
        check_width(point, signature)?;
    }
    match (&key, signature) {
        (VerifyingKey::Rsa(key), TpmtSignature::Rsassa(signature)) => {
            rsa_outcome(rsa::pkcs1::verify(key, alg, &digest, &signature.sig))
        }
        (VerifyingKey::Rsa(key), TpmtSignature::Rsapss(signature)) => {
            rsa_outcome(rsa::pss::verify(key, alg, &digest, &signature.sig))
        }
        (VerifyingKey::Ecc(point), TpmtSignature::Ecdsa(signature)) => {
            let (r, s) = (&signature.signature_r, &signature.signature_s);
            ecc_outcome(ecc::ecdsa::verify(point, &digest, r, s))
        }
        (VerifyingKey::Ecc(point), TpmtSignature::Ecschnorr(signature)) => {
            let (r, s) = (&signature.signature_r, &signature.signature_s);
            ecc_outcome(ecc::schnorr::verify(point, alg, &digest, r, s))
        }
        (VerifyingKey::Ecc(point), TpmtSignature::Sm2(signature)) => {
            let (r, s) = (&signature.signature_r, &signature.signature_s);
            ecc_outcome(ecc::sm2::verify(point, &digest, r, s))
        }
        (_, TpmtSignature::Ecdaa(_)) => {
            Err("a signature of ECDAA shows a group, not one key".to_owned())
        }
        _ => Err("the signature is of another kind than the key".to_owned()),
    }
}

/// A restricted key signs by its own scheme and by no other (Part 2, 8.3).
/// The numbers of a signature are no longer than those of the curve: zeros in front would make another signature of the same one.
fn check_width(point: &Point, signature: &TpmtSignature) -> Result<(), String> {
    let (TpmtSignature::Ecdsa(parts) | TpmtSignature::Ecschnorr(parts) | TpmtSignature::Sm2(parts)) =
        signature
    else {
        return Ok(());
    };
    let width = usize::from(point.curve().bits()).div_ceil(8);
    if parts.signature_r.len() > width || parts.signature_s.len() > width {
        return Err(format!(
            "a number of the signature has more than {width} bytes"
        ));
    }
    Ok(())
}

fn scheme_agrees(public: &TpmtPublic, signature: &TpmtSignature) -> Result<(), String> {
    let hash = signature.hash_alg();
    let agrees = match (&public.parameters, signature) {
        (TpmuPublicParms::Rsa(parameters), signature) => match (&parameters.scheme, signature) {
            (None, _) => true,
            (Some(TpmtRsaScheme::Rsassa(own)), TpmtSignature::Rsassa(_))
            | (Some(TpmtRsaScheme::Rsapss(own)), TpmtSignature::Rsapss(_)) => own.hash_alg == hash,
            _ => false,
        },
        (TpmuPublicParms::Ecc(parameters), signature) => match (&parameters.scheme, signature) {
            (None, _) => true,
            (Some(TpmtEccScheme::Ecdsa(own)), TpmtSignature::Ecdsa(_))
            | (Some(TpmtEccScheme::Sm2(own)), TpmtSignature::Sm2(_))
            | (Some(TpmtEccScheme::Ecschnorr(own)), TpmtSignature::Ecschnorr(_)) => {
                own.hash_alg == hash
            }
            (Some(TpmtEccScheme::Ecdaa(_)), TpmtSignature::Ecdaa(_)) => true,
            _ => false,
        },
        _ => false,
    };
    if agrees {
        Ok(())
    } else {
        Err("the signature is not of the scheme of the key".to_owned())
    }
}

/// The curve of this number.
const fn curve(id: TpmiEccCurve) -> Option<Curve> {
    Some(match id {
        TpmiEccCurve::NistP192 => Curve::NistP192,
        TpmiEccCurve::NistP224 => Curve::NistP224,
        TpmiEccCurve::NistP256 => Curve::NistP256,
        TpmiEccCurve::NistP384 => Curve::NistP384,
        TpmiEccCurve::NistP521 => Curve::NistP521,
        TpmiEccCurve::BnP256 => Curve::BnP256,
        TpmiEccCurve::BnP638 => Curve::BnP638,
        TpmiEccCurve::Sm2P256 => Curve::Sm2P256,
    })
}
