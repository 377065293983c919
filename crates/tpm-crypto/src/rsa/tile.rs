//! Products of tiles: nine digits of 60 bits by nine, in one straight line.
#![expect(
    clippy::indexing_slicing,
    reason = "arrays of fixed length, indexed by constants or by loops over that same length"
)]

/// Digits in a tile.
pub(super) const TILE: usize = 9;
/// Bits in a digit.
pub(super) const DIGIT_BITS: usize = 60;
pub(super) const MASK: u64 = (1 << DIGIT_BITS) - 1;

/// Nine digits.
pub(super) type Tile = [u64; TILE];
/// Nine columns of a product, not carried yet.
pub(super) type Columns = [u128; TILE];

/// `$f::<C>` over the columns 0 to 8 of a tile product. Macros, because rustc unrolls a loop only when the column is a constant.
macro_rules! lower_columns {
    ($f:ident, $columns:expr, $a:expr, $b:expr) => {{
        let t = $columns;
        t[0] = $f::<0>($a, $b, t[0]);
        t[1] = $f::<1>($a, $b, t[1]);
        t[2] = $f::<2>($a, $b, t[2]);
        t[3] = $f::<3>($a, $b, t[3]);
        t[4] = $f::<4>($a, $b, t[4]);
        t[5] = $f::<5>($a, $b, t[5]);
        t[6] = $f::<6>($a, $b, t[6]);
        t[7] = $f::<7>($a, $b, t[7]);
        t[8] = $f::<8>($a, $b, t[8]);
    }};
}

/// `$f::<C>` over the columns 9 to 16.
macro_rules! upper_columns {
    ($f:ident, $columns:expr, $a:expr, $b:expr) => {{
        let t = $columns;
        t[0] = $f::<9>($a, $b, t[0]);
        t[1] = $f::<10>($a, $b, t[1]);
        t[2] = $f::<11>($a, $b, t[2]);
        t[3] = $f::<12>($a, $b, t[3]);
        t[4] = $f::<13>($a, $b, t[4]);
        t[5] = $f::<14>($a, $b, t[5]);
        t[6] = $f::<15>($a, $b, t[6]);
        t[7] = $f::<16>($a, $b, t[7]);
    }};
}

/// Adds the product of two tiles to the columns.
#[inline(never)]
pub(super) fn add_product(low: &mut Columns, high: &mut Columns, a: &Tile, b: &Tile) {
    lower_columns!(column, low, a, b);
    upper_columns!(column, high, a, b);
}

/// Adds the square of a tile, given with its double, to the columns.
#[inline(never)]
pub(super) fn add_square(low: &mut Columns, high: &mut Columns, twice: &Tile, a: &Tile) {
    lower_columns!(square_column, low, twice, a);
    upper_columns!(square_column, high, twice, a);
}

/// Adds the multiple of an odd number that makes the nine low columns zero; returns the factor. Given are the lowest tile of the number
/// and `k`, minus its inverse modulo the radix.
#[inline(never)]
pub(super) fn clear(low_columns: &mut Columns, high: &mut Columns, n: &Tile, k: u64) -> Tile {
    let mut quotient = [0u64; TILE];
    let mut sum = 0u128;
    for c in 0..TILE {
        sum += low_columns[c];
        for j in 0..c {
            sum += wide(quotient[j], n[c - j]);
        }
        quotient[c] = low(sum).wrapping_mul(k) & MASK;
        sum = (sum + wide(quotient[c], n[0])) >> DIGIT_BITS;
    }
    high[0] += sum;
    upper_columns!(column, high, &quotient, n);
    quotient
}

/// The sum of the products in column `C`. The constant makes rustc unroll it.
#[inline(always)]
fn column<const C: usize>(a: &Tile, b: &Tile, mut sum: u128) -> u128 {
    let mut j = C.saturating_sub(TILE - 1);
    while j <= C && j < TILE {
        sum += wide(a[j], b[C - j]);
        j += 1;
    }
    sum
}

#[inline(always)]
fn square_column<const C: usize>(twice: &Tile, a: &Tile, mut sum: u128) -> u128 {
    let mut j = C.saturating_sub(TILE - 1);
    while 2 * j < C {
        sum += wide(twice[j], a[C - j]);
        j += 1;
    }
    if C.is_multiple_of(2) {
        sum += wide(a[C / 2], a[C / 2]);
    }
    sum
}

#[inline(always)]
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is asked for"
)]
pub(super) fn low(x: u128) -> u64 {
    x as u64
}
