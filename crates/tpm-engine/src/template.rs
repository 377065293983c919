//! What the public area of an object may say (Part 1, 27.2; Part 3, 12.1 and 12.3).

use crate::keys::symmetric;
use crate::object::{Lineage, Object};
use tpm_wire::algorithm::{
    TpmiAlgKdf, TpmiAlgSymMode, TpmtEccScheme, TpmtKeyedhashScheme, TpmtRsaScheme,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{TpmtPublic, TpmuPublicParms};
use tpm_wire::rc::Rc;

/// Checks the template of an object to create; `has_data` if the caller gave the sensitive data.
///
/// # Errors
/// `TPM_RC_ATTRIBUTES` if the source of the sensitive data does not fit the type, and what [`check_attributes`] refuses.
pub(crate) fn check_creation(
    lineage: Lineage<'_>,
    public: &TpmtPublic,
    has_data: bool,
) -> Result<(), Rc> {
    let tpm_makes_data = public.has(TpmaObject::SENSITIVE_DATA_ORIGIN);
    if !tpm_makes_data && !has_data {
        return Err(Rc::ATTRIBUTES);
    }
    // What is given with a primary object stirs its derivation, whoever makes the data.
    if matches!(lineage, Lineage::Child(_)) && tpm_makes_data && has_data {
        return Err(Rc::ATTRIBUTES);
    }
    let attributes = public.object_attributes;
    let is_stuck = attributes.intersects(TpmaObject::FIXED_PARENT | TpmaObject::FIXED_TPM);
    let given_parent = public.has(TpmaObject::RESTRICTED) && !tpm_makes_data && is_stuck;
    let refused = match &public.parameters {
        TpmuPublicParms::KeyedHash(_) => {
            let is_data = !attributes.intersects(TpmaObject::SIGN | TpmaObject::DECRYPT);
            is_data && tpm_makes_data || given_parent
        }
        TpmuPublicParms::SymCipher(_) => given_parent,
        TpmuPublicParms::Rsa(_) | TpmuPublicParms::Ecc(_) => !tpm_makes_data,
    };
    if refused {
        return Err(Rc::ATTRIBUTES);
    }
    check_attributes(Some(lineage), public)
}

/// Checks the attributes of an object that has or gets a sensitive area; without a lineage those of an external object.
///
/// # Errors
/// `TPM_RC_HASH` without a Name algorithm, `TPM_RC_SIZE` for a policy of the wrong size, `TPM_RC_ATTRIBUTES` for attributes
/// that contradict each other or the parent, and what [`check_schemes`] refuses.
pub(crate) fn check_attributes(
    lineage: Option<Lineage<'_>>,
    public: &TpmtPublic,
) -> Result<(), Rc> {
    let parent = match lineage {
        Some(Lineage::Child(parent)) => Some(parent),
        _ => None,
    };
    let name_alg = public.name_alg.ok_or(Rc::HASH)?;
    if !public.auth_policy.is_empty() && public.auth_policy.len() != name_alg.digest_size() {
        return Err(Rc::SIZE);
    }
    let is = |attribute| public.has(attribute);
    let parent_is = |attribute| parent.is_some_and(|parent| parent.public.has(attribute));
    // Seeds count as parents that never leave the TPM.
    let parent_is_fixed = parent.is_none() || parent_is(TpmaObject::FIXED_TPM);
    let consistent = if parent_is_fixed {
        is(TpmaObject::FIXED_PARENT) == is(TpmaObject::FIXED_TPM)
    } else {
        !is(TpmaObject::FIXED_TPM)
    };
    if !consistent {
        return Err(Rc::ATTRIBUTES);
    }
    if is(TpmaObject::SIGN) == is(TpmaObject::DECRYPT) {
        let is_data = matches!(public.parameters, TpmuPublicParms::KeyedHash(_));
        if is(TpmaObject::RESTRICTED) || !is_data && !is(TpmaObject::SIGN) {
            return Err(Rc::ATTRIBUTES);
        }
    }
    if is(TpmaObject::ENCRYPTED_DUPLICATION) && is(TpmaObject::FIXED_TPM) {
        return Err(Rc::ATTRIBUTES);
    }
    if !parent_is_fixed
        && is(TpmaObject::ENCRYPTED_DUPLICATION) != parent_is(TpmaObject::ENCRYPTED_DUPLICATION)
    {
        return Err(Rc::ATTRIBUTES);
    }
    check_limits(lineage, public)?;
    if parent.is_some_and(Object::is_derivation_parent)
        && (is(TpmaObject::FIXED_TPM) != parent_is(TpmaObject::FIXED_TPM)
            || !is(TpmaObject::FIXED_PARENT))
    {
        return Err(Rc::ATTRIBUTES);
    }
    check_schemes(parent, public)
}

/// Limits to firmware or security version need a parent or a hierarchy that is limited likewise.
fn check_limits(lineage: Option<Lineage<'_>>, public: &TpmtPublic) -> Result<(), Rc> {
    let is_limited = |limit| match lineage {
        Some(Lineage::Child(parent)) => parent.public.has(limit),
        Some(Lineage::Primary(hierarchy)) if limit == TpmaObject::FIRMWARE_LIMITED => {
            is_firmware_limited(hierarchy)
        }
        Some(Lineage::Primary(hierarchy)) => is_svn_limited(hierarchy),
        Some(Lineage::External(_)) | None => false,
    };
    for limit in [TpmaObject::FIRMWARE_LIMITED, TpmaObject::SVN_LIMITED] {
        if public.has(limit) && !(public.has(TpmaObject::FIXED_TPM) && is_limited(limit)) {
            return Err(Rc::ATTRIBUTES);
        }
    }
    Ok(())
}

const fn is_firmware_limited(hierarchy: TpmHandle) -> bool {
    hierarchy.0 >= TpmHandle::FW_OWNER.0 && hierarchy.0 <= TpmHandle::FW_NULL.0
}

const fn is_svn_limited(hierarchy: TpmHandle) -> bool {
    hierarchy.0 >= TpmHandle::SVN_OWNER_BASE.0 && hierarchy.0 <= TpmHandle::SVN_NULL_BASE.0 | 0xFFFF
}

/// Checks that schemes and symmetric algorithms fit the attributes, and those of the parent for a storage key.
///
/// # Errors
/// `TPM_RC_SCHEME`, `TPM_RC_SYMMETRIC`, `TPM_RC_KDF`, or `TPM_RC_HASH` for a storage key that differs from its parent.
pub(crate) fn check_schemes(parent: Option<&Object>, public: &TpmtPublic) -> Result<(), Rc> {
    match &public.parameters {
        TpmuPublicParms::SymCipher(cipher) => {
            if public.has(TpmaObject::DECRYPT) && cipher.mode == Some(TpmiAlgSymMode::Cmac) {
                return Err(Rc::SCHEME);
            }
        }
        TpmuPublicParms::KeyedHash(scheme) => return check_keyed_hash(public, scheme.as_ref()),
        TpmuPublicParms::Rsa(parameters) => {
            let kind = parameters.scheme.as_ref().map(|scheme| match scheme {
                TpmtRsaScheme::Rsassa(_) | TpmtRsaScheme::Rsapss(_) => Kind::Sign,
                TpmtRsaScheme::Rsaes(_) | TpmtRsaScheme::Oaep(_) => Kind::Decrypt,
            });
            check_asymmetric(public, kind)?;
        }
        TpmuPublicParms::Ecc(parameters) => {
            let kind = parameters.scheme.as_ref().map(|scheme| match scheme {
                TpmtEccScheme::Ecdsa(_) | TpmtEccScheme::Ecdaa(_) | TpmtEccScheme::Ecschnorr(_) => {
                    Kind::Sign
                }
                TpmtEccScheme::Ecdh(_) | TpmtEccScheme::Ecmqv(_) => Kind::Decrypt,
                TpmtEccScheme::Sm2(_) => Kind::Both,
            });
            check_asymmetric(public, kind)?;
            if parameters.kdf.is_some() {
                return Err(Rc::KDF);
            }
        }
    }
    if public.has(TpmaObject::RESTRICTED | TpmaObject::DECRYPT) {
        let own = symmetric(public).ok_or(Rc::SYMMETRIC)?;
        if let Some(parent) = parent.filter(|_| public.has(TpmaObject::FIXED_PARENT)) {
            if public.name_alg != parent.public.name_alg {
                return Err(Rc::HASH);
            }
            if symmetric(&parent.public) != Some(own) {
                return Err(Rc::SYMMETRIC);
            }
        }
    }
    Ok(())
}

/// What a scheme of an asymmetric key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sign,
    Decrypt,
    Both,
}

fn check_asymmetric(public: &TpmtPublic, scheme: Option<Kind>) -> Result<(), Rc> {
    let restricted = public.has(TpmaObject::RESTRICTED);
    let (sign, decrypt) = (
        public.has(TpmaObject::SIGN),
        public.has(TpmaObject::DECRYPT),
    );
    let fits = match (sign, decrypt) {
        // There is no way to name a scheme for both.
        (true, true) | (false, false) => scheme.is_none(),
        (true, false) => match scheme {
            Some(kind) => kind != Kind::Decrypt,
            None => !restricted,
        },
        (false, true) => match scheme {
            Some(kind) => !restricted && kind != Kind::Sign,
            None => true,
        },
    };
    if !fits {
        return Err(Rc::SCHEME);
    }
    if !(restricted && decrypt) && symmetric(public).is_some() {
        return Err(Rc::SYMMETRIC);
    }
    Ok(())
}

fn check_keyed_hash(public: &TpmtPublic, scheme: Option<&TpmtKeyedhashScheme>) -> Result<(), Rc> {
    let fits = match (
        public.has(TpmaObject::SIGN),
        public.has(TpmaObject::DECRYPT),
    ) {
        (true, true) | (false, false) => scheme.is_none(),
        (true, false) => matches!(scheme, Some(TpmtKeyedhashScheme::Hmac(_))),
        (false, true) => match scheme {
            // A derivation parent derives by KDFa and by nothing else.
            Some(TpmtKeyedhashScheme::Xor(xor)) => {
                !public.has(TpmaObject::RESTRICTED) || xor.kdf == Some(TpmiAlgKdf::Kdf1Sp800108)
            }
            _ => false,
        },
    };
    if fits { Ok(()) } else { Err(Rc::SCHEME) }
}

#[cfg(test)]
mod tests;
