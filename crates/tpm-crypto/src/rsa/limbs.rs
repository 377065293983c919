//! Plain arithmetic on limbs: 64 bits each, least significant first. Time depends on lengths only.

use alloc::vec;
use alloc::vec::Vec;

use crypto_bigint::{BoxedUint, Gcd, Odd, U64};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// Limbs that are wiped when dropped.
pub(crate) type Limbs = Zeroizing<Vec<u64>>;

/// The limbs of a big-endian number, as many as its bytes fill.
pub(crate) fn from_bytes(bytes: &[u8]) -> Limbs {
    let limbs = bytes.rchunks(8).map(|chunk| {
        chunk
            .iter()
            .fold(0, |limb, &byte| limb << 8 | u64::from(byte))
    });
    Zeroizing::new(limbs.collect())
}

/// The low `length` bytes of a number, big-endian.
pub(crate) fn to_bytes(limbs: &[u64], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    for (chunk, limb) in out.rchunks_mut(8).zip(limbs) {
        let skip = 8 - chunk.len().min(8);
        for (byte, from) in chunk.iter_mut().zip(limb.to_be_bytes().iter().skip(skip)) {
            *byte = *from;
        }
    }
    out
}

/// `a - b` of equal lengths, and 1 if that was negative.
pub(crate) fn subtract(a: &[u64], b: &[u64]) -> (Limbs, u64) {
    let mut borrow = 0;
    let limbs = a.iter().zip(b).map(|(&a, &b)| {
        let (difference, first) = a.overflowing_sub(b);
        let (difference, second) = difference.overflowing_sub(borrow);
        borrow = u64::from(first | second);
        difference
    });
    (Zeroizing::new(limbs.collect()), borrow)
}

/// Whether `a < b`, of equal lengths.
pub(crate) fn less(a: &[u64], b: &[u64]) -> bool {
    let mut borrow = false;
    for (&a, &b) in a.iter().zip(b) {
        let (difference, first) = a.overflowing_sub(b);
        let (_, second) = difference.overflowing_sub(u64::from(borrow));
        borrow = first | second;
    }
    borrow
}

/// `2^bits - x`, modulo the length of `x`.
pub(crate) fn negative(x: &[u64]) -> Limbs {
    let mut out = Zeroizing::new(x.iter().map(|limb| !limb).collect::<Vec<_>>());
    add_small(&mut out, 1);
    out
}

/// `x * 2^by mod n`, for `x` below `n`, whose top bit is set. Time depends on the numbers: for public ones only.
pub(crate) fn shift_modulo(x: &mut [u64], n: &[u64], by: usize) {
    const STEP: usize = 32;
    let top = u128::from(n.last().copied().unwrap_or(0)) + 1;
    for done in (0..by).step_by(STEP) {
        let step = STEP.min(by - done);
        // At most one less than the true quotient, since it is short.
        let quotient = word((u128::from(x.last().copied().unwrap_or(0)) << step) / top);
        let (mut shifted_out, mut carry, mut borrow) = (0, 0, false);
        for (x, &n) in x.iter_mut().zip(n) {
            let shifted = *x << step | shifted_out;
            shifted_out = *x >> (64 - step);
            let (product, high) = quotient.carrying_mul_add(n, carry, 0);
            carry = high;
            (*x, borrow) = shifted.borrowing_sub(product, borrow);
        }
        let above = shifted_out
            .wrapping_sub(carry)
            .wrapping_sub(u64::from(borrow));
        if above != 0 || !less(x, n) {
            let (reduced, _) = subtract(x, n);
            x.copy_from_slice(&reduced);
        }
    }
}

/// Adds a small number; 1 if the sum does not fit.
pub(crate) fn add_small(limbs: &mut [u64], small: u64) -> u64 {
    limbs.iter_mut().fold(small, |carry, limb| {
        let (sum, over) = limb.overflowing_add(carry);
        *limb = sum;
        u64::from(over)
    })
}

/// Adds a number that is not longer; 1 if the sum does not fit.
pub(crate) fn add(limbs: &mut [u64], other: &[u64]) -> u64 {
    let (low, high) = limbs.split_at_mut(other.len().min(limbs.len()));
    let mut carry = false;
    for (limb, &other) in low.iter_mut().zip(other) {
        (*limb, carry) = limb.carrying_add(other, carry);
    }
    add_small(high, u64::from(carry))
}

/// The product, as long as both factors together.
pub(crate) fn multiply(a: &[u64], b: &[u64]) -> Limbs {
    let mut out = Zeroizing::new(vec![0; a.len() + b.len()]);
    for (i, &x) in a.iter().enumerate() {
        add_multiple(out.get_mut(i..).unwrap_or_default(), b, x);
    }
    out
}

/// `out += b * x`.
pub(crate) fn add_multiple(out: &mut [u64], b: &[u64], x: u64) {
    let mut carry = 0;
    let (low, high) = out.split_at_mut(b.len().min(out.len()));
    for (out, &y) in low.iter_mut().zip(b) {
        (*out, carry) = x.carrying_mul_add(y, *out, carry);
    }
    add_small(high, carry);
}

/// `a / b` if `b` divides `a` exactly, with a quotient of as many limbs as `a` has more than `b`; `b` is odd.
pub(crate) fn divide_exactly(a: &[u64], b: &[u64]) -> Option<Limbs> {
    let length = a.len().checked_sub(b.len())?;
    let inverse = inverse_of_odd(*b.first()?);
    let mut rest = Zeroizing::new(a.get(..length)?.to_vec());
    let mut quotient = Zeroizing::new(vec![0; length]);
    for (i, digit) in quotient.iter_mut().enumerate() {
        let rest = rest.get_mut(i..)?;
        *digit = rest.first()?.wrapping_mul(inverse);
        subtract_multiple(rest, b, *digit);
    }
    bool::from(equal(&multiply(&quotient, b), a)).then_some(quotient)
}

/// `rest -= b * x`, modulo the length of `rest`.
fn subtract_multiple(rest: &mut [u64], b: &[u64], x: u64) {
    let mut borrow = 0;
    let padded = b.iter().copied().chain(core::iter::repeat(0));
    for (rest, y) in rest.iter_mut().zip(padded) {
        let (low, high) = x.carrying_mul_add(y, 0, borrow);
        let (difference, under) = rest.overflowing_sub(low);
        *rest = difference;
        borrow = high + u64::from(under);
    }
}

/// Divides exactly by an odd word, in place.
pub(crate) fn divide_by_word(limbs: &mut [u64], divisor: u64) {
    let inverse = inverse_of_odd(divisor);
    let mut borrow = 0;
    for limb in limbs {
        let (difference, under) = limb.overflowing_sub(borrow);
        *limb = difference.wrapping_mul(inverse);
        let (_, high) = limb.carrying_mul(divisor, 0);
        borrow = high + u64::from(under);
    }
}

/// The remainder by an odd word, without a division whose time depends on the limbs.
pub(crate) fn remainder_by_word(limbs: &[u64], divisor: u64) -> u64 {
    remainder_scaled(limbs, divisor, power_of_word(limbs.len(), divisor))
}

/// The remainder by an odd word, given `power_of_word` of the number of limbs.
pub(crate) fn remainder_scaled(limbs: &[u64], divisor: u64, scale: u64) -> u64 {
    let negative_inverse = inverse_of_odd(divisor).wrapping_neg();
    // Montgomery reduction from the low end gives the remainder times 2^-64 for each limb.
    let reduced = limbs.iter().fold(0, |rest: u64, &limb| {
        let (sum, over) = limb.overflowing_add(rest);
        let factor = sum.wrapping_mul(negative_inverse);
        // At most the divisor, overflow included, since the whole is below 2^64 * (divisor + 1).
        let (_, high) = factor.carrying_mul_add(divisor, sum, 0);
        high + u64::from(over)
    });
    word(u128::from(reduced) * u128::from(scale) % u128::from(divisor))
}

/// `2^(64 * exponent)` modulo a word.
pub(crate) fn power_of_word(exponent: usize, modulus: u64) -> u64 {
    let wide = u128::from(modulus);
    let base = (1u128 << 64) % wide;
    let bits = usize::BITS - exponent.leading_zeros();
    let power = (0..bits).rev().fold(1 % wide, |power, bit| {
        let square = power * power % wide;
        if exponent >> bit & 1 == 1 {
            square * base % wide
        } else {
            square
        }
    });
    word(power)
}

/// The inverse of a word modulo an odd word.
pub(crate) fn invert_word(x: u64, modulus: u64) -> Option<u64> {
    let odd = Option::<Odd<U64>>::from(Odd::new(U64::from_u64(modulus)))?;
    let inverse: Option<U64> = U64::from_u64(x).invert_odd_mod(&odd).into();
    inverse.map(u64::from)
}

/// The inverse of a number modulo an odd number of the same length.
pub(crate) fn invert(x: &[u64], modulus: &[u64]) -> Option<Limbs> {
    let odd = Option::<Odd<BoxedUint>>::from(Odd::new(boxed(modulus)))?;
    let inverse: Option<BoxedUint> = boxed(x).invert_odd_mod(&odd).into();
    inverse.map(|inverse| Zeroizing::new(inverse.as_words().to_vec()))
}

/// The greatest common divisor of `p - 1` and `q - 1`, for odd numbers.
pub(crate) fn common_divisor(p: &[u64], q: &[u64]) -> Limbs {
    let less_one = |x: &[u64]| {
        let mut x = Zeroizing::new(x.to_vec());
        if let Some(low) = x.first_mut() {
            *low &= !1;
        }
        boxed(&x)
    };
    Zeroizing::new(less_one(p).gcd(&less_one(q)).as_words().to_vec())
}

fn boxed(limbs: &[u64]) -> BoxedUint {
    BoxedUint::from_words(limbs.iter().copied())
}

/// `1 / x` modulo 2^64, for an odd word.
pub(crate) fn inverse_of_odd(x: u64) -> u64 {
    let mut inverse = 1u64;
    for _ in 0..6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(x.wrapping_mul(inverse)));
    }
    inverse
}

/// Whether two numbers of the same length are equal.
pub(crate) fn equal(a: &[u64], b: &[u64]) -> Choice {
    a.ct_eq(b)
}

/// Bits without leading zeros; time depends on the number of leading zero limbs.
pub(crate) fn bit_length(limbs: &[u64]) -> usize {
    match limbs.iter().rposition(|&limb| limb != 0) {
        Some(top) => {
            let zeros = limbs.get(top).map_or(64, |limb| limb.leading_zeros());
            (top + 1) * 64 - usize::try_from(zeros).unwrap_or(64)
        }
        None => 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder by a word")]
pub(crate) fn word(x: u128) -> u64 {
    x as u64
}
