//! From public and sensitive areas to the keys of `tpm-crypto`, and back.

use crate::algorithms::small;
use crate::object::Object;
use crate::platform::Platform;
use tpm_crypto::ecc::{self, Curve, Point};
use tpm_crypto::rsa;
use tpm_wire::algorithm::{TpmiEccCurve, TpmsEccPoint, TpmtSymDefObject};
use tpm_wire::object::{
    TpmsEccParms, TpmsRsaParms, TpmtPublic, TpmuPublicId, TpmuPublicParms, TpmuSensitiveComposite,
};
use tpm_wire::rc::Rc;

/// The public exponent that a zero in the parameters means.
const DEFAULT_EXPONENT: u32 = 65537;

/// The public exponent of RSA parameters.
pub(crate) const fn rsa_exponent(parameters: &TpmsRsaParms) -> u32 {
    if parameters.exponent == 0 {
        DEFAULT_EXPONENT
    } else {
        parameters.exponent
    }
}

/// The RSA key of a public area.
///
/// # Errors
/// `TPM_RC_KEY` if it is no RSA key, or none that can be used.
pub(crate) fn rsa_public(public: &TpmtPublic) -> Result<rsa::PublicKey, Rc> {
    let (TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(modulus)) =
        (&public.parameters, &public.unique)
    else {
        return Err(Rc::KEY);
    };
    rsa::PublicKey::new(modulus, rsa_exponent(parameters)).map_err(|_| Rc::KEY)
}

/// The RSA key of an object with its sensitive area, on the platform's engine. The object keeps it, so that only the first call
/// computes it.
///
/// # Errors
/// `TPM_RC_KEY` if it is no RSA key, or only its public area is loaded.
pub(crate) fn rsa_private(object: &Object, platform: &dyn Platform) -> Result<rsa::PrivateKey, Rc> {
    let key = object.rsa.get_or_make(|| make_rsa_private(object))?;
    Ok(key.clone().with_engine(platform.rsa_engine()))
}

fn make_rsa_private(object: &Object) -> Result<rsa::PrivateKey, Rc> {
    let sensitive = object.sensitive.as_ref().ok_or(Rc::KEY)?;
    let (
        TpmuPublicParms::Rsa(parameters),
        TpmuPublicId::Rsa(modulus),
        TpmuSensitiveComposite::Rsa(prime),
    ) = (
        &object.public.parameters,
        &object.public.unique,
        &sensitive.sensitive,
    )
    else {
        return Err(Rc::KEY);
    };
    rsa::PrivateKey::from_prime(modulus, rsa_exponent(parameters), prime)
        .and_then(rsa::PrivateKey::prepared)
        .map_err(|_| Rc::KEY)
}

/// The curve that an identifier names.
pub(crate) const fn curve(id: TpmiEccCurve) -> Curve {
    match id {
        TpmiEccCurve::NistP192 => Curve::NistP192,
        TpmiEccCurve::NistP224 => Curve::NistP224,
        TpmiEccCurve::NistP256 => Curve::NistP256,
        TpmiEccCurve::NistP384 => Curve::NistP384,
        TpmiEccCurve::NistP521 => Curve::NistP521,
        TpmiEccCurve::BnP256 => Curve::BnP256,
        TpmiEccCurve::BnP638 => Curve::BnP638,
        TpmiEccCurve::Sm2P256 => Curve::Sm2P256,
    }
}

/// The parameters of an ECC key.
///
/// # Errors
/// `TPM_RC_KEY` if it is no ECC key.
pub(crate) const fn ecc_parameters(public: &TpmtPublic) -> Result<&TpmsEccParms, Rc> {
    match &public.parameters {
        TpmuPublicParms::Ecc(parameters) => Ok(parameters),
        _ => Err(Rc::KEY),
    }
}

/// A point that a command gives, checked to be on the curve.
///
/// # Errors
/// `TPM_RC_ECC_POINT`.
pub(crate) fn ecc_point(curve: Curve, point: &TpmsEccPoint) -> Result<Point, Rc> {
    ecc::on_curve(curve, &point.x, &point.y).ok_or(Rc::ECC_POINT)
}

/// The public point of an ECC key.
///
/// # Errors
/// `TPM_RC_KEY` if it is no ECC key, `TPM_RC_ECC_POINT` if the point is not on the curve.
pub(crate) fn ecc_public(public: &TpmtPublic) -> Result<Point, Rc> {
    let parameters = ecc_parameters(public)?;
    match &public.unique {
        TpmuPublicId::Ecc(point) => ecc_point(curve(parameters.curve_id), point),
        _ => Err(Rc::KEY),
    }
}

/// The private scalar of an ECC key.
///
/// # Errors
/// `TPM_RC_KEY` if it is no ECC key, or only its public area is loaded.
pub(crate) fn ecc_private(object: &Object) -> Result<ecc::PrivateKey, Rc> {
    let parameters = ecc_parameters(&object.public)?;
    match object
        .sensitive
        .as_ref()
        .map(|sensitive| &sensitive.sensitive)
    {
        Some(TpmuSensitiveComposite::Ecc(scalar)) => {
            ecc::PrivateKey::new(curve(parameters.curve_id), scalar).ok_or(Rc::KEY)
        }
        _ => Err(Rc::KEY),
    }
}

/// A point as a response gives it: both coordinates as long as the field.
pub(crate) fn wire_point(point: &Point) -> TpmsEccPoint {
    TpmsEccPoint {
        x: small(point.x()),
        y: small(point.y()),
    }
}

/// How the object encrypts what it protects: the symmetric algorithm of a storage key, or the cipher of a symmetric one.
pub(crate) const fn symmetric(public: &TpmtPublic) -> Option<TpmtSymDefObject> {
    match &public.parameters {
        TpmuPublicParms::Rsa(parameters) => parameters.symmetric,
        TpmuPublicParms::Ecc(parameters) => parameters.symmetric,
        TpmuPublicParms::SymCipher(symmetric) => Some(*symmetric),
        TpmuPublicParms::KeyedHash(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{rsa_private, rsa_public};
    use crate::commands::object::build;
    use crate::object::{Lineage, Object};
    use crate::testing::ScriptedPlatform;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    #[test]
    fn the_rsa_key_of_an_object_is_computed_once_and_is_no_part_of_it() {
        let public = build::rsa_public(TpmaObject::SIGN);
        let sensitive = Some(build::rsa_sensitive());
        let lineage = Lineage::External(TpmHandle::NULL);
        let object = Object::new(public, sensitive, lineage);
        let fresh = object.clone();
        let modulus = rsa_public(&object.public).unwrap();
        for _ in 0..2 {
            let private = rsa_private(&object, &ScriptedPlatform::default()).unwrap();
            assert_eq!(*private.public(), modulus);
        }
        let asked_again = object.rsa.get_or_make(|| Err(Rc::FAILURE));
        assert_eq!(*asked_again.unwrap().public(), modulus);
        assert_eq!(object, fresh);
        assert!(object.clone().rsa.get_or_make(|| Err(Rc::FAILURE)).is_err());
    }

    #[test]
    fn a_public_area_alone_has_no_private_key() {
        let public = build::rsa_public(TpmaObject::SIGN);
        let object = Object::new(public, None, Lineage::External(TpmHandle::NULL));
        let refused = rsa_private(&object, &ScriptedPlatform::default()).err();
        assert_eq!(refused, Some(Rc::KEY));
    }
}
