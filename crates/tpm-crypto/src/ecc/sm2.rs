//! SM2 signatures (GB/T 32918.2; Part 1, C.4.4).
//!
//! The digest is that of Z and the message; who calls the TPM computes it. Nothing here depends on the SM2 curve.

use super::{
    EccError, Point, PrivateKey, Signature,
    arithmetic::{Group, decode, dispatch, integer, reduce, scalar, secret, x_of},
    nonce::{HASH, Nonces},
};
use primeorder::elliptic_curve::{Field, Scalar};
use zeroize::Zeroizing;

/// Signs a digest, which counts as a whole modulo the order; `entropy` hedges the nonce.
///
/// The private key n - 1 cannot sign and is [`EccError::Scalar`].
pub fn sign(key: &PrivateKey, digest: &[u8], entropy: &[u8; 32]) -> Result<Signature, EccError> {
    dispatch!(key.curve(), C => {
        let d = secret::<C>(key)?;
        let nonces = Nonces::new::<C>(HASH, &d, digest, &[b"SM2", entropy, digest]);
        sign_on::<C>(&d, digest, nonces)
    })
}

fn sign_on<C: Group>(
    d: &Scalar<C>,
    digest: &[u8],
    mut nonces: Nonces,
) -> Result<Signature, EccError> {
    loop {
        let k = nonces.next::<C>();
        if let Some(signature) = sign_once::<C>(d, digest, &k)? {
            return Ok(signature);
        }
    }
}

/// The signature that a nonce gives, if it gives one.
pub(super) fn sign_once<C: Group>(
    d: &Scalar<C>,
    digest: &[u8],
    k: &Scalar<C>,
) -> Result<Option<Signature>, EccError> {
    let inverse = C::invert(&(Scalar::<C>::ONE + *d))
        .map(Zeroizing::new)
        .ok_or(EccError::Scalar)?;
    let Some((x, _)) = x_of::<C>(&C::base(k)) else {
        return Ok(None);
    };
    let r = reduce::<C>(digest) + x;
    let s = *inverse * (*k - r * *d);
    let unusable = r.is_zero() | (r + *k).is_zero() | s.is_zero();
    Ok((!bool::from(unusable)).then(|| Signature {
        r: integer::<C>(&r),
        s: integer::<C>(&s),
    }))
}

/// Verifies a signature over a digest.
pub fn verify(public: &Point, digest: &[u8], r: &[u8], s: &[u8]) -> Result<(), EccError> {
    dispatch!(public.curve(), C => verify_on::<C>(public, digest, r, s))
}

fn verify_on<C: Group>(public: &Point, digest: &[u8], r: &[u8], s: &[u8]) -> Result<(), EccError> {
    let q = decode::<C>(public)?;
    let r = scalar::<C>(r).ok_or(EccError::Signature)?;
    let s = scalar::<C>(s).ok_or(EccError::Signature)?;
    let t = r + s;
    if bool::from(t.is_zero()) {
        return Err(EccError::Signature);
    }
    match x_of::<C>(&C::base_and_point(&s, &t, &q)) {
        Some((x, _)) if reduce::<C>(digest) + x == r => Ok(()),
        _ => Err(EccError::Signature),
    }
}
