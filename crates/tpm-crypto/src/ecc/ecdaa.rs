//! ECDAA: the TPM's half of anonymous signatures in two steps, commit and sign (Part 1, C.4.2).

use super::{
    Curve, EccError, Integer, Point, PrivateKey, Signature,
    arithmetic::{Group, decode, dispatch, encode, integer, reduce, reduce_into, secret},
    generate_private, on_curve,
};
use crate::hash::{HashAlgorithm, hash, hmac};
use primeorder::{
    ProjectivePoint,
    elliptic_curve::{Field, PrimeField, Scalar, hazmat::FieldArithmetic},
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// The secret r of a commitment, from the nonce of the TPM, the name of the key and the counter of the commitment.
///
/// KDFa with the label "ECDAA Commit" at the bits of the order; the block counter runs on over candidates that are not
/// below the order or whose upper half is zero. It follows that r is not zero.
#[must_use]
pub fn commit_nonce(
    curve: Curve,
    alg: HashAlgorithm,
    nonce: &[u8],
    name: &[u8],
    counter: u64,
) -> PrivateKey {
    let bits = u32::from(curve.bits());
    let mut block = 1_u32;
    loop {
        let mut candidate = Zeroizing::new(Integer::new(&[0; super::MAX_BYTES]));
        candidate.len = curve.order_bytes();
        for part in candidate
            .octets
            .get_mut(..curve.order_bytes())
            .unwrap_or_default()
            .chunks_mut(alg.digest_size())
        {
            block = block.wrapping_add(1);
            let output = Zeroizing::new(hmac(
                alg,
                nonce,
                &[
                    &block.to_be_bytes(),
                    b"ECDAA Commit\0",
                    name,
                    &counter.to_be_bytes(),
                    &bits.to_be_bytes(),
                ],
            ));
            for (to, from) in part.iter_mut().zip(output.iter()) {
                *to = *from;
            }
        }
        if let Some(first) = candidate.octets.first_mut() {
            *first &= 0xff >> ((8 - bits % 8) % 8);
        }
        let upper = candidate.get(..=candidate.len / 2).unwrap_or_default();
        if upper.iter().any(|octet| *octet != 0)
            && let Some(r) = PrivateKey::new(curve, &candidate)
        {
            return r;
        }
    }
}

/// The second point of `TPM2_Commit` (Part 3, 19.2): x is the hash of `s2` modulo the prime; `None` if not on the curve.
#[must_use]
pub fn hashed_point(curve: Curve, alg: HashAlgorithm, s2: &[u8], y2: &[u8]) -> Option<Point> {
    let digest = hash(alg, &[s2]);
    dispatch!(curve, C => {
        let x = reduce_into::<<C as FieldArithmetic>::FieldElement>(&digest);
        on_curve(curve, &x.to_repr(), y2)
    })
}

/// What `TPM2_Commit` returns; points that were not asked for are absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// K = d·P2.
    pub k: Option<Point>,
    /// L = r·P2.
    pub l: Option<Point>,
    /// E = r·P1; without either point r·G.
    pub e: Option<Point>,
}

/// Computes a commitment to `r` under the private key (Part 3, 19.2).
pub fn commit(
    key: &PrivateKey,
    r: &PrivateKey,
    p1: Option<&Point>,
    p2: Option<&Point>,
) -> Result<Commitment, EccError> {
    dispatch!(key.curve(), C => commit_on::<C>(key, r, p1, p2))
}

fn commit_on<C: Group>(
    key: &PrivateKey,
    r: &PrivateKey,
    p1: Option<&Point>,
    p2: Option<&Point>,
) -> Result<Commitment, EccError> {
    let d = secret::<C>(key)?;
    let r = secret::<C>(r)?;
    let mut commitment = Commitment {
        k: None,
        l: None,
        e: None,
    };
    if let Some(p2) = p2 {
        let p2 = decode::<C>(p2)?;
        commitment.k = Some(encode::<C>(C::times(&d, &p2))?);
        commitment.l = Some(encode::<C>(C::times(&r, &p2))?);
    }
    match p1 {
        Some(p1) => commitment.e = Some(encode::<C>(C::times(&r, &decode::<C>(p1)?))?),
        None if p2.is_none() => commitment.e = Some(encode::<C>(C::base(&r))?),
        None => {}
    }
    Ok(commitment)
}

/// Signs a digest with the `r` of a commitment: the nonce, without leading zeros, and s = r + T·d with T the hash of
/// nonce and digest.
///
/// A second signature with the same `r` would give the key away: the caller ends the commitment.
pub fn sign(
    key: &PrivateKey,
    alg: HashAlgorithm,
    r: &PrivateKey,
    digest: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Signature, EccError> {
    dispatch!(key.curve(), C => {
        let d = secret::<C>(key)?;
        let r = secret::<C>(r)?;
        loop {
            // Public, but made as a private key is: above zero and below the order.
            let nonce = Integer::trimmed(generate_private(key.curve(), rng).as_bytes());
            if let Some(s) = response::<C>(&d, &r, &challenge::<C>(alg, &nonce, digest)) {
                break Ok(Signature { r: nonce, s });
            }
        }
    })
}

/// s = r + T·d, unless T or s is zero.
fn response<C: Group>(d: &Scalar<C>, r: &Scalar<C>, t: &Scalar<C>) -> Option<Integer> {
    let s = *r + *t * *d;
    (!bool::from(t.is_zero() | s.is_zero())).then(|| integer::<C>(&s))
}

/// T: the hash of nonce and digest modulo the order.
fn challenge<C: Group>(alg: HashAlgorithm, nonce: &[u8], digest: &[u8]) -> Scalar<C> {
    reduce::<C>(&hash(alg, &[nonce, digest]))
}

/// The verifier's step: s·`base` - T·`public`, which is r·`base`.
///
/// With the base point and the public key it recovers E; with P2 and K it recovers L.
pub fn recover(
    alg: HashAlgorithm,
    base: &Point,
    public: &Point,
    digest: &[u8],
    nonce: &[u8],
    s: &[u8],
) -> Result<Point, EccError> {
    dispatch!(base.curve(), C => {
        let t = challenge::<C>(alg, nonce, digest);
        let (base, public) = (decode::<C>(base)?, decode::<C>(public)?);
        let difference =
            ProjectivePoint::<C>::from(C::times(&reduce::<C>(s), &base)) - C::times(&t, &public);
        encode::<C>(difference.to_affine())
    })
}

/// Whether a signature fits a commitment that was made without points, where E = r·G.
pub fn verify(
    public: &Point,
    alg: HashAlgorithm,
    e: &Point,
    digest: &[u8],
    nonce: &[u8],
    s: &[u8],
) -> Result<(), EccError> {
    let curve = public.curve();
    let parameters = curve.parameters();
    let base = on_curve(curve, parameters.gx, parameters.gy).ok_or(EccError::Curve)?;
    if recover(alg, &base, public, digest, nonce, s)? == *e {
        Ok(())
    } else {
        Err(EccError::Signature)
    }
}
