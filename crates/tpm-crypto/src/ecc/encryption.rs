//! Encryption under an ECC key with KDF2 (Part 3, 14.9 and 14.10; GB/T 32918.4).

use super::{EccError, Point, PrivateKey, generate, multiply};
use crate::{
    hash::{Digest, HashAlgorithm, hash},
    kdf::kdf2,
};
use alloc::vec::Vec;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What `TPM2_ECC_Encrypt` returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Ciphertext {
    /// C1: the public ephemeral point.
    pub c1: Point,
    /// C2: the hidden text.
    pub c2: Vec<u8>,
    /// C3: the digest of the shared point and the text.
    pub c3: Digest,
}

/// Encrypts for the owner of `public`.
pub fn encrypt(
    public: &Point,
    alg: HashAlgorithm,
    text: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Ciphertext, EccError> {
    let (ephemeral, c1) = generate(public.curve(), rng);
    let shared = Zeroizing::new(multiply(public.curve(), ephemeral.as_bytes(), public)?);
    let mut c2 = text.to_vec();
    mask(alg, &shared, &mut c2);
    Ok(Ciphertext {
        c1,
        c2,
        c3: hash(alg, &[shared.x(), text, shared.y()]),
    })
}

/// Decrypts; a text that does not match its digest is [`EccError::Ciphertext`].
pub fn decrypt(
    key: &PrivateKey,
    alg: HashAlgorithm,
    c1: &Point,
    c2: &[u8],
    c3: &[u8],
) -> Result<Zeroizing<Vec<u8>>, EccError> {
    let shared = Zeroizing::new(multiply(key.curve(), key.as_bytes(), c1)?);
    let mut text = Zeroizing::new(c2.to_vec());
    mask(alg, &shared, &mut text);
    let digest = hash(alg, &[shared.x(), &text, shared.y()]);
    if bool::from(digest.ct_eq(c3)) {
        Ok(text)
    } else {
        Err(EccError::Ciphertext)
    }
}

/// Hides or shows the text: exclusive or with KDF2 of the shared point.
fn mask(alg: HashAlgorithm, shared: &Point, text: &mut [u8]) {
    let mut stream = Zeroizing::new(alloc::vec![0; text.len()]);
    kdf2(alg, &[shared.x(), shared.y()], &mut stream);
    for (octet, mask) in text.iter_mut().zip(stream.iter()) {
        *octet ^= mask;
    }
}
