//! Symmetric primitives (Part 3, 15).

#[cfg(test)]
pub(crate) mod build;
mod encrypt_decrypt;
mod encrypt_decrypt2;
mod hash;
mod mac;

use crate::algorithms::{block_cipher, cipher_mode, hash_algorithm};
use crate::object::Object;
use crate::signature::hmac_key;
use crate::state::Tpm;
use tpm_crypto::hash::{Cmac, Digest, Hmac};
use tpm_crypto::symmetric::{self, SymmetricError};
use tpm_wire::algorithm::{
    TpmiAlgCipherMode, TpmiAlgHash, TpmiAlgMacScheme, TpmiAlgSymMode, TpmtKeyedhashScheme,
    TpmtSymDefObject,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2bIv, Tpm2bMaxBuffer};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{TpmuPublicParms, TpmuSensitiveComposite};
use tpm_wire::rc::{Position, Rc};

/// Where the parameters of the two commands that encrypt stand; they differ in their order alone.
struct Places {
    key_handle: Position,
    mode: Position,
    iv: Position,
    data: Position,
}

/// Encrypts or decrypts the data in place; the IV becomes the one with which the next piece goes on.
///
/// # Errors
/// Those of Part 3, 15.2.
fn crypt(
    tpm: &Tpm,
    key_handle: TpmHandle,
    decrypt: bool,
    given: Option<TpmiAlgCipherMode>,
    iv: &mut Tpm2bIv,
    data: &mut Tpm2bMaxBuffer,
    places: &Places,
) -> Result<(), Rc> {
    let no_key = Rc::KEY.at(places.key_handle);
    let key = tpm.objects.find(key_handle).ok_or(no_key)?;
    let TpmuPublicParms::SymCipher(cipher) = &key.public.parameters else {
        return Err(no_key);
    };
    let attributes = key.public.object_attributes;
    let needed = if decrypt {
        TpmaObject::DECRYPT
    } else {
        TpmaObject::ENCRYPT
    };
    if attributes.contains(TpmaObject::RESTRICTED) || !attributes.contains(needed) {
        return Err(Rc::ATTRIBUTES.at(places.key_handle));
    }
    let mode = match (cipher.mode.map(cipher_mode), given.map(wire_mode)) {
        (Some(None), _) => return Err(Rc::MODE.at(places.key_handle)),
        (Some(Some(own)), None) => own,
        (Some(own), Some(given)) if own != given => return Err(Rc::MODE.at(places.mode)),
        (_, Some(Some(given))) => given,
        (None, _) | (_, Some(None)) => return Err(Rc::MODE.at(places.mode)),
    };
    let block_cipher = block_cipher(cipher.algorithm);
    if iv.len() != mode.iv_size(block_cipher) {
        return Err(Rc::SIZE.at(places.iv));
    }
    let secret = cipher_key(key, cipher).ok_or(no_key)?;
    let run = if decrypt {
        symmetric::decrypt
    } else {
        symmetric::encrypt
    };
    run(
        block_cipher,
        mode,
        secret,
        iv.as_mut_slice(),
        data.as_mut_slice(),
    )
    .map_err(|error| match error {
        SymmetricError::KeySize => no_key,
        SymmetricError::IvSize => Rc::SIZE.at(places.iv),
        SymmetricError::DataSize => Rc::SIZE.at(places.data),
    })
}

fn wire_mode(mode: TpmiAlgCipherMode) -> Option<symmetric::Mode> {
    TpmiAlgSymMode::from_id(mode.id()).and_then(cipher_mode)
}

/// The key of a symmetric cipher object.
fn cipher_key<'a>(key: &'a Object, cipher: &TpmtSymDefObject) -> Option<&'a [u8]> {
    match &key.sensitive.as_ref()?.sensitive {
        TpmuSensitiveComposite::Sym(secret) if secret.len() * 8 == usize::from(cipher.key_bits) => {
            Some(secret)
        }
        _ => None,
    }
}

/// A message authentication code under way.
pub(super) enum MacState {
    Hmac(TpmiAlgHash, Hmac),
    Cmac(Cmac),
}

impl MacState {
    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Hmac(_, hmac) => hmac.update(data),
            Self::Cmac(cmac) => cmac.update(data),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Hmac(_, hmac) => hmac.finish(),
            Self::Cmac(cmac) => cmac.finish(),
        }
    }
}

/// Starts the MAC that key and caller agree on (Part 3, 15.6).
///
/// # Errors
/// `TPM_RC_TYPE`, `TPM_RC_ATTRIBUTES` or `TPM_RC_KEY` for the key; `TPM_RC_VALUE` or `TPM_RC_SCHEME` for the scheme.
pub(super) fn start_mac(
    tpm: &Tpm,
    handle: TpmHandle,
    given: Option<TpmiAlgMacScheme>,
    handle_position: Position,
    scheme_position: Position,
) -> Result<MacState, Rc> {
    let no_mac = Rc::TYPE.at(handle_position);
    let key = tpm.objects.find(handle).ok_or(no_mac)?;
    let own = match &key.public.parameters {
        TpmuPublicParms::KeyedHash(scheme) => scheme.as_ref().map(|scheme| match scheme {
            TpmtKeyedhashScheme::Hmac(scheme) => scheme.hash_alg.id(),
            TpmtKeyedhashScheme::Xor(scheme) => scheme.hash_alg.id(),
        }),
        TpmuPublicParms::SymCipher(cipher) => cipher.mode.map(TpmiAlgSymMode::id),
        _ => return Err(no_mac),
    };
    let chosen = match (own, given.map(TpmiAlgMacScheme::id)) {
        (None, Some(given)) => given,
        (Some(own), None) => own,
        (Some(own), Some(given)) if own == given => given,
        _ => return Err(Rc::VALUE.at(scheme_position)),
    };
    let no_scheme = Rc::SCHEME.at(scheme_position);
    let hash = match &key.public.parameters {
        TpmuPublicParms::KeyedHash(_) => Some(TpmiAlgHash::from_id(chosen).ok_or(no_scheme)?),
        _ if chosen == TpmAlgId::CMAC => None,
        _ => return Err(no_scheme),
    };
    let attributes = key.public.object_attributes;
    if attributes.contains(TpmaObject::RESTRICTED) {
        return Err(Rc::ATTRIBUTES.at(handle_position));
    }
    let no_key = Rc::KEY.at(handle_position);
    if !attributes.contains(TpmaObject::SIGN) {
        return Err(no_key);
    }
    match (hash, &key.public.parameters) {
        (Some(hash), _) => {
            let secret = hmac_key(key).map_err(|_| no_key)?;
            Ok(MacState::Hmac(
                hash,
                Hmac::new(hash_algorithm(hash), secret),
            ))
        }
        (None, TpmuPublicParms::SymCipher(cipher)) => {
            let secret = cipher_key(key, cipher).ok_or(no_key)?;
            Cmac::new(block_cipher(cipher.algorithm), secret)
                .map(MacState::Cmac)
                .map_err(|_| no_key)
        }
        (None, _) => Err(no_key),
    }
}
