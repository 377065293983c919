//! What the fuzzer of the engines runs: both get the same numbers.

use tpm_crypto::rsa::engine::Modexp;
use tpm_crypto::rsa::{Engine, Portable};

/// Runs a batch that the bytes describe on this processor's engine and on the portable one. Where they are the same engine there is
/// nothing to compare.
///
/// The first byte is the length of the numbers in limbs, the second the number of lanes, the third the length of the exponents and
/// the fourth how many bits at the top of each modulus are zero; then come the numbers, in words.
///
/// # Panics
/// If the engines disagree.
#[expect(clippy::panic, reason = "this is how a fuzzer hears of a finding")]
pub fn engines_agree(bytes: &[u8]) {
    let (Some(engine), Some((&[length, lanes, exponents, zeros], numbers))) =
        (crate::detected(), bytes.split_first_chunk())
    else {
        return;
    };
    let (words, _) = numbers.as_chunks();
    let mut words = words.iter().copied().map(u64::from_be_bytes);
    let mut number = |length| -> Vec<u64> {
        (0..length)
            .map(|_| words.next().unwrap_or(0x9e37_79b9_7f4a_7c15))
            .collect()
    };
    let length = 1 + usize::from(length % 33);
    let lanes = 1 + usize::from(lanes % 9);
    let batch: Vec<[Vec<u64>; 3]> = (0..lanes)
        .map(|_| {
            let modulus = odd(number(length), u32::from(zeros % 64));
            let base = below(number(length), &modulus);
            [modulus, base, number(usize::from(exponents % 5))]
        })
        .collect();
    let fast = power(engine, &batch);
    let slow = power(&Portable, &batch);
    if fast != slow {
        panic!("powers differ: {fast:x?} and {slow:x?} of {batch:x?}");
    }
    if length >= 8 {
        for batch in batch.chunks(engine.lanes()) {
            let candidates: Vec<&[u64]> = batch.iter().map(|[modulus, ..]| &modulus[..]).collect();
            let fast = engine.fermat_batch(&candidates);
            let slow = candidates.iter().rev().fold(0, |mask, candidate| {
                mask << 1 | Portable.fermat_batch(&[candidate])
            });
            if fast != slow {
                panic!("Fermat tests differ: {fast:x} and {slow:x} of {candidates:x?}");
            }
        }
    }
}

fn power(engine: &dyn Engine, batch: &[[Vec<u64>; 3]]) -> Vec<Vec<u64>> {
    let mut results: Vec<Vec<u64>> = batch
        .iter()
        .map(|[modulus, ..]| vec![0; modulus.len()])
        .collect();
    let mut jobs: Vec<Modexp<'_>> = batch
        .iter()
        .zip(&mut results)
        .map(|([modulus, base, exponent], result)| Modexp {
            base,
            exponent,
            modulus,
            result,
        })
        .collect();
    engine.modexp_batch(&mut jobs);
    results
}

/// Odd, above 1, its top limb not zero.
pub(crate) fn odd(mut limbs: Vec<u64>, zeros: u32) -> Vec<u64> {
    if let Some(low) = limbs.first_mut() {
        *low |= 3;
    }
    if let Some(top) = limbs.last_mut() {
        *top = (*top | 1 << 63) >> zeros | 1;
    }
    limbs
}

/// The number, or the modulus less one if the number is not below it.
pub(crate) fn below(number: Vec<u64>, modulus: &[u64]) -> Vec<u64> {
    if number.iter().rev().lt(modulus.iter().rev()) {
        return number;
    }
    let mut less = modulus.to_vec();
    if let Some(low) = less.first_mut() {
        *low &= !1;
    }
    less
}
