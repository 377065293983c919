//! Algorithms of the wire as the cryptography knows them.

use tpm_crypto::ecc::Curve;
use tpm_crypto::hash::HashAlgorithm;
use tpm_wire::algorithm::{TpmiAlgHash, TpmiEccCurve};

/// The hash of this number.
pub(crate) const fn hash_algorithm(alg: TpmiAlgHash) -> HashAlgorithm {
    match alg {
        TpmiAlgHash::Sha1 => HashAlgorithm::Sha1,
        TpmiAlgHash::Sha256 => HashAlgorithm::Sha256,
        TpmiAlgHash::Sha384 => HashAlgorithm::Sha384,
        TpmiAlgHash::Sha512 => HashAlgorithm::Sha512,
        TpmiAlgHash::Sm3_256 => HashAlgorithm::Sm3_256,
        TpmiAlgHash::Sha3_256 => HashAlgorithm::Sha3_256,
        TpmiAlgHash::Sha3_384 => HashAlgorithm::Sha3_384,
        TpmiAlgHash::Sha3_512 => HashAlgorithm::Sha3_512,
    }
}

/// The curve of this number, if keys of it can be certified.
pub(crate) const fn nist_curve(curve: TpmiEccCurve) -> Option<Curve> {
    match curve {
        TpmiEccCurve::NistP256 => Some(Curve::NistP256),
        TpmiEccCurve::NistP384 => Some(Curve::NistP384),
        TpmiEccCurve::NistP521 => Some(Curve::NistP521),
        _ => None,
    }
}
