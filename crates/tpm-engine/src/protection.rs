//! How sensitive areas leave the TPM: wrapped for a parent, for a new parent, or as a credential (Part 1, 22 to 24).

use crate::algorithms::{block_cipher, hash, hash_algorithm, hmac, small};
use crate::keys::symmetric;
use crate::object::Object;
use alloc::vec::Vec;
use tpm_crypto::hash::Digest;
use tpm_crypto::kdf::kdfa;
use tpm_crypto::symmetric::{BlockCipher, cfb_decrypt, cfb_encrypt};
use tpm_wire::algorithm::{TpmiAlgHash, TpmtSymDefObject};
use tpm_wire::buffers::{
    Tpm2bAuth, Tpm2bDigest, Tpm2bIdObject, Tpm2bIv, Tpm2bPrivate, marshal_with_size,
};
use tpm_wire::codec::{Input, Limits, Marshal, Parse, parse_all, response_code};
use tpm_wire::object::{TpmtPublic, TpmtSensitive};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// Room for a sensitive area and its wraps, so that a growing buffer leaves no copy of secrets behind.
const ROOM: usize = 1024;

/// What an outer wrap is made with: hash and cipher of the protecting key, and the seed that its keys are derived from.
pub(crate) struct Protector<'a> {
    hash: TpmiAlgHash,
    cipher: TpmtSymDefObject,
    seed: &'a [u8],
}

impl<'a> Protector<'a> {
    /// A storage key as the parent of what it protects.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` if it is no storage key with its sensitive area.
    pub(crate) fn parent(object: &'a Object) -> Result<Self, Rc> {
        let sensitive = object.sensitive.as_ref().ok_or(Rc::TYPE)?;
        Self::with_seed(&object.public, &sensitive.seed_value)
    }

    /// A storage key that a seed was sent to.
    ///
    /// # Errors
    /// `TPM_RC_TYPE` if the key has no symmetric algorithm or no Name algorithm.
    pub(crate) fn with_seed(public: &TpmtPublic, seed: &'a [u8]) -> Result<Self, Rc> {
        Ok(Self {
            hash: public.name_alg.ok_or(Rc::TYPE)?,
            cipher: symmetric(public).ok_or(Rc::TYPE)?,
            seed,
        })
    }

    /// Bytes of an initialization vector.
    fn block_size(&self) -> usize {
        block_cipher(self.cipher.algorithm).block_size()
    }

    fn key(&self, name: &[u8]) -> Zeroizing<Vec<u8>> {
        let bits = u32::from(self.cipher.key_bits);
        let hash = hash_algorithm(self.hash);
        kdfa(hash, self.seed, b"STORAGE", name, &[], bits)
    }

    fn integrity(&self, name: &[u8], encrypted: &[u8]) -> Digest {
        let bits = u32::try_from(self.hash.digest_size() * 8).unwrap_or_default();
        let hash = hash_algorithm(self.hash);
        let key = kdfa(hash, self.seed, b"INTEGRITY", &[], &[], bits);
        hmac(self.hash, &key, &[encrypted, name])
    }

    /// The outer wrap: integrity value, initialization vector if given, and the data encrypted (Part 1, 22.4).
    ///
    /// # Errors
    /// `TPM_RC_KEY_SIZE` if the cipher cannot work, which checked templates exclude.
    pub(crate) fn wrap(
        &self,
        name: &[u8],
        iv: Option<&Tpm2bIv>,
        mut data: Zeroizing<Vec<u8>>,
    ) -> Result<Vec<u8>, Rc> {
        encrypt(&self.cipher, &self.key(name), iv, &mut data)?;
        let mut encrypted = Vec::with_capacity(data.len() + 18);
        if let Some(iv) = iv {
            iv.marshal(&mut encrypted);
        }
        encrypted.extend_from_slice(&data);
        let integrity: Tpm2bDigest = small(&self.integrity(name, &encrypted));
        let mut out = integrity.to_bytes();
        out.append(&mut encrypted);
        Ok(out)
    }

    /// Undoes [`wrap`](Self::wrap).
    ///
    /// # Errors
    /// `TPM_RC_INTEGRITY`; `TPM_RC_SIZE` or `TPM_RC_INSUFFICIENT` for what has not the form of a wrap, `TPM_RC_VALUE` for an initialization
    /// vector that is not one block.
    pub(crate) fn unwrap(
        &self,
        name: &[u8],
        with_iv: bool,
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Rc> {
        let limits = Limits::ALL;
        let input = Input::new(blob, &limits);
        let (encrypted, integrity) = Tpm2bDigest::parse(input).map_err(response_code)?;
        if self.integrity(name, encrypted.bytes()) != *integrity {
            return Err(Rc::INTEGRITY);
        }
        let (encrypted, iv) = if with_iv {
            let (rest, iv) = Tpm2bIv::parse(encrypted).map_err(response_code)?;
            if iv.len() != self.block_size() {
                return Err(Rc::VALUE);
            }
            (rest, Some(iv))
        } else {
            (encrypted, None)
        };
        let mut data = Zeroizing::new(encrypted.bytes().to_vec());
        decrypt(&self.cipher, &self.key(name), iv.as_ref(), &mut data)?;
        Ok(data)
    }

    /// The private area of an object under this parent (Part 1, 22.5); `iv` gives a fresh initialization vector.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap), and `TPM_RC_SIZE` if it does not fit.
    pub(crate) fn wrap_private(
        &self,
        name: &[u8],
        name_alg: Option<TpmiAlgHash>,
        sensitive: &TpmtSensitive,
        random: &mut tpm_crypto::drbg::Drbg,
    ) -> Result<Tpm2bPrivate, Rc> {
        let mut iv = Tpm2bIv::zeros(self.block_size());
        random.fill(iv.as_mut_slice());
        let blob = self.wrap(name, Some(&iv), sensitive_bytes(sensitive, name_alg))?;
        Tpm2bPrivate::new(blob).ok_or(Rc::SIZE)
    }

    /// The sensitive area in a private area.
    ///
    /// # Errors
    /// As [`unwrap`](Self::unwrap), and `TPM_RC_SENSITIVE` for content that is no sensitive area.
    pub(crate) fn unwrap_private(
        &self,
        name: &[u8],
        private: &Tpm2bPrivate,
        limits: &Limits,
    ) -> Result<TpmtSensitive, Rc> {
        let data = self.unwrap(name, true, private)?;
        if data.len() < 2 {
            return Err(Rc::INSUFFICIENT);
        }
        parse_sensitive(&data, limits).map_err(|_| Rc::SENSITIVE)
    }

    /// A credential for the object with this Name (Part 1, 24).
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap).
    pub(crate) fn wrap_credential(
        &self,
        name: &[u8],
        credential: &Tpm2bDigest,
    ) -> Result<Tpm2bIdObject, Rc> {
        let data = Zeroizing::new(credential.to_bytes());
        Tpm2bIdObject::new(self.wrap(name, None, data)?).ok_or(Rc::SIZE)
    }

    /// The credential in a blob.
    ///
    /// # Errors
    /// As [`unwrap`](Self::unwrap), and `TPM_RC_SIZE` or `TPM_RC_INSUFFICIENT` for content that is no digest.
    pub(crate) fn unwrap_credential(
        &self,
        name: &[u8],
        blob: &Tpm2bIdObject,
    ) -> Result<Tpm2bDigest, Rc> {
        parse_all(&self.unwrap(name, false, blob)?, &Limits::ALL)
    }
}

/// The inner wrap of a duplicate: its cipher, and the key that only the owner of the object knows (Part 1, 23.3.2).
pub(crate) struct InnerWrap<'a> {
    /// The cipher.
    pub(crate) cipher: TpmtSymDefObject,
    /// The key, of the cipher's size.
    pub(crate) key: &'a [u8],
}

/// A duplicate of an object: inner wrap, then outer wrap, each if there is one (Part 1, 23.3).
///
/// # Errors
/// As [`Protector::wrap`], and `TPM_RC_SIZE` if it does not fit.
pub(crate) fn wrap_duplicate(
    name: &[u8],
    name_alg: TpmiAlgHash,
    sensitive: &TpmtSensitive,
    inner: Option<&InnerWrap<'_>>,
    outer: Option<&Protector<'_>>,
) -> Result<Tpm2bPrivate, Rc> {
    let mut data = sensitive_bytes(sensitive, Some(name_alg));
    if let Some(inner) = inner {
        let integrity: Tpm2bDigest = small(&hash(name_alg, &[&data, name]));
        let mut protected = Zeroizing::new(Vec::with_capacity(ROOM));
        integrity.marshal(&mut protected);
        protected.extend_from_slice(&data);
        encrypt(&inner.cipher, inner.key, None, &mut protected)?;
        data = protected;
    }
    let blob = match outer {
        Some(outer) => outer.wrap(name, None, data)?,
        None => data.to_vec(),
    };
    Tpm2bPrivate::new(blob).ok_or(Rc::SIZE)
}

/// The sensitive area in a duplicate.
///
/// # Errors
/// As [`Protector::unwrap`], for the inner wrap too; `TPM_RC_SIZE` and what the parser refuses for content that is no sensitive area.
pub(crate) fn unwrap_duplicate(
    name: &[u8],
    name_alg: TpmiAlgHash,
    blob: &Tpm2bPrivate,
    inner: Option<&InnerWrap<'_>>,
    outer: Option<&Protector<'_>>,
    limits: &Limits,
) -> Result<TpmtSensitive, Rc> {
    let mut data = match outer {
        Some(outer) => outer.unwrap(name, false, blob)?,
        None => Zeroizing::new(blob.to_vec()),
    };
    let mut protected: &[u8] = &data;
    if let Some(inner) = inner {
        decrypt(&inner.cipher, inner.key, None, &mut data)?;
        let (rest, integrity) =
            Tpm2bDigest::parse(Input::new(&data, limits)).map_err(response_code)?;
        protected = rest.bytes();
        if hash(name_alg, &[protected, name]) != *integrity {
            return Err(Rc::INTEGRITY);
        }
    }
    parse_sensitive(protected, limits)
}

/// A sensitive area with its size, the authorization value padded to a digest.
fn sensitive_bytes(sensitive: &TpmtSensitive, name_alg: Option<TpmiAlgHash>) -> Zeroizing<Vec<u8>> {
    let mut padded = sensitive.clone();
    let size = name_alg.map_or(0, |hash| hash.digest_size());
    if padded.auth_value.len() < size {
        let mut auth = Tpm2bAuth::zeros(size);
        for (to, from) in auth.as_mut_slice().iter_mut().zip(padded.auth_value.iter()) {
            *to = *from;
        }
        padded.auth_value = auth;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(ROOM));
    marshal_with_size(&mut out, |out| padded.marshal(out));
    out
}

fn parse_sensitive(bytes: &[u8], limits: &Limits) -> Result<TpmtSensitive, Rc> {
    let (rest, size) = u16::parse(Input::new(bytes, limits)).map_err(response_code)?;
    if usize::from(size) != rest.bytes().len() {
        return Err(Rc::SIZE);
    }
    parse_all(rest.bytes(), limits)
}

fn encrypt(
    cipher: &TpmtSymDefObject,
    key: &[u8],
    iv: Option<&Tpm2bIv>,
    data: &mut [u8],
) -> Result<(), Rc> {
    crypt(cfb_encrypt, cipher, key, iv, data)
}

fn decrypt(
    cipher: &TpmtSymDefObject,
    key: &[u8],
    iv: Option<&Tpm2bIv>,
    data: &mut [u8],
) -> Result<(), Rc> {
    crypt(cfb_decrypt, cipher, key, iv, data)
}

type Cfb =
    fn(BlockCipher, &[u8], &[u8], &mut [u8]) -> Result<(), tpm_crypto::symmetric::SymmetricError>;

/// CFB, whatever mode the key names; without an initialization vector from a block of zeros.
fn crypt(
    run: Cfb,
    cipher: &TpmtSymDefObject,
    key: &[u8],
    iv: Option<&Tpm2bIv>,
    data: &mut [u8],
) -> Result<(), Rc> {
    let cipher = block_cipher(cipher.algorithm);
    let zeros = Tpm2bIv::zeros(cipher.block_size());
    run(cipher, key, iv.unwrap_or(&zeros), data).map_err(|_| Rc::KEY_SIZE)
}
