//! Sending a secret to an asymmetric key: RSA-OAEP, or ECDH with a one-time key (Part 1, B.10 and C.6).

use crate::algorithms::{hash_algorithm, small};
use crate::keys::{
    curve, ecc_parameters, ecc_point, ecc_private, ecc_public, rsa_private, rsa_public, wire_point,
};
use crate::object::Object;
use crate::state::Tpm;
use alloc::vec::Vec;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::ecc::{self, EccError};
use tpm_crypto::kdf::kdfe;
use tpm_crypto::rsa::{PrivateKey, RsaError, oaep};
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgPublic, TpmsEccPoint, TpmtRsaScheme};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2bEncryptedSecret, Tpm2bSeed};
use tpm_wire::codec::{Input, Limits, Marshal, Parse, response_code};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{TpmtPublic, TpmuPublicId, TpmuPublicParms};
use tpm_wire::rc::Rc;
use zeroize::{Zeroize, Zeroizing};

/// What a seed that protects a credential is sent for.
pub(crate) const IDENTITY: &[u8] = b"IDENTITY";
/// What a seed that protects a duplicate is sent for.
pub(crate) const DUPLICATE: &[u8] = b"DUPLICATE";
/// What the salt of a session is sent for.
pub(crate) const SECRET: &[u8] = b"SECRET";

impl Tpm {
    /// The secret that was sent to a key.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` for a key that is not asymmetric; for RSA `TPM_RC_SCHEME`, `TPM_RC_SIZE` and `TPM_RC_VALUE`; for ECC `TPM_RC_ECC_POINT`,
    /// `TPM_RC_NO_RESULT` and what the parser of a point refuses; `TPM_RC_KEY` without a sensitive area.
    pub(crate) fn decrypt_secret(
        &mut self,
        key: TpmHandle,
        label: &[u8],
        secret: &Tpm2bEncryptedSecret,
    ) -> Result<Tpm2bSeed, Rc> {
        self.test_exchange(key)?;
        let object = self.objects.get(key)?;
        match object.public.object_type() {
            TpmiAlgPublic::Rsa => {
                let key = rsa_private(object, &*self.platform)?;
                rsa_decrypt(object, key, label, secret, &mut self.random)
            }
            TpmiAlgPublic::Ecc => ecc_decrypt(object, label, secret),
            TpmiAlgPublic::KeyedHash | TpmiAlgPublic::SymCipher => Err(Rc::TYPE),
        }
    }

    /// A fresh secret of the size of the key's Name algorithm, and what is sent to the key.
    ///
    /// # Errors
    /// `TPM_RC_ATTRIBUTES` if the key does not decrypt, `TPM_RC_TYPE` if it is not asymmetric, `TPM_RC_KEY` if it is no good key; for RSA
    /// `TPM_RC_HASH` if the key is too short for the hash, `TPM_RC_VALUE` without a hash.
    pub(crate) fn encrypt_secret(
        &mut self,
        key: TpmHandle,
        label: &[u8],
    ) -> Result<(Tpm2bSeed, Tpm2bEncryptedSecret), Rc> {
        self.test_exchange(key)?;
        let public = &self.objects.get(key)?.public;
        if !public.has(TpmaObject::DECRYPT) {
            return Err(Rc::ATTRIBUTES);
        }
        let name_alg = public.name_alg.ok_or(Rc::VALUE)?;
        match public.object_type() {
            TpmiAlgPublic::Rsa => rsa_encrypt(public, name_alg, label, &mut self.random),
            TpmiAlgPublic::Ecc => ecc_encrypt(public, name_alg, label, &mut self.random),
            TpmiAlgPublic::KeyedHash | TpmiAlgPublic::SymCipher => Err(Rc::TYPE),
        }
    }

    /// Tests what sends secrets to a key, if it is used for the first time.
    fn test_exchange(&mut self, key: TpmHandle) -> Result<(), Rc> {
        match self.objects.get(key)?.public.object_type() {
            TpmiAlgPublic::Rsa => self.power.first_use(TpmAlgId::OAEP),
            TpmiAlgPublic::Ecc => self.power.first_use(TpmAlgId::ECDH),
            TpmiAlgPublic::KeyedHash | TpmiAlgPublic::SymCipher => Ok(()),
        }
    }
}

/// The label as OAEP hashes it, with its terminating zero.
fn terminated(label: &[u8]) -> Vec<u8> {
    [label, &[0]].concat()
}

fn rsa_decrypt(
    object: &Object,
    mut key: PrivateKey,
    label: &[u8],
    secret: &[u8],
    random: &mut Drbg,
) -> Result<Tpm2bSeed, Rc> {
    let TpmuPublicParms::Rsa(parameters) = &object.public.parameters else {
        return Err(Rc::TYPE);
    };
    let hash = match &parameters.scheme {
        None => object.public.name_alg.ok_or(Rc::SCHEME)?,
        Some(TpmtRsaScheme::Oaep(scheme)) => scheme.hash_alg,
        Some(_) => return Err(Rc::SCHEME),
    };
    if secret.len() != key.public().len() {
        return Err(Rc::SIZE);
    }
    let algorithm = hash_algorithm(hash);
    let seed = oaep::decrypt(&mut key, algorithm, &terminated(label), secret, random).map_err(
        |error| match error {
            RsaError::InputTooLarge => Rc::SIZE,
            _ => Rc::VALUE,
        },
    )?;
    if seed.len() > hash.digest_size() {
        return Err(Rc::VALUE);
    }
    Tpm2bSeed::new(&seed).ok_or(Rc::VALUE)
}

fn rsa_encrypt(
    public: &TpmtPublic,
    name_alg: TpmiAlgHash,
    label: &[u8],
    random: &mut Drbg,
) -> Result<(Tpm2bSeed, Tpm2bEncryptedSecret), Rc> {
    let key = rsa_public(public)?;
    let mut seed = Tpm2bSeed::zeros(name_alg.digest_size());
    random.fill(seed.as_mut_slice());
    let algorithm = hash_algorithm(name_alg);
    let secret =
        oaep::encrypt(&key, algorithm, &terminated(label), &seed, random).map_err(|error| {
            match error {
                RsaError::KeyTooSmall => Rc::HASH,
                _ => Rc::VALUE,
            }
        })?;
    Ok((seed, Tpm2bEncryptedSecret::new(secret).ok_or(Rc::VALUE)?))
}

fn ecc_decrypt(object: &Object, label: &[u8], secret: &[u8]) -> Result<Tpm2bSeed, Rc> {
    let limits = Limits::ALL;
    let name_alg = object.public.name_alg.ok_or(Rc::KEY)?;
    let curve = curve(ecc_parameters(&object.public)?.curve_id);
    let TpmuPublicId::Ecc(own) = &object.public.unique else {
        return Err(Rc::KEY);
    };
    // Bytes after the point are not looked at.
    let (_, sent) = TpmsEccPoint::parse(Input::new(secret, &limits)).map_err(response_code)?;
    let point = ecc_point(curve, &sent)?;
    let key = ecc_private(object)?;
    let mut shared = ecc::multiply(curve, key.as_bytes(), &point).map_err(|error| match error {
        EccError::Infinity => Rc::NO_RESULT,
        _ => Rc::ECC_POINT,
    })?;
    let seed = seed(name_alg, shared.x(), label, &sent.x, &own.x);
    shared.zeroize();
    Ok(seed)
}

fn ecc_encrypt(
    public: &TpmtPublic,
    name_alg: TpmiAlgHash,
    label: &[u8],
    random: &mut Drbg,
) -> Result<(Tpm2bSeed, Tpm2bEncryptedSecret), Rc> {
    let TpmuPublicId::Ecc(own) = &public.unique else {
        return Err(Rc::KEY);
    };
    let peer = ecc_public(public).map_err(|_| Rc::KEY)?;
    let (key, point) = ecc::generate(peer.curve(), random);
    let mut shared = ecc::multiply(peer.curve(), key.as_bytes(), &peer).map_err(|_| Rc::KEY)?;
    let sent = wire_point(&point);
    let seed = seed(name_alg, shared.x(), label, &sent.x, &own.x);
    shared.zeroize();
    let secret = Tpm2bEncryptedSecret::new(sent.to_bytes()).ok_or(Rc::VALUE)?;
    Ok((seed, secret))
}

fn seed(hash: TpmiAlgHash, z: &[u8], label: &[u8], sent_x: &[u8], own_x: &[u8]) -> Tpm2bSeed {
    let bits = u32::try_from(hash.digest_size() * 8).unwrap_or_default();
    let seed: Zeroizing<Vec<u8>> = kdfe(hash_algorithm(hash), z, label, sent_x, own_x, bits);
    small(&seed)
}
