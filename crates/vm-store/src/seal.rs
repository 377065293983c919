//! Keys and the few cryptographic constructions of the store: derivation, sealing, authentication.

use crate::error::EntropyFailure;
use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand::{TryRng, rngs::SysRng};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A 256-bit key, wiped when dropped.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// Length of an AES-GCM tag.
pub(crate) const TAG_LENGTH: usize = 16;

/// Length of a wrapped data key.
pub const WRAPPED_KEY_LENGTH: usize = 1 + 32 + 32 + TAG_LENGTH;

/// The data key (DEK) of one VM: everything of that VM is sealed under keys derived from it.
///
/// On the heap, so that a move of the value leaves no copy of the key behind.
pub struct DataKey(Box<Key>);

impl DataKey {
    /// A fresh key from the operating system.
    pub fn generate() -> Result<Self, EntropyFailure> {
        let mut key = Self::blank();
        SysRng
            .try_fill_bytes(key.0.as_mut().as_mut())
            .map_err(|_| EntropyFailure)?;
        Ok(key)
    }

    /// A key from its bytes; for key providers, which unwrap it.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mut key = Self::blank();
        key.0.copy_from_slice(bytes.as_ref());
        key
    }

    fn blank() -> Self {
        Self(Box::default())
    }

    /// The bytes; for key providers, which wrap it.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Clone for DataKey {
    fn clone(&self) -> Self {
        let mut key = Self::blank();
        key.0.copy_from_slice(self.expose());
        key
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// A data key wrapped by a key provider, as `.vmx` holds it (`docs/vm-file-format.md`, 5).
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey(Vec<u8>);

impl WrappedKey {
    /// Takes stored bytes; what they are shows when they are unwrapped.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey({} bytes)", self.0.len())
    }
}

/// Wraps a data key under a key-encryption key. Every kind of provider uses this once it has the KEK's bytes.
pub fn wrap(
    kek: &[u8; 32],
    key_id: &str,
    data_key: &DataKey,
) -> Result<WrappedKey, EntropyFailure> {
    let salt: [u8; 32] = random()?;
    let key = derive(kek, Some(&salt), &[WRAP]);
    let mut sealed = data_key.clone();
    let aad = [WRAP, key_id.as_bytes()].concat();
    let tag = seal_in_place(&key, [0; 12], &aad, sealed.0.as_mut().as_mut());
    let mut bytes = Vec::with_capacity(WRAPPED_KEY_LENGTH);
    bytes.push(WRAP_VERSION);
    bytes.extend_from_slice(&salt);
    bytes.extend_from_slice(sealed.expose());
    bytes.extend_from_slice(&tag);
    drop(key);
    wipe_stack();
    Ok(WrappedKey(bytes))
}

/// Unwraps a data key; `None` if it was wrapped under another key or is damaged.
pub fn unwrap(kek: &[u8; 32], key_id: &str, wrapped: &WrappedKey) -> Option<DataKey> {
    let (version, rest) = wrapped.0.split_first()?;
    if *version != WRAP_VERSION {
        return None;
    }
    let (salt, rest) = rest.split_first_chunk::<32>()?;
    let (sealed, tag) = rest.split_first_chunk::<32>()?;
    let tag = <[u8; TAG_LENGTH]>::try_from(tag).ok()?;
    let key = derive(kek, Some(salt), &[WRAP]);
    let mut data_key = DataKey::blank();
    data_key.0.copy_from_slice(sealed);
    let aad = [WRAP, key_id.as_bytes()].concat();
    let is_authentic = open_in_place(&key, [0; 12], &aad, data_key.0.as_mut().as_mut(), tag);
    drop(key);
    wipe_stack();
    is_authentic.then_some(data_key)
}

/// Overwrites the part of the stack where functions that were just called had their variables: hash and cipher states that were
/// moved are not wiped by their owners. To be called when those have returned.
#[inline(never)]
pub(crate) fn wipe_stack() {
    std::hint::black_box(&mut [0_u8; STACK]);
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], EntropyFailure> {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| EntropyFailure)?;
    Ok(bytes)
}

/// A fresh key, filled in place.
pub(crate) fn random_key() -> Result<Key, EntropyFailure> {
    let mut key = Key::default();
    SysRng
        .try_fill_bytes(key.as_mut())
        .map_err(|_| EntropyFailure)?;
    Ok(key)
}

/// HKDF-SHA256 to 32 bytes.
pub(crate) fn derive(key: &[u8], salt: Option<&[u8]>, info: &[&[u8]]) -> Key {
    let mut output = Key::default();
    // expand fails only beyond 255 blocks of output; this is one.
    let result = Hkdf::<Sha256>::new(salt, key).expand_multi_info(info, output.as_mut());
    debug_assert!(result.is_ok());
    output
}

/// An HMAC-SHA256 key made ready once for many messages.
#[derive(Clone)]
pub(crate) struct Authenticator(Hmac<Sha256>);

impl Authenticator {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // HMAC fills a short key up with zeros to the block length; done here, nothing can fail.
        let mut block = Zeroizing::new([0; 64]);
        for (to, from) in block.iter_mut().zip(key.iter()) {
            *to = *from;
        }
        Self(<Hmac<Sha256> as KeyInit>::new((&*block).into()))
    }

    /// The HMAC over the parts, one after the other.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator(..)")
    }
}

/// HMAC-SHA256 under a key that is used once.
pub(crate) fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mac = Authenticator::new(key).mac(parts);
    wipe_stack();
    mac
}

/// Comparison in constant time; unequal lengths are unequal.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// AES-256-GCM over `buffer` in place.
pub(crate) fn seal_in_place(
    key: &Key,
    nonce: [u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
) -> [u8; TAG_LENGTH] {
    let cipher = Aes256Gcm::new((&**key).into());
    match cipher.encrypt_inout_detached((&nonce).into(), aad, buffer.into()) {
        Ok(tag) => tag.into(),
        Err(_) => unreachable!("AES-GCM refuses only 64 GiB; files are bounded to 64 MiB"),
    }
}

/// Opens what `seal_in_place` made; false, and nothing readable in `buffer`, if it is not authentic.
#[must_use]
pub(crate) fn open_in_place(
    key: &Key,
    nonce: [u8; 12],
    aad: &[u8],
    buffer: &mut [u8],
    tag: [u8; TAG_LENGTH],
) -> bool {
    Aes256Gcm::new((&**key).into())
        .decrypt_inout_detached((&nonce).into(), aad, buffer.into(), (&tag).into())
        .is_ok()
}

/// More than the deepest of the cryptographic functions needs.
const STACK: usize = 24 << 10;
const WRAP: &[u8] = b"vtpm.wrap.v1";
const WRAP_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_key_opens_only_under_the_same_kek_and_key_id() {
        let key = DataKey::generate().unwrap();
        let wrapped = wrap(&[1; 32], "id", &key).unwrap();
        assert_eq!(wrapped.as_bytes().len(), WRAPPED_KEY_LENGTH);
        assert_eq!(
            unwrap(&[1; 32], "id", &wrapped).unwrap().expose(),
            key.expose()
        );
        assert!(unwrap(&[2; 32], "id", &wrapped).is_none());
        assert!(unwrap(&[1; 32], "other", &wrapped).is_none());
    }

    #[test]
    fn every_changed_or_missing_byte_of_a_wrapped_key_is_refused() {
        let wrapped = wrap(&[1; 32], "id", &DataKey::generate().unwrap()).unwrap();
        for at in 0..wrapped.0.len() {
            let mut bytes = wrapped.0.clone();
            bytes[at] ^= 0x10;
            assert!(unwrap(&[1; 32], "id", &WrappedKey(bytes)).is_none());
            assert!(unwrap(&[1; 32], "id", &WrappedKey(wrapped.0[..at].to_vec())).is_none());
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let text = format!("{:?}", DataKey::from_bytes(Zeroizing::new([0x5a; 32])));
        assert_eq!(text, "DataKey(..)");
    }

    #[test]
    fn derivation_is_hkdf_sha256() {
        // RFC 5869, A.3, cut to 32 bytes.
        let okm = derive(&[0x0b; 22], Some(&[]), &[]);
        assert_eq!(
            hex::encode(*okm),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
    }
}
