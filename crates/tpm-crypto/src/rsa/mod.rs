//! RSA (Part 1, Annex B): keys, the raw operations, and the paddings that the TPM knows.
//!
//! A TPM keeps one prime of a key and nothing else. `PrivateKey::from_prime` finds the other by an exact
//! division; the one expensive value of the Chinese remainder theorem waits for the first private operation.
//! Private operations take a blinded base, run in constant time, and check their result before they release it.

pub mod engine;
mod error;
mod key;
pub(crate) mod limbs;
mod montgomery;
pub mod oaep;
pub mod pkcs1;
pub mod pss;
mod tile;

pub use engine::{Engine, Portable};
pub use error::RsaError;
pub use key::{PrivateKey, PublicKey};

use rand_core::CryptoRng;

use crate::libtpms::Start;
use crate::prime::{Cancelled, Search, libtpms};

/// Key sizes that `generate` makes, in bits.
pub const KEY_BITS: [usize; 4] = [1024, 2048, 3072, 4096];

/// The public exponent that a template asks for with zero.
pub const DEFAULT_EXPONENT: u32 = 65537;

/// Whether a new key may have this public exponent: a prime above 65536 (FIPS 186-5, A.1.1).
#[must_use]
pub const fn exponent_is_allowed(e: u32) -> bool {
    let mut factor = 3;
    while factor <= u32::MAX.isqrt() && factor * factor <= e {
        if e.is_multiple_of(factor) {
            return false;
        }
        factor += 2;
    }
    e > 65536 && e % 2 == 1
}

/// Makes a key: two primes from the generator, in the order found, by the search that `prime` describes.
///
/// If the primes lie closer than 2^(bits / 2 - 100), or if their predecessors share so large a factor that the private exponent could
/// be short, the second is drawn again.
///
/// # Errors
/// `KeySize`, `Exponent`, or `Cancelled`.
pub fn generate<R: CryptoRng + ?Sized>(
    bits: usize,
    e: u32,
    rng: &mut R,
    cancel: &mut dyn FnMut() -> bool,
) -> Result<PrivateKey, RsaError> {
    generate_with(&Portable, bits, e, rng, cancel)
}

/// `generate` on another engine, which the key then keeps. The key is the same on every engine.
///
/// # Errors
/// `KeySize`, `Exponent`, or `Cancelled`.
pub fn generate_with<R: CryptoRng + ?Sized>(
    engine: &'static dyn Engine,
    bits: usize,
    e: u32,
    rng: &mut R,
    cancel: &mut dyn FnMut() -> bool,
) -> Result<PrivateKey, RsaError> {
    if !KEY_BITS.contains(&bits) {
        return Err(RsaError::KeySize);
    }
    if !exponent_is_allowed(e) {
        return Err(RsaError::Exponent);
    }
    let half = bits / 2;
    let search = Search::for_engine(engine, half, e);
    let [p, mut q] = search.pair(engine, rng, cancel)?;
    while !far_apart(&p, &q, half) || limbs::bit_length(&limbs::common_divisor(&p, &q)) > half - 34
    {
        q = search.prime(engine, rng, cancel)?;
    }
    PrivateKey::from_primes(e, p, q).map(|key| key.with_engine(engine))
}

/// Makes the key that libtpms makes from the same generator; `libtpms` in the crate's root says what that is for. The prime that
/// such a key stores is the one found second.
///
/// # Errors
/// `KeySize`, `Exponent`, or `Cancelled`.
pub fn generate_as_libtpms<R: CryptoRng + ?Sized>(
    engine: &'static dyn Engine,
    bits: usize,
    e: u32,
    start: Start,
    rng: &mut R,
    cancel: &mut dyn FnMut() -> bool,
) -> Result<PrivateKey, RsaError> {
    if !KEY_BITS.contains(&bits) {
        return Err(RsaError::KeySize);
    }
    if !exponent_is_allowed(e) {
        return Err(RsaError::Exponent);
    }
    let search = libtpms::Search::new(bits / 2, e, start);
    let q = search.prime(engine, rng, cancel)?;
    loop {
        let p = search.prime(engine, rng, cancel)?;
        if libtpms::far_apart(&p, &q) {
            return PrivateKey::from_primes(e, p, q).map(|key| key.with_engine(engine));
        }
    }
}

/// The raw public operation: `input^e mod n`, as long as the modulus (Part 1, B.2).
///
/// # Errors
/// `InputTooLarge` if the number is not below the modulus.
pub fn public_raw(key: &PublicKey, input: &[u8]) -> Result<alloc::vec::Vec<u8>, RsaError> {
    key.raw(input)
}

/// The raw private operation: `input^d mod n`, as long as the modulus (Part 1, B.3).
///
/// # Errors
/// `InputTooLarge` if the number is not below the modulus; `Binding` if the key cannot work; `Fault` if the result did
/// not verify.
pub fn private_raw<R: CryptoRng + ?Sized>(
    key: &mut PrivateKey,
    input: &[u8],
    rng: &mut R,
) -> Result<zeroize::Zeroizing<alloc::vec::Vec<u8>>, RsaError> {
    key.raw(input, rng)
}

impl From<Cancelled> for RsaError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// Whether `|p - q| >= 2^(half - 100)` (FIPS 186-5, A.1.3).
fn far_apart(p: &[u64], q: &[u64], half: usize) -> bool {
    let (difference, negative) = limbs::subtract(p, q);
    let difference = if negative == 0 {
        difference
    } else {
        limbs::subtract(q, p).0
    };
    limbs::bit_length(&difference) > half - 100
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
