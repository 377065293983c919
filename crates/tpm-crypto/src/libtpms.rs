//! The random numbers that libtpms makes a primary key from, for TPMs that come from there.
//!
//! Primary keys are not stored: a TPM makes them again from a seed. Whoever takes over the seed without the way from it to the
//! key loses the keys, and with an endorsement key its certificate. Therefore this is libtpms's way, found by reading what it does
//! and by comparing keys with it, beside ours in [`drbg`](crate::drbg) and [`prime`](crate::prime). It is a format like ours: it
//! must never change.
//!
//! # The generator
//!
//! It is the CTR_DRBG with AES-256 of `drbg`, with another derivation function. That has three chains, over blocks of 16
//! bytes. A step takes a block and, from the first chain to the third, adds the chain and the block to a running sum that starts at
//! zero for each step, and makes the encryption of the sum the chain. (Where SP 800-90A runs three chains that know nothing of each
//! other, here the second depends on the first, and the third on both.)
//!
//! 1. The chains start as zeros with their number, 0 to 2, in the fourth byte. One step over a block of zeros.
//! 2. The first eight bytes of the first chain are replaced by the size of the input and the size of the output (48), 32 bits each.
//! 3. Steps over the input with four zeros before it, and with one byte of 0x80 and zeros up to a whole block after it. The parts of
//!    the input are joined without anything between them.
//! 4. The chains, joined, are the seed material.
//!
//! More data are stirred in with the same function over these data alone.

use core::convert::Infallible;
use core::fmt;

use aes::Aes256Enc;
use cipher::{BlockCipherEncrypt, KeyInit};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize, Zeroizing};

use crate::drbg::{BLOCK_SIZE, Drbg, KEY_SIZE, SEED_SIZE};

/// How libtpms makes the start of a prime search from random bytes; a seed keeps the way of the version that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Seeds that libtpms before 0.8 made: the bytes are a little-endian number, of which the upper 16 bits are mapped to the range of primes.
    Narrow,
    /// Seeds since then: the bytes are a big-endian number, of which the upper 32 bits are mapped to that range.
    Wide,
}

/// The generator that libtpms makes a primary object with.
pub struct Generator {
    drbg: Drbg,
    start: Start,
}

impl Generator {
    /// Seeds a generator with the parts, which are joined.
    #[must_use]
    pub fn new(parts: &[&[u8]], start: Start) -> Self {
        Self {
            drbg: Drbg::from_material(&derive(parts)),
            start,
        }
    }

    /// Stirs data in.
    pub fn reseed(&mut self, data: &[u8]) {
        self.drbg.update(&derive(&[data]));
    }

    /// How a prime search of this generator starts.
    #[must_use]
    pub const fn start(&self) -> Start {
        self.start
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generator(..)")
    }
}

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.drbg.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.drbg.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.drbg.try_fill_bytes(out)
    }
}

impl TryCryptoRng for Generator {}

/// The derivation function, as the head of this file says.
fn derive(parts: &[&[u8]]) -> Zeroizing<[u8; SEED_SIZE]> {
    let size = parts.iter().map(|part| part.len()).sum::<usize>();
    let key: [u8; KEY_SIZE] = core::array::from_fn(|i| u8::try_from(i).unwrap_or_default());
    let cipher = Aes256Enc::new(&key.into());
    let mut chains = Zeroizing::new([[0; BLOCK_SIZE]; CHAINS]);
    for (chain, number) in chains.iter_mut().zip(0_u32..) {
        set(chain, &number.to_be_bytes());
    }
    step(&cipher, &mut chains, &[0; BLOCK_SIZE]);
    if let Some(first) = chains.first_mut() {
        let lengths = [size, SEED_SIZE].map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        let [[a, b, c, d], [e, f, g, h]] = lengths.map(u32::to_be_bytes);
        set(first, &[a, b, c, d, e, f, g, h]);
    }

    let mut block = Zeroizing::new([0; BLOCK_SIZE]);
    let mut filled = 4;
    let end: &[u8] = &[0x80];
    for byte in parts.iter().chain([&end]).copied().flatten() {
        if let Some(to) = block.get_mut(filled) {
            *to = *byte;
        }
        filled += 1;
        if filled == BLOCK_SIZE {
            step(&cipher, &mut chains, &block);
            block.zeroize();
            filled = 0;
        }
    }
    if filled > 0 {
        step(&cipher, &mut chains, &block);
    }
    let mut out = Zeroizing::new([0; SEED_SIZE]);
    set(&mut *out, chains.as_flattened());
    out
}

fn step(cipher: &Aes256Enc, chains: &mut [[u8; BLOCK_SIZE]; CHAINS], block: &[u8; BLOCK_SIZE]) {
    let mut sum = Zeroizing::new([0; BLOCK_SIZE]);
    for chain in chains {
        for ((sum, chain), block) in sum.iter_mut().zip(chain.iter()).zip(block) {
            *sum ^= chain ^ block;
        }
        *chain = *sum;
        cipher.encrypt_block(chain.into());
    }
}

fn set(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

const CHAINS: usize = SEED_SIZE / BLOCK_SIZE;

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that swtpm made show that this is its generator (`import/libtpms/tests.rs` of the binary); this holds the bytes.
    #[test]
    fn output_never_changes() {
        let mut generator = Generator::new(&[&[0x5A; 64], b"label\0", b"", &[7; 34]], Start::Wide);
        let mut bytes = [0; 40];
        generator.try_fill_bytes(&mut bytes).unwrap();
        assert_eq!(hex::encode(bytes), FIRST_40);
        generator.reseed(&[3; 64]);
        generator.try_fill_bytes(&mut bytes).unwrap();
        assert_eq!(hex::encode(bytes), AFTER_RESEED);
    }

    #[test]
    fn the_cuts_between_the_parts_do_not_count_but_the_size_does() {
        assert_eq!(derive(&[b"seed", b"x"]), derive(&[b"seedx"]));
        assert_ne!(derive(&[b"seed"]), derive(&[b"seed", b"\x80"]));
        // Input that ends with a block.
        assert_ne!(derive(&[&[1; 11]]), derive(&[&[1; 12]]));
        assert_ne!(derive(&[&[0; 11]]), derive(&[&[0; 12]]));
    }

    const FIRST_40: &str =
        "d9d8563e6634a23c5b6526ad2d6ccc04f27f705c25fd89c17e829c31a69467d8ef805aed6ff4dc2f";
    const AFTER_RESEED: &str =
        "05772d0eeb55122b68a0a51241bee74c5aeda9ae2635969df1cb67b30ff8abfaab527814f8b5aa1c";
}
