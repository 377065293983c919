//! Elliptic curves: keys, points, signatures and key exchange (Part 1, Annex C).
//!
//! Every curve is a short Weierstrass curve of prime order, so one generic implementation over `primeorder` serves all
//! eight. What touches a secret runs in constant time; verification does not. Integers cross this interface as
//! big-endian octets, points as affine coordinates; the point at infinity has no representation and is an error.

mod arithmetic;
mod bn;
pub mod ecdaa;
pub mod ecdsa;
pub mod encryption;
pub mod exchange;
mod nist_p256;
mod nonce;
mod parameters;
pub mod schnorr;
pub mod sm2;
#[cfg(test)]
mod tests;

use arithmetic::{Group, decode, dispatch, encode, public_key, reduce};
use core::{fmt, ops::Deref};
use primeorder::elliptic_curve::{
    bigint::{NonZero, U768},
    ops::LinearCombination,
};
use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use parameters::Parameters;

/// Octets of the largest field element and of the largest order (BN-P638).
pub const MAX_BYTES: usize = 80;

/// A curve of the TCG Algorithm Registry (`TPM_ECC_CURVE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// NIST P-192, secp192r1.
    NistP192,
    /// NIST P-224, secp224r1.
    NistP224,
    /// NIST P-256, secp256r1.
    NistP256,
    /// NIST P-384, secp384r1.
    NistP384,
    /// NIST P-521, secp521r1.
    NistP521,
    /// Barreto-Naehrig curve of 256 bits (ISO/IEC 15946-5).
    BnP256,
    /// Barreto-Naehrig curve of 638 bits (ISO/IEC 15946-5).
    BnP638,
    /// The SM2 curve (GB/T 32918.5).
    Sm2P256,
}

impl Curve {
    /// Every curve, in the order of the registry.
    pub const ALL: [Self; 8] = [
        Self::NistP192,
        Self::NistP224,
        Self::NistP256,
        Self::NistP384,
        Self::NistP521,
        Self::BnP256,
        Self::BnP638,
        Self::Sm2P256,
    ];

    /// Size of the curve in bits: of its field and, for all of these curves, of its order.
    #[must_use]
    pub const fn bits(self) -> u16 {
        match self {
            Self::NistP192 => 192,
            Self::NistP224 => 224,
            Self::NistP256 | Self::BnP256 | Self::Sm2P256 => 256,
            Self::NistP384 => 384,
            Self::NistP521 => 521,
            Self::BnP638 => 638,
        }
    }

    /// Octets of a coordinate.
    #[must_use]
    pub const fn field_bytes(self) -> usize {
        self.parameters().p.len()
    }

    /// Octets of the order, of a private key and of each half of a signature.
    #[must_use]
    pub const fn order_bytes(self) -> usize {
        self.parameters().n.len()
    }
}

/// Why an operation on a curve gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EccError {
    /// The result is the point at infinity (`TPM_RC_NO_RESULT`).
    Infinity,
    /// A point or a key belongs to another curve than the operation.
    Curve,
    /// A scalar is outside the range that the scheme allows.
    Scalar,
    /// The signature does not verify.
    Signature,
    /// The text does not match the digest that came with it.
    Ciphertext,
}

impl fmt::Display for EccError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Infinity => "the result is the point at infinity",
            Self::Curve => "point or key of another curve",
            Self::Scalar => "scalar outside its range",
            Self::Signature => "signature does not verify",
            Self::Ciphertext => "ciphertext does not match its digest",
        })
    }
}

impl core::error::Error for EccError {}

/// A big-endian integer of at most [`MAX_BYTES`] octets, held in place. Reads as a byte slice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Integer {
    octets: [u8; MAX_BYTES],
    len: usize,
}

impl Integer {
    /// The octets; those beyond [`MAX_BYTES`] do not exist in any of the callers.
    fn new(octets: &[u8]) -> Self {
        let mut value = Self {
            octets: [0; MAX_BYTES],
            len: octets.len().min(MAX_BYTES),
        };
        for (to, from) in value.octets.iter_mut().zip(octets) {
            *to = *from;
        }
        value
    }

    /// The same integer without leading zero octets.
    fn trimmed(octets: &[u8]) -> Self {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        Self::new(octets.get(zeros..).unwrap_or_default())
    }
}

impl Deref for Integer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.iter() {
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

impl Zeroize for Integer {
    fn zeroize(&mut self) {
        self.octets.zeroize();
    }
}

/// A point that is on its curve and not at infinity, in affine coordinates (`TPMS_ECC_POINT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    curve: Curve,
    x: Integer,
    y: Integer,
}

impl Point {
    /// The curve that the point is on.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    /// The x coordinate, padded to the size of a field element.
    #[must_use]
    pub fn x(&self) -> &[u8] {
        &self.x
    }

    /// The y coordinate, padded to the size of a field element.
    #[must_use]
    pub fn y(&self) -> &[u8] {
        &self.y
    }
}

impl Zeroize for Point {
    /// Wipes the coordinates, for a point that is a shared secret; the value is no point afterwards.
    fn zeroize(&mut self) {
        self.x.zeroize();
        self.y.zeroize();
    }
}

/// A private key: a scalar between 0 and the order, exclusive; wiped when dropped and never printed.
#[derive(Clone)]
pub struct PrivateKey {
    curve: Curve,
    scalar: Integer,
}

impl PrivateKey {
    /// Takes a stored private key; shorter and zero-padded values are accepted, those out of range are not.
    #[must_use]
    pub fn new(curve: Curve, octets: &[u8]) -> Option<Self> {
        dispatch!(curve, C => arithmetic::private_key::<C>(octets))
    }

    /// The curve of the key.
    #[must_use]
    pub const fn curve(&self) -> Curve {
        self.curve
    }

    /// The scalar, padded to the size of the order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.scalar
    }

    /// The public point of the key.
    #[must_use]
    pub fn public(&self) -> Point {
        dispatch!(self.curve, C => public_key::<C>(self))
    }
}

impl ConstantTimeEq for PrivateKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        Choice::from(u8::from(self.curve == other.curve)) & self.scalar.ct_eq(&other.scalar)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("curve", &self.curve)
            .finish_non_exhaustive()
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}

impl ZeroizeOnDrop for PrivateKey {}

/// The two halves of a signature (`TPMS_SIGNATURE_ECC`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The first half; for ECDAA the nonce.
    pub r: Integer,
    /// The second half.
    pub s: Integer,
}

/// The point with these coordinates, if there is one on the curve.
///
/// Coordinates may be shorter than a field element or padded with zeros; one not below the prime is refused.
#[must_use]
pub fn on_curve(curve: Curve, x: &[u8], y: &[u8]) -> Option<Point> {
    dispatch!(curve, C => arithmetic::point::<C>(x, y))
}

/// Whether the octets are a private key of the curve: above zero and below the order.
#[must_use]
pub fn valid_private(curve: Curve, octets: &[u8]) -> bool {
    PrivateKey::new(curve, octets).is_some()
}

/// `scalar`·`point`; the scalar counts modulo the order.
pub fn multiply(curve: Curve, scalar: &[u8], point: &Point) -> Result<Point, EccError> {
    dispatch!(curve, C => {
        let point = decode::<C>(point)?;
        encode::<C>(C::times(&Zeroizing::new(reduce::<C>(scalar)), &point))
    })
}

/// `scalar`·G; the scalar counts modulo the order.
pub fn multiply_base(curve: Curve, scalar: &[u8]) -> Result<Point, EccError> {
    dispatch!(curve, C => encode::<C>(C::base(&Zeroizing::new(reduce::<C>(scalar)))))
}

/// `a`·`p` + `b`·`q`; the scalars count modulo the order.
pub fn multiply_add(
    curve: Curve,
    a: &[u8],
    p: &Point,
    b: &[u8],
    q: &Point,
) -> Result<Point, EccError> {
    dispatch!(curve, C => {
        let terms = Zeroizing::new([
            (decode::<C>(p)?.into(), reduce::<C>(a)),
            (decode::<C>(q)?.into(), reduce::<C>(b)),
        ]);
        encode::<C>(primeorder::ProjectivePoint::<C>::lincomb(&*terms).to_affine())
    })
}

/// Makes a key pair by the method of extra random bits (FIPS 186-5, A.2.1).
///
/// One request for the octets of the order plus 64 bits, read as a big-endian integer, modulo the order less one, plus
/// one. Primary keys are derived through here: how the octets are drawn and used must never change.
pub fn generate(curve: Curve, rng: &mut impl CryptoRng) -> (PrivateKey, Point) {
    let key = generate_private(curve, rng);
    let public = key.public();
    (key, public)
}

/// The private half of [`generate`], for a scalar whose point nobody needs.
pub fn generate_private(curve: Curve, rng: &mut impl CryptoRng) -> PrivateKey {
    let mut drawn = Zeroizing::new([0_u8; U768::BYTES]);
    let skip = U768::BYTES - curve.order_bytes() - 8;
    rng.fill_bytes(drawn.get_mut(skip..).unwrap_or_default());
    let drawn = Zeroizing::new(U768::from_be_slice(drawn.as_slice()));

    let mut order = [0_u8; U768::BYTES];
    for (to, from) in order
        .iter_mut()
        .rev()
        .zip(curve.parameters().n.iter().rev())
    {
        *to = *from;
    }
    let below = U768::from_be_slice(&order).wrapping_sub(&U768::ONE);
    // The order of no curve is 1, so the fallback is never taken.
    let below = NonZero::new(below).unwrap_or(NonZero::<U768>::ONE);
    let value = Zeroizing::new(drawn.rem(&below).wrapping_add(&U768::ONE));
    let octets = Zeroizing::new(value.to_be_bytes());
    let skip = U768::BYTES - curve.order_bytes();
    PrivateKey {
        curve,
        scalar: Integer::new(octets.as_ref().get(skip..).unwrap_or_default()),
    }
}
