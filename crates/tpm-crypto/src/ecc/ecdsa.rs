//! ECDSA (FIPS 186-5, 6.4; Part 1, C.4.1).

use super::{
    EccError, Point, PrivateKey, Signature,
    arithmetic::{Group, decode, dispatch, integer, leftmost, reduce, scalar, secret, x_of},
    nonce::{HASH, Nonces},
};
use primeorder::elliptic_curve::{Field, Scalar};
use zeroize::Zeroizing;

/// Signs a digest, of which the leftmost bits count, as many as the order has; `entropy` hedges the nonce.
pub fn sign(key: &PrivateKey, digest: &[u8], entropy: &[u8; 32]) -> Result<Signature, EccError> {
    dispatch!(key.curve(), C => {
        let d = secret::<C>(key)?;
        let nonces = Nonces::new::<C>(HASH, &d, digest, &[b"ECDSA", entropy, digest]);
        sign_with::<C>(&d, digest, nonces)
    })
}

/// Signs with the first nonce that gives a signature.
pub(super) fn sign_with<C: Group>(
    d: &Scalar<C>,
    digest: &[u8],
    mut nonces: Nonces,
) -> Result<Signature, EccError> {
    let e = reduce::<C>(&leftmost::<C>(digest));
    loop {
        let k = nonces.next::<C>();
        let Some((r, _)) = x_of::<C>(&C::base(&k)) else {
            continue;
        };
        let inverse = C::invert(&k).ok_or(EccError::Scalar)?;
        let s = *Zeroizing::new(inverse) * (e + r * *d);
        if !bool::from(r.is_zero()) && !bool::from(s.is_zero()) {
            return Ok(Signature {
                r: integer::<C>(&r),
                s: integer::<C>(&s),
            });
        }
    }
}

/// Verifies a signature over a digest.
pub fn verify(public: &Point, digest: &[u8], r: &[u8], s: &[u8]) -> Result<(), EccError> {
    dispatch!(public.curve(), C => verify_on::<C>(public, digest, r, s))
}

fn verify_on<C: Group>(public: &Point, digest: &[u8], r: &[u8], s: &[u8]) -> Result<(), EccError> {
    let q = decode::<C>(public)?;
    let r = scalar::<C>(r).ok_or(EccError::Signature)?;
    let s = scalar::<C>(s).ok_or(EccError::Signature)?;
    let w = C::invert(&s).ok_or(EccError::Signature)?;
    let e = reduce::<C>(&leftmost::<C>(digest));
    match x_of::<C>(&C::base_and_point(&(e * w), &(r * w), &q)) {
        Some((x, _)) if x == r => Ok(()),
        _ => Err(EccError::Signature),
    }
}
