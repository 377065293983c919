//! Modular multiplication in portable code: Montgomery's method on digits of 60 bits.
//!
//! A 64-bit machine multiplies 64 by 64 bits in one instruction, but carrying from limb to limb costs more than the
//! multiplication does, and rustc cannot be told to keep a carry in a flag. Digits of 60 bits need no carry at all: a
//! column of a product is summed in one `u128` and normalised once. A number is cut into tiles of nine digits
//! (540 bits), so that the inner loop is one straight line of 81 multiplications, small enough for the instruction cache and
//! free of branches that depend on the length.
//!
//! The head room above the modulus (at least 24 bits) makes reductions lazy: values may stay below four times the
//! modulus, and doubling is a plain shift. Time depends on the number of tiles, on the length of an exponent in
//! limbs, and on nothing else, except where a name says `public`.
#![expect(
    clippy::indexing_slicing,
    reason = "arrays of fixed length, indexed by constants or by loops over that same length"
)]

use core::hint::black_box;

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::engine::MAX_LIMBS;
use super::limbs;
use super::tile::{Columns, DIGIT_BITS, MASK, TILE, Tile, add_product, add_square, clear, low};

/// Bits that the modulus leaves free at least, see `Modulus::fits`.
const HEAD_ROOM: usize = 24;
const WINDOW: usize = 5;

/// A number below `2^(540 * K)`, least significant digit first.
pub(super) type Digits<const K: usize> = [Tile; K];

/// An odd modulus, ready for Montgomery multiplication with `R = 2^(540 * K)`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Modulus<const K: usize> {
    n: Digits<K>,
    /// `-1 / n` modulo the radix.
    k: u64,
    /// `R mod n`: one, in Montgomery form.
    one: Digits<K>,
    /// `R^2 mod n`: takes a number into Montgomery form.
    r2: Digits<K>,
}

/// Runs `$body` with the constant `$k` set to the number of tiles that a modulus of `$limbs` limbs needs. A macro,
/// because a closure cannot be generic over a constant.
macro_rules! with_tiles {
    ($limbs:expr, $k:ident => $body:expr, else $none:expr) => {
        match $crate::rsa::montgomery::tiles($limbs) {
            1 => {
                const $k: usize = 1;
                $body
            }
            2 => {
                const $k: usize = 2;
                $body
            }
            3 => {
                const $k: usize = 3;
                $body
            }
            4 => {
                const $k: usize = 4;
                $body
            }
            6 => {
                const $k: usize = 6;
                $body
            }
            8 => {
                const $k: usize = 8;
                $body
            }
            _ => $none,
        }
    };
}
pub(super) use with_tiles;

/// The number of tiles for a modulus of so many 64-bit limbs; 0 if there is none.
pub(super) const fn tiles(limbs: usize) -> usize {
    let needed = (limbs * 64 + HEAD_ROOM).div_ceil(TILE * DIGIT_BITS);
    match needed {
        0 => 1,
        5 => 6,
        7 => 8,
        1..=8 => needed,
        _ => 0,
    }
}

impl<const K: usize> Modulus<K> {
    const BITS: usize = K * TILE * DIGIT_BITS;

    /// Prepares an odd modulus above 1 that `with_tiles` gave this number of tiles.
    pub(super) fn new(modulus: &[u64]) -> Self {
        let mut this = Self::bare(modulus);
        let bits = bit_length(modulus);
        // From 2^(bits - 1), which is below n, to R mod n, to 2^v R mod n for the top five bits v of the exponent of R,
        // then by squaring to R^2 mod n.
        let mut x = power_of_two::<K>(bits.saturating_sub(1));
        for _ in bits.saturating_sub(1)..Self::BITS {
            this.double(&mut x);
        }
        this.one = x;
        let shift = Self::BITS.ilog2().saturating_sub(4);
        for _ in 0..Self::BITS >> shift {
            this.double(&mut x);
        }
        for bit in (0..shift).rev() {
            x = this.square(&x);
            if Self::BITS >> bit & 1 == 1 {
                shift_left(&mut x, 1);
                carry(&mut x);
            }
        }
        this.r2 = x;
        this
    }

    /// The same for a modulus that is no secret and whose top bit is set, sooner: time depends on it.
    pub(super) fn new_public(modulus: &[u64]) -> Self {
        let mut this = Self::bare(modulus);
        // From 2^bits to R mod n, to 2^v R mod n for the top bits v of the exponent of R, then by squaring to R^2 mod n.
        let mut x = limbs::negative(modulus);
        limbs::shift_modulo(&mut x, modulus, Self::BITS - modulus.len() * 64);
        this.one = to_digits(&x);
        let shift = to_usize(u64::from(Self::BITS.trailing_zeros()));
        limbs::shift_modulo(&mut x, modulus, Self::BITS >> shift);
        let mut r2 = to_digits(&x);
        for _ in 0..shift {
            r2 = this.square(&r2);
        }
        this.r2 = r2;
        this
    }

    fn bare(modulus: &[u64]) -> Self {
        let n: Digits<K> = to_digits(modulus);
        let mut inverse = 1u64;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(n[0][0].wrapping_mul(inverse)));
        }
        Self {
            n,
            k: inverse.wrapping_neg() & MASK,
            one: [[0; TILE]; K],
            r2: [[0; TILE]; K],
        }
    }

    /// A number of at most as many limbs as the modulus, in Montgomery form.
    pub(super) fn enter(&self, plain: &[u64]) -> Digits<K> {
        self.multiply(&to_digits(plain), &self.r2)
    }

    /// A number of up to twice the limbs of the modulus, in Montgomery form.
    pub(super) fn enter_wide(&self, plain: &[u64]) -> Digits<K> {
        let mut columns = [[[0u128; TILE]; K]; 2];
        for (i, column) in columns
            .as_flattened_mut()
            .as_flattened_mut()
            .iter_mut()
            .enumerate()
        {
            *column = u128::from(bits_at(plain, i * DIGIT_BITS) & MASK);
        }
        let reduced = self.reduce(&mut columns);
        let plain = self.multiply(&reduced, &self.r2);
        self.multiply(&plain, &self.r2)
    }

    /// Writes the number, fully reduced.
    pub(super) fn leave(&self, x: &Digits<K>, out: &mut [u64]) {
        let mut unit = [[0; TILE]; K];
        unit[0][0] = 1;
        let mut plain = self.multiply(x, &unit);
        self.subtract_once(&mut plain);
        from_digits(&plain, out);
        plain.zeroize();
    }

    /// The product of two numbers in Montgomery form (or of one that is and one that is not).
    pub(super) fn multiply(&self, a: &Digits<K>, b: &Digits<K>) -> Digits<K> {
        let mut columns = [[[0u128; TILE]; K]; 2];
        for (i, a) in a.iter().enumerate() {
            for (j, b) in b.iter().enumerate() {
                if let [low, high, ..] = &mut columns.as_flattened_mut()[i + j..] {
                    add_product(low, high, a, b);
                }
            }
        }
        self.reduce(&mut columns)
    }

    fn square(&self, a: &Digits<K>) -> Digits<K> {
        let mut columns = [[[0u128; TILE]; K]; 2];
        for (i, x) in a.iter().enumerate() {
            let mut twice = *x;
            for digit in &mut twice {
                *digit <<= 1;
            }
            if let [low, high, ..] = &mut columns.as_flattened_mut()[2 * i..] {
                add_square(low, high, &twice, x);
            }
            for (j, y) in a.iter().enumerate().skip(i + 1) {
                if let [low, high, ..] = &mut columns.as_flattened_mut()[i + j..] {
                    add_product(low, high, &twice, y);
                }
            }
        }
        self.reduce(&mut columns)
    }

    /// `base^exponent` in Montgomery form; time depends on the number of limbs of the exponent only.
    pub(super) fn power(&self, base: &Digits<K>, exponent: &[u64]) -> Digits<K> {
        let mut table = Zeroizing::new([[[0u64; TILE]; K]; 1 << WINDOW]);
        table[0] = self.one;
        for i in 1..1 << WINDOW {
            table[i] = self.multiply(&table[i - 1], base);
        }
        let windows = (exponent.len() * 64).div_ceil(WINDOW);
        let mut x = self.one;
        for window in (0..windows).rev() {
            for _ in 0..WINDOW {
                x = self.square(&x);
            }
            let digit = bits_at(exponent, window * WINDOW) & ((1 << WINDOW) - 1);
            let mut factor = select(&table, digit);
            x = self.multiply(&x, &factor);
            factor.zeroize();
        }
        x
    }

    /// `base^exponent` in Montgomery form; time depends on the exponent, which is public.
    pub(super) fn power_public(&self, base: &Digits<K>, exponent: u32) -> Digits<K> {
        let Some(top) = exponent.checked_ilog2() else {
            return self.one;
        };
        let mut x = *base;
        for bit in (0..top).rev() {
            x = self.square(&x);
            if exponent >> bit & 1 == 1 {
                x = self.multiply(&x, base);
            }
        }
        x
    }

    /// `x - y` in Montgomery form, for numbers below `2n`.
    pub(super) fn difference(&self, x: &Digits<K>, y: &Digits<K>) -> Digits<K> {
        let mut out = *x;
        let mut carry = 0u64;
        let digits = out
            .as_flattened_mut()
            .iter_mut()
            .zip(y.as_flattened())
            .zip(self.n.as_flattened());
        for ((x, y), n) in digits {
            let sum = x.wrapping_add(n << 1).wrapping_sub(*y).wrapping_add(carry);
            *x = sum & MASK;
            carry = (sum.cast_signed() >> DIGIT_BITS).cast_unsigned();
        }
        out
    }

    /// Whether `2^(n - 1) = 1 mod n`, for an odd `n` of at least 512 bits. Time depends on the length of `n` only.
    ///
    /// Two things save work. The test computes `2^-(n - 1)`, whose exponent begins with a negative digit: in Montgomery form
    /// that first power is a small power of two as it stands, and neither `R` nor `R^2` modulo `n` is needed. And a
    /// doubling is a shift, which the next squaring absorbs.
    pub(super) fn fermat(modulus: &[u64]) -> bool {
        let this = Self::bare(modulus);
        let bits = bit_length(modulus);
        // -(n - 1) modulo a power of two is !n + 2; since n is odd, the addition turns the two lowest bits round at most,
        // or carries on.
        let mut exponent: Zeroizing<[u64; LIMBS]> = Zeroizing::new([0; LIMBS]);
        let mut add = 2;
        for (e, n) in exponent.iter_mut().zip(modulus) {
            let (sum, over) = (!n).overflowing_add(add);
            *e = sum;
            add = u64::from(over);
        }
        let head = to_usize(u64::from(bits.ilog2()));
        let first = bits_at(&*exponent, bits - head) & ((1 << head) - 1);
        let mut x = power_of_two::<K>(Self::BITS - (1 << head) + to_usize(first));
        for position in (0..bits - head).rev() {
            x = this.square(&x);
            shift_left(&mut x, bits_at(&*exponent, position) & 1);
            if K > 4 {
                // More columns than a u128 has room for when the digits have 61 bits.
                carry(&mut x);
            }
        }
        let mut plain = Zeroizing::new([0u64; LIMBS]);
        this.leave(&x, &mut *plain);
        let rest = plain
            .iter()
            .skip(1)
            .fold(plain[0] ^ 1, |or, limb| or | limb);
        rest == 0
    }

    /// Whether two numbers in Montgomery form are the same.
    pub(super) fn same(&self, x: &Digits<K>, y: &Digits<K>) -> Choice {
        let mut difference = Zeroizing::new([0; LIMBS]);
        self.leave(&self.difference(x, y), &mut *difference);
        difference.ct_eq(&[0; LIMBS])
    }

    /// Doubles a fully reduced number and reduces it fully.
    fn double(&self, x: &mut Digits<K>) {
        shift_left(x, 1);
        carry(x);
        self.subtract_once(x);
    }

    /// Subtracts `n` if that does not make the number negative.
    fn subtract_once(&self, x: &mut Digits<K>) {
        let mut less = *x;
        let mut borrow = 0u64;
        for (x, n) in less
            .as_flattened_mut()
            .iter_mut()
            .zip(self.n.as_flattened())
        {
            let difference = x.wrapping_sub(*n).wrapping_sub(borrow);
            *x = difference & MASK;
            borrow = difference >> 63;
        }
        let keep = black_box(borrow.wrapping_neg());
        for (x, less) in x.as_flattened_mut().iter_mut().zip(less.as_flattened()) {
            *x = (*x & keep) | (less & !keep);
        }
    }

    /// Montgomery reduction: the columns of a product, divided by `R` modulo `n`, below `2n`.
    fn reduce(&self, columns: &mut [[Columns; K]; 2]) -> Digits<K> {
        for i in 0..K {
            let mut quotient = [0; TILE];
            for (j, n) in self.n.iter().enumerate() {
                if let [low, high, ..] = &mut columns.as_flattened_mut()[i + j..] {
                    if j == 0 {
                        quotient = clear(low, high, n, self.k);
                    } else {
                        add_product(low, high, &quotient, n);
                    }
                }
            }
        }
        let mut out = [[0; TILE]; K];
        let mut carry = 0u128;
        for (digit, column) in out
            .as_flattened_mut()
            .iter_mut()
            .zip(columns[1].as_flattened())
        {
            let sum = column + carry;
            *digit = low(sum) & MASK;
            carry = sum >> DIGIT_BITS;
        }
        out
    }
}

/// Limbs of the longest modulus.
const LIMBS: usize = MAX_LIMBS;

/// For numbers below 2^12 only.
#[expect(
    clippy::cast_possible_truncation,
    reason = "bit positions of numbers of 4320 bits"
)]
fn to_usize(x: u64) -> usize {
    x as usize
}

fn shift_left<const K: usize>(x: &mut Digits<K>, by: u64) {
    for digit in x.as_flattened_mut() {
        *digit <<= by;
    }
}

/// Brings digits of up to 63 bits back to 60.
fn carry<const K: usize>(x: &mut Digits<K>) {
    let mut carry = 0;
    for digit in x.as_flattened_mut() {
        let sum = *digit + carry;
        *digit = sum & MASK;
        carry = sum >> DIGIT_BITS;
    }
}

fn power_of_two<const K: usize>(exponent: usize) -> Digits<K> {
    let mut x = [[0; TILE]; K];
    if let Some(digit) = x.as_flattened_mut().get_mut(exponent / DIGIT_BITS) {
        *digit = 1 << (exponent % DIGIT_BITS);
    }
    x
}

/// One entry of the table, touching all of them.
fn select<const K: usize>(table: &[Digits<K>; 1 << WINDOW], index: u64) -> Digits<K> {
    let mut out = [[0; TILE]; K];
    for (i, entry) in (0u64..).zip(table) {
        let mask = black_box(((i ^ index).wrapping_sub(1) >> 63).wrapping_neg());
        for (out, digit) in out.as_flattened_mut().iter_mut().zip(entry.as_flattened()) {
            *out |= digit & mask;
        }
    }
    out
}

/// 64 bits from a position on.
fn bits_at(limbs: &[u64], position: usize) -> u64 {
    let (index, shift) = (position / 64, position % 64);
    let low = limbs.get(index).map_or(0, |limb| limb >> shift);
    let high = limbs
        .get(index + 1)
        .map_or(0, |limb| (limb << 1) << (63 - shift));
    low | high
}

fn bit_length(limbs: &[u64]) -> usize {
    let zeros: u32 = limbs
        .iter()
        .rev()
        .scan(true, |leading, limb| {
            let zeros = leading.then(|| limb.leading_zeros());
            *leading = *limb == 0;
            zeros
        })
        .sum();
    (limbs.len() * 64).saturating_sub(to_usize(u64::from(zeros)))
}

fn to_digits<const K: usize>(limbs: &[u64]) -> Digits<K> {
    let mut out = [[0; TILE]; K];
    for (i, digit) in out.as_flattened_mut().iter_mut().enumerate() {
        *digit = bits_at(limbs, i * DIGIT_BITS) & MASK;
    }
    out
}

fn from_digits<const K: usize>(digits: &Digits<K>, out: &mut [u64]) {
    let mut digits = digits.as_flattened().iter();
    let mut pending = 0u128;
    let mut bits = 0;
    for limb in out {
        while bits < 64 {
            pending |= u128::from(digits.next().copied().unwrap_or(0)) << bits;
            bits += DIGIT_BITS;
        }
        *limb = low(pending);
        pending >>= 64;
        bits -= 64;
    }
}
