//! What must hold between the public and the sensitive area of an object that is loaded (Part 3, 12.2, 12.3 and 13.3).

use crate::algorithms::{hash, hash_algorithm, hmac, small};
use crate::keys::{curve, rsa_exponent};
use crate::object::Lineage;
use crate::object::Object;
use crate::template::{check_attributes, check_schemes};
use subtle::ConstantTimeEq;
use tpm_crypto::ecc;
use tpm_crypto::rsa;
use tpm_crypto::symmetric::tdes_key_valid;
use tpm_wire::algorithm::{TpmiAlgSymObject, TpmsEccPoint, TpmtKeyedhashScheme, TpmtSymDefObject};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{MAX_SYM_DATA, Tpm2bDigest};
use tpm_wire::object::{
    TpmsEccParms, TpmsRsaParms, TpmtPublic, TpmtSensitive, TpmuPublicId, TpmuPublicParms,
    TpmuSensitiveComposite,
};
use tpm_wire::rc::{Position, Rc};

/// Which parameters of the command the two areas came in.
#[derive(Clone, Copy)]
pub(crate) struct Blame {
    /// The public area.
    pub(crate) public: Position,
    /// The sensitive area.
    pub(crate) sensitive: Position,
}

/// Checks an object that is about to be loaded, `parent` being `None` for external and imported objects.
///
/// # Errors
/// What the checks of attributes and schemes refuse, with the number of the public area. Unless the parent is `fixedTPM`, in which
/// case this TPM protected the object and checked it then, those of [`check_keys`] too.
pub(crate) fn check_loadable(
    parent: Option<&Object>,
    public: &TpmtPublic,
    sensitive: Option<&TpmtSensitive>,
    blame: Blame,
) -> Result<(), Rc> {
    match (sensitive, public.name_alg) {
        (Some(sensitive), Some(name_alg)) => {
            if sensitive.seed_value.len() > name_alg.digest_size() {
                return Err(Rc::KEY_SIZE.at(blame.sensitive));
            }
            check_attributes(parent.map(Lineage::Child), public)
        }
        _ => check_schemes(None, public),
    }
    .map_err(|rc| rc.at(blame.public))?;
    if parent.is_none_or(|parent| !parent.public.has(TpmaObject::FIXED_TPM)) {
        check_keys(public, sensitive, blame)?;
    }
    match (&public.parameters, &public.unique, sensitive) {
        (TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(modulus), Some(sensitive)) => {
            match &sensitive.sensitive {
                TpmuSensitiveComposite::Rsa(prime)
                    if rsa::PrivateKey::from_prime(modulus, rsa_exponent(parameters), prime)
                        .is_ok() =>
                {
                    Ok(())
                }
                _ => Err(Rc::BINDING),
            }
        }
        _ => Ok(()),
    }
}

/// Checks the key itself: its size, and that public and sensitive area belong together.
///
/// # Errors
/// `TPM_RC_TYPE`, `TPM_RC_SIZE`, `TPM_RC_KEY_SIZE`, `TPM_RC_KEY`, `TPM_RC_VALUE`, `TPM_RC_ECC_POINT` with the number of the
/// area that is wrong; `TPM_RC_BINDING`, and `TPM_RC_KEY_SIZE` for a scalar out of range, without.
fn check_keys(
    public: &TpmtPublic,
    sensitive: Option<&TpmtSensitive>,
    blame: Blame,
) -> Result<(), Rc> {
    let digest_size = public.name_alg.map_or(0, |hash| hash.digest_size());
    if let Some(sensitive) = sensitive {
        if sensitive.sensitive.object_type() != public.object_type() {
            return Err(Rc::TYPE.at(blame.sensitive));
        }
        if public.name_alg.is_some() && sensitive.auth_value.len() > digest_size {
            return Err(Rc::SIZE.at(blame.sensitive));
        }
    }
    match (&public.parameters, &public.unique) {
        (TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(modulus)) => {
            check_rsa(parameters, modulus, sensitive, blame)?;
        }
        (TpmuPublicParms::Ecc(parameters), TpmuPublicId::Ecc(point)) => {
            let named = public.name_alg.is_some();
            check_ecc(parameters, point, named, sensitive, blame)?;
        }
        (_, TpmuPublicId::Sym(unique) | TpmuPublicId::KeyedHash(unique)) => match sensitive {
            None if unique.len() == digest_size => {}
            None => return Err(Rc::KEY.at(blame.public)),
            Some(sensitive) => check_symmetric(public, unique, sensitive, blame)?,
        },
        _ => return Err(Rc::TYPE.at(blame.public)),
    }
    if let Some(sensitive) = sensitive
        && public.name_alg.is_some()
        && public.has(TpmaObject::RESTRICTED | TpmaObject::DECRYPT)
        && !(digest_size / 2..=digest_size).contains(&sensitive.seed_value.len())
    {
        return Err(Rc::SIZE.at(blame.sensitive));
    }
    Ok(())
}

fn check_rsa(
    parameters: &TpmsRsaParms,
    modulus: &[u8],
    sensitive: Option<&TpmtSensitive>,
    blame: Blame,
) -> Result<(), Rc> {
    let size = usize::from(parameters.key_bits.0) / 8;
    let is_full = |number: &[u8], size| {
        number.len() == size && number.first().is_some_and(|top| *top >= 0x80)
    };
    if !is_full(modulus, size) {
        return Err(Rc::KEY.at(blame.public));
    }
    if parameters.exponent != 0 && parameters.exponent < 7 {
        return Err(Rc::VALUE.at(blame.public));
    }
    if let Some(TpmuSensitiveComposite::Rsa(prime)) = sensitive.map(|area| &area.sensitive)
        && !is_full(prime, size / 2)
    {
        return Err(Rc::KEY_SIZE.at(blame.sensitive));
    }
    Ok(())
}

fn check_ecc(
    parameters: &TpmsEccParms,
    point: &TpmsEccPoint,
    named: bool,
    sensitive: Option<&TpmtSensitive>,
    blame: Blame,
) -> Result<(), Rc> {
    let curve = curve(parameters.curve_id);
    match sensitive.map(|area| &area.sensitive) {
        Some(TpmuSensitiveComposite::Ecc(scalar)) => {
            let key = ecc::PrivateKey::new(curve, scalar).ok_or(Rc::KEY_SIZE)?;
            if named {
                let expected = key.public();
                if !same_number(expected.x(), &point.x) || !same_number(expected.y(), &point.y) {
                    return Err(Rc::BINDING);
                }
            }
        }
        _ => {
            let size = curve.field_bytes();
            if point.x.len() != size || point.y.len() != size {
                return Err(Rc::KEY.at(blame.public));
            }
            if named && ecc::on_curve(curve, &point.x, &point.y).is_none() {
                return Err(Rc::ECC_POINT.at(blame.public));
            }
        }
    }
    Ok(())
}

/// Whether two big-endian numbers are equal, leading zeros aside.
fn same_number(a: &[u8], b: &[u8]) -> bool {
    let significant = |number: &[u8]| number.iter().take_while(|byte| **byte == 0).count();
    a.get(significant(a)..) == b.get(significant(b)..)
}

fn check_symmetric(
    public: &TpmtPublic,
    unique: &Tpm2bDigest,
    sensitive: &TpmtSensitive,
    blame: Blame,
) -> Result<(), Rc> {
    match (&public.parameters, &sensitive.sensitive) {
        (TpmuPublicParms::SymCipher(cipher), TpmuSensitiveComposite::Sym(key)) => {
            check_cipher_key(cipher, key).map_err(|rc| rc.at(blame.sensitive))?;
        }
        (TpmuPublicParms::KeyedHash(scheme), TpmuSensitiveComposite::Bits(bits)) => {
            if bits.len() > largest_keyed_hash(scheme.as_ref()) {
                return Err(Rc::KEY_SIZE.at(blame.sensitive));
            }
        }
        _ => return Err(Rc::TYPE.at(blame.sensitive)),
    }
    if let Some(name_alg) = public.name_alg {
        if sensitive.seed_value.len() != name_alg.digest_size() {
            return Err(Rc::KEY_SIZE.at(blame.sensitive));
        }
        let expected = symmetric_unique(public, sensitive);
        if !bool::from(expected.ct_eq(unique)) {
            return Err(Rc::BINDING);
        }
    }
    Ok(())
}

/// Checks the key of a block cipher.
///
/// # Errors
/// `TPM_RC_KEY_SIZE`; `TPM_RC_KEY` for a weak triple DES key.
pub(crate) fn check_cipher_key(cipher: &TpmtSymDefObject, key: &[u8]) -> Result<(), Rc> {
    if key.len() != usize::from(cipher.key_bits) / 8 {
        return Err(Rc::KEY_SIZE);
    }
    if cipher.algorithm == TpmiAlgSymObject::Tdes && !tdes_key_valid(key) {
        return Err(Rc::KEY);
    }
    Ok(())
}

/// The most bytes of a keyed hash object: one block for a key, since a longer one would be hashed first.
pub(crate) const fn largest_keyed_hash(scheme: Option<&TpmtKeyedhashScheme>) -> usize {
    match scheme {
        None => MAX_SYM_DATA,
        Some(TpmtKeyedhashScheme::Hmac(hmac)) => hash_algorithm(hmac.hash_alg).block_size(),
        Some(TpmtKeyedhashScheme::Xor(xor)) => hash_algorithm(xor.hash_alg).block_size(),
    }
}

/// What makes a symmetric object unique: seed and secret, hashed (Part 1, 27.5.3).
pub(crate) fn symmetric_unique(public: &TpmtPublic, sensitive: &TpmtSensitive) -> Tpm2bDigest {
    let Some(name_alg) = public.name_alg else {
        return Tpm2bDigest::EMPTY;
    };
    let secret: &[u8] = match &sensitive.sensitive {
        TpmuSensitiveComposite::Bits(bits) => bits,
        TpmuSensitiveComposite::Sym(key) => key,
        TpmuSensitiveComposite::Rsa(_) | TpmuSensitiveComposite::Ecc(_) => &[],
    };
    // A parent's seed is a key in its own right, so it goes into an HMAC instead of a hash.
    if public.has(TpmaObject::RESTRICTED | TpmaObject::DECRYPT) {
        small(&hmac(name_alg, &sensitive.seed_value, &[secret]))
    } else {
        small(&hash(name_alg, &[&sensitive.seed_value, secret]))
    }
}
