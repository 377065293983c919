//! Key exchange in two phases (Part 1, C.6; Part 3, 14.8); one-phase ECDH is [`super::multiply`].
//!
//! The cofactor of every curve is 1, so cofactor multiplication is no step of its own.

use super::{
    EccError, Point, PrivateKey,
    arithmetic::{Group, decode, dispatch, encode, reduce, secret, x_of},
    multiply,
};
use primeorder::{AffinePoint, ProjectivePoint, elliptic_curve::Scalar};
use zeroize::Zeroizing;

/// Full unified model ECDH: the static and the ephemeral shared points.
pub fn ecdh(
    static_key: &PrivateKey,
    ephemeral_key: &PrivateKey,
    static_peer: &Point,
    ephemeral_peer: &Point,
) -> Result<(Point, Point), EccError> {
    Ok((
        multiply(static_key.curve(), static_key.as_bytes(), static_peer)?,
        multiply(
            ephemeral_key.curve(),
            ephemeral_key.as_bytes(),
            ephemeral_peer,
        )?,
    ))
}

/// Full ECMQV (SP 800-56A, 5.7.2.3).
pub fn mqv(
    static_key: &PrivateKey,
    ephemeral_key: &PrivateKey,
    static_peer: &Point,
    ephemeral_peer: &Point,
) -> Result<Point, EccError> {
    dispatch!(static_key.curve(), C => {
        let static_key = secret::<C>(static_key)?;
        let ephemeral_key = secret::<C>(ephemeral_key)?;
        let static_peer = decode::<C>(static_peer)?;
        let ephemeral_peer = decode::<C>(ephemeral_peer)?;
        let bits = C::CURVE.bits().div_ceil(2);

        let ours = associate::<C>(&C::base(&ephemeral_key), bits)?;
        let theirs = associate::<C>(&ephemeral_peer, bits)?;
        let implicit = Zeroizing::new(*ephemeral_key + ours * *static_key);
        let peer = sum::<C>(C::times(&theirs, &static_peer), ephemeral_peer);
        encode::<C>(C::times(&implicit, &peer))
    })
}

/// SM2 key exchange (GB/T 32918.3), up to the shared point U = V.
///
/// It differs from [`mqv`] in what the associate value multiplies and in its size, half the order less one bit.
pub fn sm2(
    static_key: &PrivateKey,
    ephemeral_key: &PrivateKey,
    static_peer: &Point,
    ephemeral_peer: &Point,
) -> Result<Point, EccError> {
    dispatch!(static_key.curve(), C => {
        let static_key = secret::<C>(static_key)?;
        let ephemeral_key = secret::<C>(ephemeral_key)?;
        let static_peer = decode::<C>(static_peer)?;
        let ephemeral_peer = decode::<C>(ephemeral_peer)?;
        let bits = C::CURVE.bits().div_ceil(2) - 1;

        let ours = associate::<C>(&C::base(&ephemeral_key), bits)?;
        let theirs = associate::<C>(&ephemeral_peer, bits)?;
        let implicit = Zeroizing::new(*static_key + ours * *ephemeral_key);
        let peer = sum::<C>(C::times(&theirs, &ephemeral_peer), static_peer);
        encode::<C>(C::times(&implicit, &peer))
    })
}

fn sum<C: Group>(a: AffinePoint<C>, b: AffinePoint<C>) -> AffinePoint<C> {
    (ProjectivePoint::<C>::from(a) + b).to_affine()
}

/// The associate value of a point: the lowest `bits` bits of x, plus two to the power `bits`.
fn associate<C: Group>(point: &AffinePoint<C>, bits: u16) -> Result<Scalar<C>, EccError> {
    let (_, mut x) = x_of::<C>(point).ok_or(EccError::Infinity)?;
    let mut index = 0_u16;
    for octet in x.iter_mut().rev() {
        let set = bits.checked_sub(index).map_or(0, |rest| match rest {
            0..8 => 1_u8 << rest,
            _ => 0,
        });
        let kept = match bits.saturating_sub(index) {
            rest @ 0..8 => !(0xff_u8 << rest),
            _ => 0xff,
        };
        *octet = *octet & kept | set;
        index += 8;
    }
    Ok(reduce::<C>(&x))
}
