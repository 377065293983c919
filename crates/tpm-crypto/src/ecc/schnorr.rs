//! EC Schnorr signatures (Part 1, C.4.3).

use super::{
    EccError, Integer, Point, PrivateKey, Signature,
    arithmetic::{Group, decode, dispatch, integer, scalar, secret, x_of},
    nonce::{HASH, Nonces},
};
use crate::hash::{HashAlgorithm, hash};
use primeorder::elliptic_curve::{Field, Scalar};

/// Signs a digest with the hash of the scheme; `entropy` hedges the nonce.
pub fn sign(
    key: &PrivateKey,
    alg: HashAlgorithm,
    digest: &[u8],
    entropy: &[u8; 32],
) -> Result<Signature, EccError> {
    dispatch!(key.curve(), C => {
        let d = secret::<C>(key)?;
        // One nonce must never meet two challenges: the hash of the scheme is part of what the nonce depends on.
        let domain = hash(alg, &[b"ECSCHNORR"]);
        let nonces = Nonces::new::<C>(HASH, &d, digest, &[&domain, entropy, digest]);
        Ok(sign_on::<C>(&d, alg, digest, nonces))
    })
}

fn sign_on<C: Group>(
    d: &Scalar<C>,
    alg: HashAlgorithm,
    digest: &[u8],
    mut nonces: Nonces,
) -> Signature {
    loop {
        let k = nonces.next::<C>();
        let Some((_, x)) = x_of::<C>(&C::base(&k)) else {
            continue;
        };
        let r = challenge::<C>(alg, &x, digest);
        // A challenge that is zero or not below the order would not verify: try another nonce.
        let Some(value) = scalar::<C>(&r) else {
            continue;
        };
        let s = *k + value * *d;
        if !bool::from(s.is_zero()) {
            return Signature {
                r: integer::<C>(&value),
                s: integer::<C>(&s),
            };
        }
    }
}

/// The hash of x and the digest, cut to the octets of the order.
fn challenge<C: Group>(alg: HashAlgorithm, x: &[u8], digest: &[u8]) -> Integer {
    let value = hash(alg, &[x, digest]);
    Integer::new(value.get(..C::CURVE.order_bytes()).unwrap_or(&value))
}

/// Verifies a signature over a digest.
pub fn verify(
    public: &Point,
    alg: HashAlgorithm,
    digest: &[u8],
    r: &[u8],
    s: &[u8],
) -> Result<(), EccError> {
    dispatch!(public.curve(), C => verify_on::<C>(public, alg, digest, r, s))
}

fn verify_on<C: Group>(
    public: &Point,
    alg: HashAlgorithm,
    digest: &[u8],
    r: &[u8],
    s: &[u8],
) -> Result<(), EccError> {
    let q = decode::<C>(public)?;
    let r = scalar::<C>(r).ok_or(EccError::Signature)?;
    let s = scalar::<C>(s).ok_or(EccError::Signature)?;
    let (_, x) = x_of::<C>(&C::base_and_point(&s, &-r, &q)).ok_or(EccError::Signature)?;
    match scalar::<C>(&challenge::<C>(alg, &x, digest)) {
        Some(value) if value == r => Ok(()),
        _ => Err(EccError::Signature),
    }
}
