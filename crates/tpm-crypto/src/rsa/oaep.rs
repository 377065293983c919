//! RSAES-OAEP (Part 1, B.4; RFC 8017, 7.1). Label and mask use the hash of the scheme; the label is hashed as given, with the
//! zero byte that a TPM's label ends with.

use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::pkcs1::take_from;
use super::{PrivateKey, PublicKey, RsaError, private_raw, public_raw};
use crate::hash::{self, HashAlgorithm};
use crate::kdf;

/// Encrypts a message.
///
/// # Errors
/// `KeyTooSmall` if the key cannot hold two digests; `MessageTooLong`.
pub fn encrypt<R: CryptoRng + ?Sized>(
    key: &PublicKey,
    algorithm: HashAlgorithm,
    label: &[u8],
    message: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, RsaError> {
    let size = algorithm.digest_size();
    let room = key
        .len()
        .checked_sub(2 * size + 2)
        .ok_or(RsaError::KeyTooSmall)?;
    let fill = room
        .checked_sub(message.len())
        .ok_or(RsaError::MessageTooLong)?;
    let mut seed = Zeroizing::new(vec![0; size]);
    rng.fill_bytes(&mut seed);
    let mut block = Zeroizing::new(Vec::with_capacity(key.len()));
    block.extend_from_slice(&hash::hash(algorithm, &[label]));
    block.resize(size + fill, 0);
    block.push(1);
    block.extend_from_slice(message);
    kdf::mgf1_xor(algorithm, &seed, &mut block);
    kdf::mgf1_xor(algorithm, &block, &mut seed);
    let mut padded = Zeroizing::new(Vec::with_capacity(key.len()));
    padded.push(0);
    padded.extend_from_slice(&seed);
    padded.extend_from_slice(&block);
    public_raw(key, &padded)
}

/// Decrypts a message. Which part of a padding was wrong shows neither in the error nor in the time.
///
/// # Errors
/// `Padding` if the plaintext is not padded, `KeyTooSmall`, or an error of the private operation.
pub fn decrypt<R: CryptoRng + ?Sized>(
    key: &mut PrivateKey,
    algorithm: HashAlgorithm,
    label: &[u8],
    ciphertext: &[u8],
    rng: &mut R,
) -> Result<Zeroizing<Vec<u8>>, RsaError> {
    let size = algorithm.digest_size();
    if key.public().len() < 2 * size + 2 {
        return Err(RsaError::KeyTooSmall);
    }
    let mut padded = private_raw(key, ciphertext, rng)?;
    let (first, rest) = padded.split_first_mut().ok_or(RsaError::Padding)?;
    let (seed, block) = rest.split_at_mut_checked(size).ok_or(RsaError::Padding)?;
    kdf::mgf1_xor(algorithm, block, seed);
    kdf::mgf1_xor(algorithm, seed, block);
    let (found, rest) = block.split_at_checked(size).ok_or(RsaError::Padding)?;

    let mut good = first.ct_eq(&0) & found.ct_eq(&hash::hash(algorithm, &[label]));
    let mut ended = Choice::from(0);
    let mut start = 0u32;
    for (i, byte) in (1u32..).zip(rest) {
        let ends = byte.ct_eq(&1) & !ended;
        start.conditional_assign(&i, ends);
        good &= byte.ct_eq(&0) | ends | ended;
        ended |= ends;
    }
    take_from(rest, start, good & ended)
}
