//! RSASSA-PSS (Part 1, B.7; RFC 8017, 8.1). The mask is made with the hash of the scheme.
//!
//! Signatures carry a salt as long as the digest, or as long as the key leaves room for; verification takes any
//! length.

use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;

use super::{PrivateKey, PublicKey, RsaError, private_raw, public_raw};
use crate::hash::{self, Digest, HashAlgorithm};
use crate::kdf;

const TRAILER: u8 = 0xbc;

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
    let encoded = encode(algorithm, digest, key.public().len(), rng)?;
    private_raw(key, &encoded, rng).map(|signature| signature.to_vec())
}

/// Checks a signature over a digest.
///
/// # Errors
/// `Signature` if it is not one; `DigestSize` if there can be none.
pub fn verify(
    key: &PublicKey,
    algorithm: HashAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> Result<(), RsaError> {
    if digest.len() != algorithm.digest_size() {
        return Err(RsaError::DigestSize);
    }
    if signature.len() != key.len() {
        return Err(RsaError::Signature);
    }
    let encoded = public_raw(key, signature).map_err(|_| RsaError::Signature)?;
    if decode(algorithm, digest, &encoded) {
        Ok(())
    } else {
        Err(RsaError::Signature)
    }
}

fn encode<R: CryptoRng + ?Sized>(
    algorithm: HashAlgorithm,
    digest: &[u8],
    length: usize,
    rng: &mut R,
) -> Result<Vec<u8>, RsaError> {
    let size = algorithm.digest_size();
    if digest.len() != size {
        return Err(RsaError::DigestSize);
    }
    // One byte after the hash, one before the salt.
    let room = length.checked_sub(size + 2).ok_or(RsaError::KeyTooSmall)?;
    let mut salt = vec![0; size.min(room)];
    rng.fill_bytes(&mut salt);
    let seal = seal(algorithm, digest, &salt);
    let mut out = vec![0; room - salt.len()];
    out.push(1);
    out.extend_from_slice(&salt);
    kdf::mgf1_xor(algorithm, &seal, &mut out);
    // Keys are whole bytes long, so that the encoding is one bit shorter than its bytes.
    if let Some(first) = out.first_mut() {
        *first &= 0x7f;
    }
    out.extend_from_slice(&seal);
    out.push(TRAILER);
    Ok(out)
}

/// Whether an encoding is one of this digest. Nothing here is secret.
fn decode(algorithm: HashAlgorithm, digest: &[u8], encoded: &[u8]) -> bool {
    let size = algorithm.digest_size();
    let Some((&TRAILER, rest)) = encoded.split_last() else {
        return false;
    };
    let Some((masked, found)) = rest
        .len()
        .checked_sub(size)
        .and_then(|at| rest.split_at_checked(at))
    else {
        return false;
    };
    if masked.first().is_none_or(|first| first & 0x80 != 0) {
        return false;
    }
    let mut block = masked.to_vec();
    kdf::mgf1_xor(algorithm, found, &mut block);
    if let Some(first) = block.first_mut() {
        *first &= 0x7f;
    }
    let Some(start) = block.iter().position(|&byte| byte != 0) else {
        return false;
    };
    let Some((1, salt)) = block.get(start..).and_then(<[u8]>::split_first) else {
        return false;
    };
    bool::from(seal(algorithm, digest, salt).ct_eq(found))
}

fn seal(algorithm: HashAlgorithm, digest: &[u8], salt: &[u8]) -> Digest {
    hash::hash(algorithm, &[&[0; 8], digest, salt])
}
