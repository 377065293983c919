//! Montgomery arithmetic on eight numbers at once: digit `i` of all of them is vector `i`.
//!
//! With `D` digits `R` is `2^(52 * D)`, at least 2^8 times any modulus, so that reductions may be lazy: values stay below
//! twice the modulus (four times after a doubling), and only `leave` reduces fully. A column of a product
//! collects at most `4 * D` numbers of 52 bits, far from 64 bits for the 40 digits at most, so that carries wait for its end.
//!
//! Nothing here branches on a value or uses one as an address.
#![expect(
    clippy::indexing_slicing,
    reason = "arrays of fixed length, indexed by loops over that same length"
)]

use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_cmpeq_epi64_mask, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_mask_mov_epi64, _mm512_or_si512, _mm512_set1_epi64,
    _mm512_setr_epi64, _mm512_setzero_si512, _mm512_slli_epi64, _mm512_sllv_epi64,
    _mm512_srai_epi64, _mm512_srli_epi64, _mm512_storeu_si512, _mm512_sub_epi64,
    _mm512_ternarylogic_epi64, _mm512_test_epi64_mask,
};
use core::hint::black_box;

use tpm_crypto::rsa::engine::Modexp;
use zeroize::{Zeroize, Zeroizing};

use crate::lanes::LANES;

/// Bits in a digit; not a parameter, it is what the instructions multiply.
const DIGIT: usize = 52;
pub(crate) const MASK: u64 = (1 << DIGIT) - 1;
pub(crate) const WINDOW: usize = 4;

/// Eight numbers below `2^(52 * D)`, least significant digits first.
pub(crate) type Numbers<const D: usize> = [__m512i; D];

/// Eight odd moduli.
pub(crate) struct Moduli<const D: usize> {
    pub(crate) n: Numbers<D>,
    /// `-1 / n` modulo 2^52.
    pub(crate) k: __m512i,
}

impl<const D: usize> Drop for Moduli<D> {
    fn drop(&mut self) {
        self.n.zeroize();
        self.k.zeroize();
    }
}

/// Base-2 Fermat tests of up to eight candidates of one length: bit `i` of the answer is set if `2^(n - 1) mod n = 1`.
///
/// The test computes `2^-(n - 1)`, whose exponent begins with a negative digit: in Montgomery form that first power is a small
/// power of two as it stands, so that neither `R` nor `R^2` modulo `n` is needed.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn fermat<const D: usize>(candidates: &[&[u64]]) -> u64 {
    let Some(&first) = candidates.first() else {
        return 0;
    };
    let filled: [&[u64]; LANES] =
        core::array::from_fn(|lane| candidates.get(lane).copied().unwrap_or(first));
    let moduli = Moduli::<D>::new(&filled);
    // -(n - 1) is -2^bits and a rest, !n + 2 in as many bits.
    let bits = first.len() * 64;
    let rests: [Zeroizing<Vec<u64>>; LANES] = filled.map(|n| {
        let mut add = 2u64;
        let limbs = n.iter().map(|limb| {
            let (sum, over) = (!limb).overflowing_add(add);
            add = u64::from(over);
            sum
        });
        Zeroizing::new(limbs.collect())
    });
    // The first power: 2^(-2^head + the first bits of the rest), times R.
    let head = (usize::BITS - 1 - bits.leading_zeros()) as usize;
    let mut start = [[0u64; LANES]; D];
    for (lane, rest) in rests.iter().enumerate() {
        let first = bits_at(rest, bits - head) & ((1 << head) - 1);
        let exponent = (D * DIGIT) as u64 - (1 << head) + first;
        for (i, digit) in start.iter_mut().enumerate() {
            let here = ((exponent / DIGIT as u64) ^ i as u64).wrapping_sub(1) >> 63;
            digit[lane] = here << (exponent % DIGIT as u64);
        }
    }
    let mut x = load_all(&start);
    let mut columns = [[_mm512_setzero_si512(); D]; 2];
    for position in (0..bits - head).rev() {
        let bit = load(core::array::from_fn(|lane| {
            rests[lane][position / 64] >> (position % 64) & 1
        }));
        moduli.square(&mut x, &mut columns, bit);
    }
    let mut plain = moduli.leave(&x);
    let mut rest = _mm512_sub_epi64(plain[0], _mm512_set1_epi64(1));
    for digit in &plain[1..] {
        rest = _mm512_or_si512(rest, *digit);
    }
    let composite = _mm512_test_epi64_mask(rest, rest);
    for secret in [&mut x, &mut plain].into_iter().chain(&mut columns) {
        secret.zeroize();
    }
    start.zeroize();
    u64::from(!composite) & ((1 << candidates.len()) - 1)
}

/// Up to eight exponentiations with moduli of one length.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn modexp<const D: usize>(jobs: &mut [Modexp<'_>]) {
    let Some(first) = jobs.first() else { return };
    let filled: [&[u64]; LANES] =
        core::array::from_fn(|lane| jobs.get(lane).unwrap_or(first).modulus);
    let moduli = Moduli::<D>::new(&filled);
    let (one, mut r2) = moduli.powers_of_r(first.modulus.len());
    let plain = digits(|lane| jobs.get(lane).map_or(&[], |job| job.base));
    let base = Zeroizing::new(moduli.multiply(&plain, &r2));
    r2.zeroize();

    let mut table = Zeroizing::new([one; 1 << WINDOW]);
    for i in 1..1 << WINDOW {
        table[i] = moduli.multiply(&table[i - 1], &base);
    }
    let length = jobs.iter().map(|job| job.exponent.len()).max();
    let windows = length.unwrap_or(0) * 64 / WINDOW;
    let mut x = Zeroizing::new(one);
    let mut columns = Zeroizing::new([[_mm512_setzero_si512(); D]; 2]);
    for window in (0..windows).rev() {
        for _ in 0..WINDOW {
            moduli.square(&mut x, &mut columns, _mm512_setzero_si512());
        }
        let index = load(core::array::from_fn(|lane| {
            let exponent = jobs.get(lane).map_or(&[][..], |job| job.exponent);
            bits_at(exponent, window * WINDOW) & ((1 << WINDOW) - 1)
        }));
        let factor = Zeroizing::new(select(&table, index));
        *x = moduli.multiply(&x, &factor);
    }
    write(&moduli.leave(&x), jobs);
}

/// Fully reduced numbers to where the jobs want them.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn write<const D: usize>(x: &Numbers<D>, jobs: &mut [Modexp<'_>]) {
    let digits = Zeroizing::new(x.map(|digit| store(digit)));
    for (lane, job) in jobs.iter_mut().enumerate() {
        let mut pending = 0u128;
        let mut bits = 0;
        let mut digits = digits.iter().map(|digit| digit[lane]);
        for limb in job.result.iter_mut() {
            while bits < 64 {
                pending |= u128::from(digits.next().unwrap_or(0)) << bits;
                bits += DIGIT;
            }
            *limb = low(pending);
            pending >>= 64;
            bits -= 64;
        }
    }
}

impl<const D: usize> Moduli<D> {
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn new(moduli: &[&[u64]; LANES]) -> Self {
        let k = load(moduli.map(|modulus| {
            let low = modulus.first().copied().unwrap_or(1);
            let mut inverse = 1u64;
            for _ in 0..6 {
                inverse = inverse.wrapping_mul(2u64.wrapping_sub(low.wrapping_mul(inverse)));
            }
            inverse.wrapping_neg() & MASK
        }));
        Self {
            n: digits(|lane| moduli[lane]),
            k,
        }
    }

    /// `R mod n` and `R^2 mod n`, for moduli of so many limbs.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn powers_of_r(&self, limbs: usize) -> (Numbers<D>, Numbers<D>) {
        // From a power of two that is below any modulus of this length to R mod n, to 2^v R mod n for the top seven bits v of the
        // exponent of R, then by squaring to R^2 mod n.
        let below = (limbs - 1) * 64;
        let mut x = [_mm512_setzero_si512(); D];
        x[below / DIGIT] = load([1 << (below % DIGIT); LANES]);
        for _ in below..D * DIGIT {
            x = self.double(&x);
        }
        let one = x;
        let shift = (D * DIGIT).ilog2().saturating_sub(6);
        for _ in 0..(D * DIGIT) >> shift {
            x = self.double(&x);
        }
        let mut columns = Zeroizing::new([[_mm512_setzero_si512(); D]; 2]);
        for bit in (0..shift).rev() {
            let doubled = load([((D * DIGIT) >> bit & 1) as u64; LANES]);
            self.square(&mut x, &mut columns, doubled);
        }
        (one, x)
    }

    /// Doubles fully reduced numbers and reduces them fully.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn double(&self, x: &Numbers<D>) -> Numbers<D> {
        let mut twice = *x;
        for digit in &mut twice {
            *digit = _mm512_slli_epi64::<1>(*digit);
        }
        self.subtract_once(&carried(&twice))
    }

    /// Subtracts `n` where that does not make the number negative.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn subtract_once(&self, x: &Numbers<D>) -> Numbers<D> {
        let mask = _mm512_set1_epi64(MASK.cast_signed());
        let mut out = *x;
        let mut borrow = _mm512_setzero_si512();
        for (out, n) in out.iter_mut().zip(&self.n) {
            let difference = _mm512_add_epi64(_mm512_sub_epi64(*out, *n), borrow);
            borrow = _mm512_srai_epi64::<52>(difference);
            *out = _mm512_and_si512(difference, mask);
        }
        // All ones where the number stays; hidden from an optimiser that might make a branch of it.
        let keep = black_box(borrow);
        for (out, x) in out.iter_mut().zip(x) {
            *out = _mm512_ternarylogic_epi64::<0xca>(keep, *x, *out);
        }
        out
    }

    /// Numbers out of Montgomery form, fully reduced.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn leave(&self, x: &Numbers<D>) -> Numbers<D> {
        let mut unit = [_mm512_setzero_si512(); D];
        unit[0] = _mm512_set1_epi64(1);
        self.subtract_once(&self.multiply(x, &unit))
    }

    /// Montgomery products.
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn multiply(&self, a: &Numbers<D>, b: &Numbers<D>) -> Numbers<D> {
        carried(&self.products(a, b))
    }

    /// Montgomery squares in place, doubled where `doubled` is 1 instead of 0; `columns` is room to work in.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn square(&self, x: &mut Numbers<D>, columns: &mut [Numbers<D>; 2], doubled: __m512i) {
        squares(x, columns);
        let [low, high] = columns;
        self.reduce(low, high);
        let mask = _mm512_set1_epi64(MASK.cast_signed());
        let mut carry = _mm512_setzero_si512();
        for (digit, column) in x.iter_mut().zip(low) {
            // A doubling is a shift of columns that are not carried yet.
            let sum = _mm512_add_epi64(_mm512_sllv_epi64(*column, doubled), carry);
            carry = _mm512_srli_epi64::<52>(sum);
            *digit = _mm512_and_si512(sum, mask);
        }
    }

    /// Montgomery products, not carried.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn products(&self, a: &Numbers<D>, b: &Numbers<D>) -> Numbers<D> {
        let zero = _mm512_setzero_si512();
        let mut columns = [zero; D];
        for b in b {
            let low = _mm512_madd52lo_epu64(columns[0], a[0], *b);
            let quotient = _mm512_madd52lo_epu64(zero, low, self.k);
            let low = _mm512_madd52lo_epu64(low, quotient, self.n[0]);
            columns[1] = _mm512_add_epi64(columns[1], _mm512_srli_epi64::<52>(low));
            for j in 1..D {
                let sum = _mm512_madd52lo_epu64(columns[j], a[j], *b);
                let sum = _mm512_madd52hi_epu64(sum, a[j - 1], *b);
                let sum = _mm512_madd52lo_epu64(sum, quotient, self.n[j]);
                columns[j - 1] = _mm512_madd52hi_epu64(sum, quotient, self.n[j - 1]);
            }
            let product = _mm512_madd52hi_epu64(zero, a[D - 1], *b);
            columns[D - 1] = _mm512_madd52hi_epu64(product, quotient, self.n[D - 1]);
        }
        columns
    }

    /// Montgomery reduction of the columns of a product, into the lower ones, not carried; two digits in each pass, so that a column is
    /// loaded and stored half as often.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn reduce(&self, columns: &mut Numbers<D>, high: &Numbers<D>) {
        const { assert!(D.is_multiple_of(2)) };
        let zero = _mm512_setzero_si512();
        let n = &self.n;
        let (tops, _) = high.as_chunks();
        for [top, next_top] in tops {
            let quotient = _mm512_madd52lo_epu64(zero, columns[0], self.k);
            let lowest = _mm512_madd52lo_epu64(columns[0], quotient, n[0]);
            let second = _mm512_madd52lo_epu64(columns[1], quotient, n[1]);
            let second = _mm512_madd52hi_epu64(second, quotient, n[0]);
            let second = _mm512_add_epi64(second, _mm512_srli_epi64::<52>(lowest));
            let next = _mm512_madd52lo_epu64(zero, second, self.k);
            let second = _mm512_madd52lo_epu64(second, next, n[0]);
            let carry = _mm512_srli_epi64::<52>(second);
            for j in 2..D {
                let sum = _mm512_madd52lo_epu64(columns[j], quotient, n[j]);
                let sum = _mm512_madd52hi_epu64(sum, quotient, n[j - 1]);
                let sum = _mm512_madd52lo_epu64(sum, next, n[j - 1]);
                columns[j - 2] = _mm512_madd52hi_epu64(sum, next, n[j - 2]);
            }
            columns[0] = _mm512_add_epi64(columns[0], carry);
            let sum = _mm512_madd52hi_epu64(*top, quotient, n[D - 1]);
            let sum = _mm512_madd52lo_epu64(sum, next, n[D - 1]);
            columns[D - 2] = _mm512_madd52hi_epu64(sum, next, n[D - 2]);
            columns[D - 1] = _mm512_madd52hi_epu64(*next_top, next, n[D - 1]);
        }
    }
}

/// The columns of squares: each product of two different digits once, doubled, and the squares of the digits.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn squares<const D: usize>(a: &Numbers<D>, columns: &mut [Numbers<D>; 2]) {
    let zero = _mm512_setzero_si512();
    let mut before = zero;
    let mut square_high = zero;
    for (c, column) in columns.as_flattened_mut().iter_mut().enumerate() {
        let first = (c + 1).saturating_sub(D);
        let pairs = (c + 1 - 2 * first) / 2;
        // What a column gets from the one below is added at its end: it does not wait for that one.
        let (mut low, mut high) = (zero, zero);
        for (x, y) in a[first..]
            .iter()
            .zip(a[..=c - first].iter().rev())
            .take(pairs)
        {
            low = _mm512_madd52lo_epu64(low, *x, *y);
            high = _mm512_madd52hi_epu64(high, *x, *y);
        }
        let sum = _mm512_slli_epi64::<1>(_mm512_add_epi64(low, before));
        let mut sum = _mm512_add_epi64(sum, square_high);
        before = high;
        square_high = zero;
        if c.is_multiple_of(2) {
            sum = _mm512_madd52lo_epu64(sum, a[c / 2], a[c / 2]);
            square_high = _mm512_madd52hi_epu64(zero, a[c / 2], a[c / 2]);
        }
        *column = sum;
    }
}

/// Columns of up to 64 bits as digits.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn carried<const D: usize>(columns: &Numbers<D>) -> Numbers<D> {
    let mask = _mm512_set1_epi64(MASK.cast_signed());
    let mut out = *columns;
    let mut carry = _mm512_setzero_si512();
    for digit in &mut out {
        let sum = _mm512_add_epi64(*digit, carry);
        carry = _mm512_srli_epi64::<52>(sum);
        *digit = _mm512_and_si512(sum, mask);
    }
    out
}

/// Of each lane the entry that its index says, touching all of them.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn select<const D: usize>(
    table: &[Numbers<D>; 1 << WINDOW],
    index: __m512i,
) -> Numbers<D> {
    let mut out = table[0];
    for (i, entry) in (0i64..).zip(table) {
        let here = black_box(_mm512_cmpeq_epi64_mask(index, _mm512_set1_epi64(i)));
        for (out, digit) in out.iter_mut().zip(entry) {
            *out = _mm512_mask_mov_epi64(*out, here, *digit);
        }
    }
    out
}

/// The digits of eight numbers; missing limbs are zero.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn digits<'a, const D: usize>(number: impl Fn(usize) -> &'a [u64]) -> Numbers<D> {
    let mut out = [_mm512_setzero_si512(); D];
    for (i, digit) in out.iter_mut().enumerate() {
        *digit = load(core::array::from_fn(|lane| {
            bits_at(number(lane), i * DIGIT) & MASK
        }));
    }
    out
}

#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn load_all<const D: usize>(digits: &[[u64; LANES]; D]) -> Numbers<D> {
    let mut out = [_mm512_setzero_si512(); D];
    for (out, digit) in out.iter_mut().zip(digits) {
        *out = load(*digit);
    }
    out
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(crate) fn load(lanes: [u64; LANES]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = lanes.map(u64::cast_signed);
    _mm512_setr_epi64(a, b, c, d, e, f, g, h)
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub(crate) fn store(vector: __m512i) -> [u64; LANES] {
    let mut lanes = [0u64; LANES];
    // SAFETY: the pointer is to 64 bytes that are ours to write; this store asks for no alignment.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    lanes
}

/// 64 bits from a position on.
pub(crate) fn bits_at(limbs: &[u64], position: usize) -> u64 {
    let (index, shift) = (position / 64, position % 64);
    let low = limbs.get(index).map_or(0, |limb| limb >> shift);
    let high = limbs
        .get(index + 1)
        .map_or(0, |limb| (limb << 1) << (63 - shift));
    low | high
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is what is asked for"
)]
fn low(x: u128) -> u64 {
    x as u64
}
