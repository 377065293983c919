//! Montgomery arithmetic on two numbers at once: vector `i` holds the digits `4 * i` to `4 * i + 3` of one in its lower half and
//! of the other in its upper half.
//!
//! The same digits, the same `R` and the same bounds as in `montgomery`, which prepares the moduli and takes the results. Nothing here
//! branches on a value or uses one as an address.
#![expect(
    clippy::indexing_slicing,
    reason = "arrays of fixed length, indexed by loops over that same length"
)]

use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_cmpeq_epi64_mask, _mm512_cmpgt_epi64_mask,
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_add_epi64, _mm512_maskz_srli_epi64,
    _mm512_permutex_epi64, _mm512_permutex2var_epi64, _mm512_set1_epi64, _mm512_setr_epi64,
    _mm512_setzero_si512, _mm512_srli_epi64,
};

use tpm_crypto::rsa::engine::Modexp;
use zeroize::{Zeroize, Zeroizing};

use crate::lanes::LANES;
use crate::montgomery::{
    MASK, Moduli, Numbers, WINDOW, bits_at, digits, load, load_all, select, store, write,
};

/// Numbers that there is room for.
pub(crate) const MOST: usize = 2;
/// Digits of one number in a vector.
const HALF: usize = LANES / MOST;

/// Two odd moduli.
struct Pair<const V: usize> {
    n: Numbers<V>,
    /// `-1 / n` modulo 2^52, in all lanes of each half.
    k: __m512i,
}

impl<const V: usize> Drop for Pair<V> {
    fn drop(&mut self) {
        self.n.zeroize();
        self.k.zeroize();
    }
}

/// One or two exponentiations with moduli of one length, `D` digits in `V = D / 4` vectors.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn modexp<const D: usize, const V: usize>(jobs: &mut [Modexp<'_>]) {
    const { assert!(D == V * HALF) };
    let Some(first) = jobs.first() else { return };
    let filled: [&[u64]; LANES] =
        core::array::from_fn(|lane| jobs.get(lane).unwrap_or(first).modulus);
    let moduli = Moduli::<D>::new(&filled);
    let (one, r2) = moduli.powers_of_r(first.modulus.len());
    let (one, r2) = (Zeroizing::new(one), Zeroizing::new(r2));
    let base = Zeroizing::new(digits::<D>(|lane| {
        jobs.get(lane).map_or(&[], |job| job.base)
    }));

    let [k, other, ..] = store(moduli.k);
    let pair = Pair::<V> {
        n: gather(&moduli.n),
        k: halves(k, other),
    };
    let one = Zeroizing::new(gather::<D, V>(&one));
    let base = Zeroizing::new(pair.multiply(&gather(&base), &gather(&r2)));
    let mut table = Zeroizing::new([*one; 1 << WINDOW]);
    for i in 1..1 << WINDOW {
        table[i] = pair.multiply(&table[i - 1], &base);
    }
    let length = jobs.iter().map(|job| job.exponent.len()).max();
    let windows = length.unwrap_or(0) * 64 / WINDOW;
    let mut x = one;
    for window in (0..windows).rev() {
        for _ in 0..WINDOW {
            *x = pair.multiply(&x, &x);
        }
        let [index, other] = [0, 1].map(|number: usize| {
            let exponent = jobs.get(number).map_or(&[][..], |job| job.exponent);
            bits_at(exponent, window * WINDOW) & ((1 << WINDOW) - 1)
        });
        let factor = Zeroizing::new(select(&table, halves(index, other)));
        *x = pair.multiply(&x, &factor);
    }
    let mut unit = [_mm512_setzero_si512(); V];
    unit[0] = _mm512_setr_epi64(1, 0, 0, 0, 1, 0, 0, 0);
    *x = pair.multiply(&x, &unit);
    let spread = Zeroizing::new(scatter::<D, V>(&x));
    let plain = Zeroizing::new(moduli.subtract_once(&spread));
    write(&plain, jobs);
}

impl<const V: usize> Pair<V> {
    /// Montgomery products.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn multiply(&self, a: &Numbers<V>, b: &Numbers<V>) -> Numbers<V> {
        let mut columns = [_mm512_setzero_si512(); V];
        for b in b {
            self.step(&mut columns, a, _mm512_permutex_epi64::<0b00_00_00_00>(*b));
            self.step(&mut columns, a, _mm512_permutex_epi64::<0b01_01_01_01>(*b));
            self.step(&mut columns, a, _mm512_permutex_epi64::<0b10_10_10_10>(*b));
            self.step(&mut columns, a, _mm512_permutex_epi64::<0b11_11_11_11>(*b));
        }
        carried(&columns)
    }

    /// Adds the product with one digit, makes the lowest digit zero and shifts it out.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn step(&self, columns: &mut Numbers<V>, a: &Numbers<V>, b: __m512i) {
        let zero = _mm512_setzero_si512();
        // In each half the lanes move down by one; the top lane comes from the next vector.
        let down = _mm512_setr_epi64(1, 2, 3, 8, 5, 6, 7, 12);
        columns[0] = _mm512_madd52lo_epu64(columns[0], a[0], b);
        let lowest = _mm512_permutex_epi64::<0>(columns[0]);
        let quotient = _mm512_madd52lo_epu64(zero, lowest, self.k);
        columns[0] = _mm512_madd52lo_epu64(columns[0], quotient, self.n[0]);
        let carry = _mm512_maskz_srli_epi64::<52>(0x11, columns[0]);
        for i in 0..V {
            let next = if i + 1 < V {
                let sum = _mm512_madd52lo_epu64(columns[i + 1], a[i + 1], b);
                columns[i + 1] = _mm512_madd52lo_epu64(sum, quotient, self.n[i + 1]);
                columns[i + 1]
            } else {
                zero
            };
            // What the upper halves of products add does not wait for the lower ones.
            let high = _mm512_madd52hi_epu64(if i == 0 { carry } else { zero }, a[i], b);
            let high = _mm512_madd52hi_epu64(high, quotient, self.n[i]);
            columns[i] = _mm512_add_epi64(_mm512_permutex2var_epi64(columns[i], down, next), high);
        }
    }
}

/// Columns of up to 64 bits as digits.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn carried<const V: usize>(columns: &Numbers<V>) -> Numbers<V> {
    let mask = _mm512_set1_epi64(MASK.cast_signed());
    // In each half the lanes move up by one; the lowest comes from the vector before.
    let up = _mm512_setr_epi64(11, 0, 1, 2, 15, 4, 5, 6);
    let mut out = *columns;
    let mut before = _mm512_setzero_si512();
    // Bit i is that of digit i: more than a digit holds, and as much as it holds.
    let (mut over, mut full) = ([0u64; MOST], [0u64; MOST]);
    for (i, digits) in out.iter_mut().enumerate() {
        let carry = _mm512_srli_epi64::<52>(*digits);
        let moved = _mm512_permutex2var_epi64(carry, up, before);
        *digits = _mm512_add_epi64(_mm512_and_si512(*digits, mask), moved);
        before = carry;
        let above = u64::from(_mm512_cmpgt_epi64_mask(*digits, mask));
        let equal = u64::from(_mm512_cmpeq_epi64_mask(*digits, mask));
        for number in 0..MOST {
            over[number] |= (above >> (number * HALF) & 0xf) << (i * HALF);
            full[number] |= (equal >> (number * HALF) & 0xf) << (i * HALF);
        }
    }
    // A digit that is over carries one; a full one that gets it passes it on, as bits do in an addition.
    let mut into = [0u64; MOST];
    for number in 0..MOST {
        into[number] = full[number].wrapping_add(over[number] << 1) ^ full[number];
    }
    let one = _mm512_set1_epi64(1);
    for (i, digits) in out.iter_mut().enumerate() {
        let [lower, upper] = into.map(|into| into >> (i * HALF) & 0xf);
        let sum = _mm512_mask_add_epi64(*digits, byte(lower | upper << HALF), *digits, one);
        *digits = _mm512_and_si512(sum, mask);
    }
    out
}

/// The first two of eight numbers.
#[target_feature(enable = "avx512f,avx512ifma")]
fn gather<const D: usize, const V: usize>(numbers: &Numbers<D>) -> Numbers<V> {
    let digits = Zeroizing::new(numbers.map(|digit| store(digit)));
    core::array::from_fn(|i| {
        load(core::array::from_fn(|lane| {
            digits[i * HALF + lane % HALF][lane / HALF]
        }))
    })
}

/// Two numbers as the first of eight, the others zero.
#[target_feature(enable = "avx512f,avx512ifma")]
fn scatter<const D: usize, const V: usize>(numbers: &Numbers<V>) -> Numbers<D> {
    let mut digits = Zeroizing::new([[0u64; LANES]; D]);
    for (i, vector) in numbers.iter().enumerate() {
        for (lane, digit) in store(*vector).into_iter().enumerate() {
            digits[i * HALF + lane % HALF][lane / HALF] = digit;
        }
    }
    load_all(&digits)
}

#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn halves(lower: u64, upper: u64) -> __m512i {
    load([lower, lower, lower, lower, upper, upper, upper, upper])
}

#[expect(clippy::cast_possible_truncation, reason = "the mask of eight lanes")]
#[inline]
const fn byte(x: u64) -> u8 {
    x as u8
}
