//! The public part of a TPM's key as X.509 has it (RFC 3279, 2.3; RFC 5480, 2).

use der::asn1::{Any, BitString, Null, ObjectIdentifier, UintRef};
use der::{Encode, Sequence};
use tpm_crypto::ecc::Curve;
use tpm_crypto::rsa::DEFAULT_EXPONENT;
use tpm_wire::object::{TpmtPublic, TpmuPublicId, TpmuPublicParms};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::Error;
use crate::algorithm::nist_curve;

/// RSA keys for nothing but OAEP, as some manufacturers certify endorsement keys (RFC 4055, 4.1).
pub(crate) const RSAES_OAEP: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
pub(crate) const RSA_ENCRYPTION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// The key of this public area as a certificate holds it.
///
/// # Errors
/// If it is no RSA key, nor an ECC key of a NIST curve from P-256 up.
pub fn subject_public_key_info(public: &TpmtPublic) -> Result<SubjectPublicKeyInfoOwned, Error> {
    match (&public.parameters, &public.unique) {
        (TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(modulus)) => {
            let exponent = match parameters.exponent {
                0 => DEFAULT_EXPONENT,
                other => other,
            };
            rsa(modulus, exponent)
        }
        (TpmuPublicParms::Ecc(parameters), TpmuPublicId::Ecc(point)) => {
            let curve =
                nist_curve(parameters.curve_id).ok_or(Error::PublicKey("a key of this curve"))?;
            ecc(curve, &point.x, &point.y)
        }
        _ => Err(Error::PublicKey("a key that is neither RSA nor ECC")),
    }
}

pub(super) fn rsa(modulus: &[u8], exponent: u32) -> Result<SubjectPublicKeyInfoOwned, Error> {
    let exponent = exponent.to_be_bytes();
    let key = RsaPublicKey {
        modulus: UintRef::new(modulus)?,
        exponent: UintRef::new(&exponent)?,
    };
    Ok(SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: RSA_ENCRYPTION,
            parameters: Some(Any::from(Null)),
        },
        subject_public_key: BitString::from_bytes(&key.to_der()?)?,
    })
}

pub(super) fn ecc(curve: Curve, x: &[u8], y: &[u8]) -> Result<SubjectPublicKeyInfoOwned, Error> {
    Ok(SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: EC_PUBLIC_KEY,
            parameters: Some(Any::from(&curve_oid(curve)?)),
        },
        subject_public_key: BitString::from_bytes(&uncompressed(curve, x, y)?)?,
    })
}

/// A point in its uncompressed form (SEC 1, 2.3.3).
pub(super) fn uncompressed(curve: Curve, x: &[u8], y: &[u8]) -> Result<Vec<u8>, Error> {
    let size = curve.field_bytes();
    let mut point = vec![4];
    for coordinate in [x, y] {
        let missing = size
            .checked_sub(coordinate.len())
            .ok_or(Error::PublicKey("a point with too long a coordinate"))?;
        point.extend(std::iter::repeat_n(0, missing));
        point.extend_from_slice(coordinate);
    }
    Ok(point)
}

pub(super) fn curve_oid(curve: Curve) -> Result<ObjectIdentifier, Error> {
    Ok(ObjectIdentifier::new_unwrap(match curve {
        Curve::NistP256 => "1.2.840.10045.3.1.7",
        Curve::NistP384 => "1.3.132.0.34",
        Curve::NistP521 => "1.3.132.0.35",
        _ => return Err(Error::PublicKey("a key of this curve")),
    }))
}

pub(crate) fn curve_of(oid: ObjectIdentifier) -> Option<Curve> {
    [Curve::NistP256, Curve::NistP384, Curve::NistP521]
        .into_iter()
        .find(|curve| curve_oid(*curve).is_ok_and(|known| known == oid))
}
