//! PKCS #1 v1.5 paddings: RSASSA for signatures, RSAES for encryption (Part 1, B.6 and B.5; RFC 8017, 8.2 and 7.2).

use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

use super::{PrivateKey, PublicKey, RsaError, private_raw, public_raw};
use crate::hash::HashAlgorithm;

/// Fewest bytes that fill the space before the message.
const MIN_FILL: usize = 8;

/// Signs a digest.
///
/// # Errors
/// `DigestSize`, `KeyTooSmall`, or an error of the private operation.
pub fn sign<R: CryptoRng + ?Sized>(
    key: &mut PrivateKey,
    algorithm: HashAlgorithm,
    digest: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, RsaError> {
    let encoded = encode(algorithm, digest, key.public().len())?;
    private_raw(key, &encoded, rng).map(|signature| signature.to_vec())
}

/// Checks a signature over a digest.
///
/// # Errors
/// `Signature` if it is not one; `DigestSize` or `KeyTooSmall` if there can be none.
pub fn verify(
    key: &PublicKey,
    algorithm: HashAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> Result<(), RsaError> {
    let expected = encode(algorithm, digest, key.len())?;
    if signature.len() != key.len() {
        return Err(RsaError::Signature);
    }
    let encoded = public_raw(key, signature).map_err(|_| RsaError::Signature)?;
    if bool::from(encoded.ct_eq(&expected)) {
        Ok(())
    } else {
        Err(RsaError::Signature)
    }
}

/// The padded digest that a signature is made of, `length` bytes long.
///
/// # Errors
/// `DigestSize` or `KeyTooSmall`.
pub fn encode(algorithm: HashAlgorithm, digest: &[u8], length: usize) -> Result<Vec<u8>, RsaError> {
    if digest.len() != algorithm.digest_size() {
        return Err(RsaError::DigestSize);
    }
    let info = digest_info(algorithm, digest)?;
    let fill = length
        .checked_sub(info.len() + 3)
        .filter(|&fill| fill >= MIN_FILL)
        .ok_or(RsaError::KeyTooSmall)?;
    let mut out = vec![0, 1];
    out.resize(fill + 2, 0xff);
    out.push(0);
    out.extend_from_slice(&info);
    Ok(out)
}

/// Encrypts a message.
///
/// # Errors
/// `MessageTooLong`.
pub fn encrypt<R: CryptoRng + ?Sized>(
    key: &PublicKey,
    message: &[u8],
    rng: &mut R,
) -> Result<Vec<u8>, RsaError> {
    let fill = key
        .len()
        .checked_sub(message.len() + 3)
        .filter(|&fill| fill >= MIN_FILL)
        .ok_or(RsaError::MessageTooLong)?;
    let mut padded = Zeroizing::new(vec![0; key.len()]);
    let mut padding = Zeroizing::new(vec![0; fill]);
    rng.fill_bytes(&mut padding);
    for byte in padding.iter_mut() {
        let mut one = [0];
        while *byte == 0 {
            rng.fill_bytes(&mut one);
            *byte = one[0];
        }
    }
    let content = [2].iter().chain(padding.iter()).chain(&[0]).chain(message);
    for (to, from) in padded.iter_mut().skip(1).zip(content) {
        *to = *from;
    }
    public_raw(key, &padded)
}

/// Decrypts a message. Which part of a padding was wrong shows neither in the error nor in the time.
///
/// # Errors
/// `Padding` if the plaintext is not padded, or an error of the private operation.
pub fn decrypt<R: CryptoRng + ?Sized>(
    key: &mut PrivateKey,
    ciphertext: &[u8],
    rng: &mut R,
) -> Result<Zeroizing<Vec<u8>>, RsaError> {
    let padded = private_raw(key, ciphertext, rng)?;
    let mut good = Choice::from(1);
    let mut start = 0u32;
    let mut ended = Choice::from(0);
    for (i, byte) in (0u32..).zip(padded.iter()) {
        match i {
            0 => good &= byte.ct_eq(&0),
            1 => good &= byte.ct_eq(&2),
            _ => {
                let ends = byte.ct_eq(&0) & !ended;
                start.conditional_assign(&(i + 1), ends);
                ended |= ends;
            }
        }
    }
    // Two bytes before the padding, eight in it, one after it: the message starts at 11 or later.
    good &= ended & start.ct_gt(&10);
    take_from(&padded, start, good)
}

/// The bytes from `start` on, if all was good.
pub(super) fn take_from(
    padded: &[u8],
    start: u32,
    good: Choice,
) -> Result<Zeroizing<Vec<u8>>, RsaError> {
    if !bool::from(good) {
        return Err(RsaError::Padding);
    }
    let start = usize::try_from(start).map_err(|_| RsaError::Padding)?;
    padded
        .get(start..)
        .map(|message| Zeroizing::new(message.to_vec()))
        .ok_or(RsaError::Padding)
}

/// DER of the algorithm and the digest (RFC 8017, 9.2).
fn digest_info(algorithm: HashAlgorithm, digest: &[u8]) -> Result<Vec<u8>, RsaError> {
    let oid = object_identifier(algorithm);
    let length = |content: usize| u8::try_from(content).map_err(|_| RsaError::DigestSize);
    // SEQUENCE { SEQUENCE { OBJECT IDENTIFIER, NULL }, OCTET STRING }
    let mut out = vec![
        0x30,
        length(8 + oid.len() + digest.len())?,
        0x30,
        length(4 + oid.len())?,
        0x06,
        length(oid.len())?,
    ];
    out.extend_from_slice(oid);
    out.extend_from_slice(&[0x05, 0x00, 0x04, length(digest.len())?]);
    out.extend_from_slice(digest);
    Ok(out)
}

const fn object_identifier(algorithm: HashAlgorithm) -> &'static [u8] {
    match algorithm {
        HashAlgorithm::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
        HashAlgorithm::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
        HashAlgorithm::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
        HashAlgorithm::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        HashAlgorithm::Sha3_256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08],
        HashAlgorithm::Sha3_384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x09],
        HashAlgorithm::Sha3_512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0a],
        HashAlgorithm::Sm3_256 => &[0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x11],
    }
}
