//! Asymmetric primitives (Part 3, 14).

mod ecc_decrypt;
mod ecc_encrypt;
mod ecc_parameters;
mod ecdh_key_gen;
mod ecdh_zgen;
mod rsa_decrypt;
mod rsa_encrypt;
mod zgen_2phase;

use crate::algorithms::hash_algorithm;
use crate::object::Object;
use tpm_crypto::hash::HashAlgorithm;
use tpm_wire::algorithm::{
    TpmsEccPoint, TpmtEccScheme, TpmtKdfScheme, TpmtRsaDecrypt, TpmtRsaScheme,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::Tpm2bEccParameter;
use tpm_wire::constants::TpmAlgId;
use tpm_wire::object::{TpmsEccParms, TpmsRsaParms, TpmuPublicParms};
use tpm_wire::rc::{Position, Rc};

/// How RSA hides a message.
enum Padding {
    /// Not at all: the message is the number.
    Raw,
    Rsaes,
    Oaep(HashAlgorithm),
}

impl Padding {
    /// The algorithm to test before it is used.
    const fn algorithm(&self) -> TpmAlgId {
        match self {
            Self::Raw => TpmAlgId::RSA,
            Self::Rsaes => TpmAlgId::RSAES,
            Self::Oaep(_) => TpmAlgId::OAEP,
        }
    }
}

/// The padding to use: that of the key, or the one given, or the one given if both agree (Part 3, 14.2).
///
/// # Errors
/// `TPM_RC_SCHEME`, at the position if key and caller disagree.
fn padding(
    parameters: &TpmsRsaParms,
    given: Option<TpmtRsaDecrypt>,
    position: Position,
) -> Result<Padding, Rc> {
    let given = given.map(|given| match given {
        TpmtRsaDecrypt::Rsaes(empty) => TpmtRsaScheme::Rsaes(empty),
        TpmtRsaDecrypt::Oaep(scheme) => TpmtRsaScheme::Oaep(scheme),
    });
    let chosen = match (&parameters.scheme, given) {
        (None, given) => given,
        (Some(own), None) => Some(own.clone()),
        (Some(own), Some(given)) if *own == given => Some(given),
        (Some(_), Some(_)) => return Err(Rc::SCHEME.at(position)),
    };
    match chosen {
        None => Ok(Padding::Raw),
        Some(TpmtRsaScheme::Rsaes(_)) => Ok(Padding::Rsaes),
        Some(TpmtRsaScheme::Oaep(scheme)) => Ok(Padding::Oaep(hash_algorithm(scheme.hash_alg))),
        Some(TpmtRsaScheme::Rsassa(_) | TpmtRsaScheme::Rsapss(_)) => Err(Rc::SCHEME),
    }
}

/// Whether a label is empty or ends with a zero octet, as labels of the TPM do (Part 1, B.4).
fn is_label(label: &[u8]) -> bool {
    label.last().is_none_or(|last| *last == 0)
}

/// The parameters of an RSA key; `None` for what is none.
fn rsa_parameters(key: Option<&Object>) -> Option<(&Object, &TpmsRsaParms)> {
    let key = key?;
    match &key.public.parameters {
        TpmuPublicParms::Rsa(parameters) => Some((key, parameters)),
        _ => None,
    }
}

/// The parameters of an ECC key; `None` for what is none.
fn ecc_parameters(key: Option<&Object>) -> Option<(&Object, &TpmsEccParms)> {
    let key = key?;
    match &key.public.parameters {
        TpmuPublicParms::Ecc(parameters) => Some((key, parameters)),
        _ => None,
    }
}

/// Whether a key may decrypt, or agree on secrets, as its user wishes.
fn decrypts_freely(key: &Object) -> bool {
    key.public.has(TpmaObject::DECRYPT)
        && !key
            .public
            .object_attributes
            .intersects(TpmaObject::RESTRICTED)
}

/// The hash of the KDF that an ECC key encrypts with: only KDF2 hides a text (Part 3, 14.8).
///
/// # Errors
/// `TPM_RC_SCHEME`, at the position if key and caller disagree or neither names a KDF.
fn kdf2_hash(
    parameters: &TpmsEccParms,
    given: Option<TpmtKdfScheme>,
    position: Position,
) -> Result<HashAlgorithm, Rc> {
    let chosen = match (&parameters.kdf, given) {
        (None, Some(given)) => given,
        (Some(own), None) => own.clone(),
        (Some(own), Some(given)) if *own == given => given,
        _ => return Err(Rc::SCHEME.at(position)),
    };
    match chosen {
        TpmtKdfScheme::Kdf2(scheme) => Ok(hash_algorithm(scheme.hash_alg)),
        _ => Err(Rc::SCHEME),
    }
}

/// Whether a key exchange may use the key: its scheme is this one, or open.
fn exchanges_by(parameters: &TpmsEccParms, wanted: TpmAlgId) -> bool {
    parameters
        .scheme
        .as_ref()
        .is_none_or(|own: &TpmtEccScheme| own.algorithm() == wanted)
}

/// A point that is not there.
const NO_POINT: TpmsEccPoint = TpmsEccPoint {
    x: Tpm2bEccParameter::EMPTY,
    y: Tpm2bEccParameter::EMPTY,
};
