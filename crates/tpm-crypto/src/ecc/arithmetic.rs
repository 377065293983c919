//! The bridge between octets and the generic curve arithmetic, and the choice of the curve at run time.

use super::{Curve, EccError, Integer, Point, PrivateKey, bn, nist_p256};
use alloc::{boxed::Box, vec::Vec};
use once_cell::race::OnceBox;
use primeorder::{
    AffinePoint, LookupTable, PrimeCurveParams, ProjectivePoint, Radix16Decomposition,
    Radix16Digits,
    elliptic_curve::{
        Field, FieldBytes, FieldBytesSize, PrimeField, Scalar,
        array::typenum::Unsigned,
        ops::{Double, LinearCombination, MulByGeneratorVartime},
        point::AffineCoordinates,
    },
};
use zeroize::Zeroizing;

/// Runs one generic expression with the type that implements the curve.
///
/// A macro, because the curves share no type; it is the only place that lists them.
macro_rules! dispatch {
    ($curve:expr, $type:ident => $body:expr) => {
        match $curve {
            $crate::ecc::Curve::NistP192 => {
                type $type = p192::NistP192;
                $body
            }
            $crate::ecc::Curve::NistP224 => {
                type $type = p224::NistP224;
                $body
            }
            $crate::ecc::Curve::NistP256 => {
                type $type = p256::NistP256;
                $body
            }
            $crate::ecc::Curve::NistP384 => {
                type $type = p384::NistP384;
                $body
            }
            $crate::ecc::Curve::NistP521 => {
                type $type = p521::NistP521;
                $body
            }
            $crate::ecc::Curve::BnP256 => {
                type $type = $crate::ecc::bn::BnP256;
                $body
            }
            $crate::ecc::Curve::BnP638 => {
                type $type = $crate::ecc::bn::BnP638;
                $body
            }
            $crate::ecc::Curve::Sm2P256 => {
                type $type = ::sm2::Sm2;
                $body
            }
        }
    };
}
pub(super) use dispatch;

/// Multiples of the base point: entry i holds 1 to 8 times 2^(8 i)·G.
type BaseTable<C> = OnceBox<Vec<LookupTable<ProjectivePoint<C>>>>;

/// What the schemes need of a curve beyond the arithmetic of `primeorder`.
pub(super) trait Group: PrimeCurveParams {
    /// The curve that the type implements.
    const CURVE: Curve;

    /// Multiples of the base point, computed at the first use: a constant, so who computes it makes no difference.
    fn table() -> &'static BaseTable<Self>;

    /// `scalar`·G in constant time: two chains of additions, for the even and the odd digits, and four doublings.
    fn base(scalar: &Scalar<Self>) -> AffinePoint<Self> {
        let table = Self::table().get_or_init(|| Box::new(base_table::<Self>()));
        let digits = Radix16Decomposition::<Radix16Digits<Self>>::new(scalar);
        let mut even = ProjectivePoint::<Self>::IDENTITY;
        let mut odd = ProjectivePoint::<Self>::IDENTITY;
        for (index, multiples) in table.iter().enumerate() {
            even += multiples.select(digits[2 * index]);
            if index < FieldBytesSize::<Self>::USIZE {
                odd += multiples.select(digits[2 * index + 1]);
            }
        }
        for _ in 0..4 {
            odd.double_in_place();
        }
        (even + odd).to_affine()
    }

    /// `scalar`·`point` in constant time.
    fn times(scalar: &Scalar<Self>, point: &AffinePoint<Self>) -> AffinePoint<Self> {
        (ProjectivePoint::from(*point) * *scalar).to_affine()
    }

    /// `a`·G + `b`·`point` in variable time, for verification.
    fn base_and_point(
        a: &Scalar<Self>,
        b: &Scalar<Self>,
        point: &AffinePoint<Self>,
    ) -> AffinePoint<Self> {
        ProjectivePoint::<Self>::mul_by_generator_and_mul_add_vartime(a, b, &(*point).into())
            .to_affine()
    }

    /// One over a scalar, in constant time; `None` for zero.
    fn invert(scalar: &Scalar<Self>) -> Option<Scalar<Self>> {
        Field::invert(scalar).into()
    }
}

/// Implements [`Group`]; a macro, because a generic function cannot own one static per type.
macro_rules! groups {
    ($($type:ty => $curve:ident $({ $($item:item)+ })?),+ $(,)?) => { $(
        impl Group for $type {
            const CURVE: Curve = Curve::$curve;

            fn table() -> &'static BaseTable<Self> {
                static TABLE: BaseTable<$type> = OnceBox::new();
                &TABLE
            }

            $($($item)+)?
        }
    )+ };
}

groups! {
    p192::NistP192 => NistP192,
    p224::NistP224 => NistP224,
    p256::NistP256 => NistP256 {
        fn base(scalar: &Scalar<Self>) -> AffinePoint<Self> {
            nist_p256::base(scalar)
        }

        fn times(scalar: &Scalar<Self>, point: &AffinePoint<Self>) -> AffinePoint<Self> {
            nist_p256::times(scalar, point)
        }

        fn base_and_point(
            a: &Scalar<Self>,
            b: &Scalar<Self>,
            point: &AffinePoint<Self>,
        ) -> AffinePoint<Self> {
            nist_p256::base_and_point(a, b, point)
        }

        fn invert(scalar: &Scalar<Self>) -> Option<Scalar<Self>> {
            nist_p256::invert(scalar)
        }
    },
    p384::NistP384 => NistP384,
    p521::NistP521 => NistP521,
    bn::BnP256 => BnP256,
    // The variable-time multiplication of the library has no array type for 639 digits, so this curve verifies in constant time.
    bn::BnP638 => BnP638 {
        fn base_and_point(
            a: &Scalar<Self>,
            b: &Scalar<Self>,
            point: &AffinePoint<Self>,
        ) -> AffinePoint<Self> {
            ProjectivePoint::lincomb(&[(ProjectivePoint::GENERATOR, *a), ((*point).into(), *b)])
                .to_affine()
        }
    },
    sm2::Sm2 => Sm2P256,
}

/// Computes the multiples of the base point that [`Group::base`] adds up.
fn base_table<C: Group>() -> Vec<LookupTable<ProjectivePoint<C>>> {
    let mut point = ProjectivePoint::<C>::GENERATOR;
    let mut table = Vec::with_capacity(FieldBytesSize::<C>::USIZE + 1);
    for _ in 0..=FieldBytesSize::<C>::USIZE {
        table.push(LookupTable::new(point));
        for _ in 0..8 {
            point.double_in_place();
        }
    }
    table
}

/// A big-endian integer of any length modulo the characteristic of a field: of the curve's or of its scalars.
pub(super) fn reduce_into<F: PrimeField>(octets: &[u8]) -> F {
    let shift = F::from(1 << 32).square();
    let mut value = F::ZERO;
    let (head, words) = octets.as_rchunks::<8>();
    for octet in head {
        value = value * F::from(1 << 8) + F::from(u64::from(*octet));
    }
    for word in words {
        value = value * shift + F::from(u64::from_be_bytes(*word));
    }
    value
}

/// A big-endian integer of any length modulo the order.
pub(super) fn reduce<C: Group>(octets: &[u8]) -> Scalar<C> {
    reduce_into(octets)
}

/// The octets at the size of a field element, unless the integer needs more.
fn padded<C: Group>(octets: &[u8]) -> Option<FieldBytes<C>> {
    let excess = octets.len().saturating_sub(FieldBytesSize::<C>::USIZE);
    let (excess, octets) = octets.split_at_checked(excess)?;
    if excess.iter().any(|octet| *octet != 0) {
        return None;
    }
    let mut value = FieldBytes::<C>::default();
    for (to, from) in value.iter_mut().rev().zip(octets.iter().rev()) {
        *to = *from;
    }
    Some(value)
}

/// A scalar above zero and below the order.
pub(super) fn scalar<C: Group>(octets: &[u8]) -> Option<Scalar<C>> {
    let octets = Zeroizing::new(padded::<C>(octets)?);
    let value = Option::<Scalar<C>>::from(Scalar::<C>::from_repr(*octets))?;
    (!bool::from(value.is_zero())).then_some(value)
}

/// The leftmost bits of the octets, as many as the order has (FIPS 186-5, 6.4.1), as an integer of [`MAX_BYTES`].
pub(super) fn leftmost<C: Group>(octets: &[u8]) -> Integer {
    let octets = octets.get(..C::CURVE.order_bytes()).unwrap_or(octets);
    let bits = u32::from(C::CURVE.bits());
    let excess = (u32::try_from(octets.len()).unwrap_or(0) * 8).saturating_sub(bits);
    let mut value = Integer::new(octets);
    let mut carry = 0_u8;
    for octet in value.octets.iter_mut().take(octets.len()) {
        let shifted = u16::from_be_bytes([carry, *octet]) >> excess;
        carry = *octet;
        [_, *octet] = shifted.to_be_bytes();
    }
    value
}

/// A scalar as octets.
pub(super) fn integer<C: Group>(scalar: &Scalar<C>) -> Integer {
    Integer::new(scalar.to_repr().as_ref())
}

/// The x coordinate of a point modulo the order, and the octets of the coordinate; `None` at infinity.
pub(super) fn x_of<C: Group>(point: &AffinePoint<C>) -> Option<(Scalar<C>, FieldBytes<C>)> {
    if bool::from(point.is_identity()) {
        return None;
    }
    let x = point.x();
    Some((reduce::<C>(&x), x))
}

/// The point with these coordinates, if it is on the curve.
pub(super) fn point<C: Group>(x: &[u8], y: &[u8]) -> Option<Point> {
    let (x, y) = (padded::<C>(x)?, padded::<C>(y)?);
    bool::from(AffinePoint::<C>::from_coordinates(&x, &y).is_some()).then(|| Point {
        curve: C::CURVE,
        x: Integer::new(&x),
        y: Integer::new(&y),
    })
}

/// The private key with these octets, if they are in range.
pub(super) fn private_key<C: Group>(octets: &[u8]) -> Option<PrivateKey> {
    let value = Zeroizing::new(scalar::<C>(octets)?);
    Some(PrivateKey {
        curve: C::CURVE,
        scalar: integer::<C>(&value),
    })
}

/// The scalar of a private key of this curve.
pub(super) fn secret<C: Group>(key: &PrivateKey) -> Result<Zeroizing<Scalar<C>>, EccError> {
    if key.curve != C::CURVE {
        return Err(EccError::Curve);
    }
    Ok(Zeroizing::new(reduce::<C>(&key.scalar)))
}

/// The public point of a private key, which the caller found to be of this curve.
pub(super) fn public_key<C: Group>(key: &PrivateKey) -> Point {
    let affine = C::base(&Zeroizing::new(reduce::<C>(&key.scalar)));
    // A private key is not zero modulo the prime order, so the point is not at infinity.
    Point {
        curve: C::CURVE,
        x: Integer::new(&affine.x()),
        y: Integer::new(&affine.y()),
    }
}

/// A point as the arithmetic knows it.
pub(super) fn decode<C: Group>(point: &Point) -> Result<AffinePoint<C>, EccError> {
    if point.curve != C::CURVE {
        return Err(EccError::Curve);
    }
    padded::<C>(&point.x)
        .zip(padded::<C>(&point.y))
        .and_then(|(x, y)| Option::from(AffinePoint::<C>::from_coordinates(&x, &y)))
        .ok_or(EccError::Curve)
}

/// A result of the arithmetic, unless it is at infinity.
pub(super) fn encode<C: Group>(point: AffinePoint<C>) -> Result<Point, EccError> {
    if bool::from(point.is_identity()) {
        return Err(EccError::Infinity);
    }
    Ok(Point {
        curve: C::CURVE,
        x: Integer::new(&point.x()),
        y: Integer::new(&point.y()),
    })
}
