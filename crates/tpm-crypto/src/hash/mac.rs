//! HMAC and CMAC that can be saved half done, as a sequence object is by a context save.

use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::{Digest, HashAlgorithm, Hasher, hash};
use crate::symmetric::{BlockCipher, ForwardKey, SymmetricError};

/// The HMAC of the parts as if they were joined (Part 1, 11.4.3).
pub fn hmac(algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Digest {
    let mut hmac = Hmac::new(algorithm, key);
    for part in parts {
        hmac.update(part);
    }
    hmac.finish()
}

/// An HMAC under way (Part 1, 11.4.3).
///
/// A clone of a fresh one is the cheap way to compute many HMACs with the same key.
#[derive(Clone)]
pub struct Hmac {
    inner: Hasher,
    outer: Hasher,
}

impl Hmac {
    /// Starts an HMAC; a key of any length will do.
    pub fn new(algorithm: HashAlgorithm, key: &[u8]) -> Self {
        if key.len() > algorithm.block_size() {
            let reduced = Zeroizing::new(hash(algorithm, &[key]));
            Self::with_block_key(algorithm, &reduced)
        } else {
            Self::with_block_key(algorithm, key)
        }
    }

    /// The hash algorithm inside.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.inner.algorithm()
    }

    /// Adds data.
    pub fn update(&mut self, data: &[u8]) {
        self.inner.update(data);
    }

    /// The HMAC of all that was added.
    pub fn finish(self) -> Digest {
        let Self { inner, mut outer } = self;
        outer.update(&inner.finish());
        outer.finish()
    }

    /// The unfinished HMAC as bytes for [`Self::restore`]: as secret as the key.
    pub fn save(&self) -> Vec<u8> {
        let inner = Zeroizing::new(self.inner.save());
        let outer = Zeroizing::new(self.outer.save());
        [inner.as_slice(), outer.as_slice()].concat()
    }

    /// Takes up a saved HMAC; `None` if these bytes cannot be one of this algorithm.
    pub fn restore(algorithm: HashAlgorithm, saved: &[u8]) -> Option<Self> {
        // Both halves are states of the same algorithm, hence of the same size.
        let (inner, outer) = saved.split_at_checked(saved.len() / 2)?;
        Some(Self {
            inner: Hasher::restore(algorithm, inner)?,
            outer: Hasher::restore(algorithm, outer)?,
        })
    }

    fn with_block_key(algorithm: HashAlgorithm, key: &[u8]) -> Self {
        Self {
            inner: padded(algorithm, key, 0x36),
            outer: padded(algorithm, key, 0x5c),
        }
    }
}

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hmac({:?}, ..)", self.algorithm())
    }
}

/// A CMAC under way (SP 800-38B).
#[derive(Clone)]
pub struct Cmac {
    cipher: BlockCipher,
    key: Zeroizing<Vec<u8>>,
    schedule: ForwardKey,
    /// The chaining value with the bytes of the current block already added to it.
    chain: Zeroizing<[u8; BlockCipher::MAX_BLOCK_SIZE]>,
    /// Bytes in the current block. It stays full until more data comes, since the last block is treated apart.
    filled: usize,
}

impl Cmac {
    /// Starts a CMAC.
    ///
    /// # Errors
    /// [`SymmetricError::KeySize`] if the cipher has no keys of this length.
    pub fn new(cipher: BlockCipher, key: &[u8]) -> Result<Self, SymmetricError> {
        Ok(Self {
            cipher,
            schedule: ForwardKey::new(cipher, key)?,
            key: Zeroizing::new(key.to_vec()),
            chain: Zeroizing::new([0; BlockCipher::MAX_BLOCK_SIZE]),
            filled: 0,
        })
    }

    /// The cipher inside.
    pub fn cipher(&self) -> BlockCipher {
        self.cipher
    }

    /// Adds data.
    pub fn update(&mut self, data: &[u8]) {
        let block_size = self.cipher.block_size();
        let mut data = data.iter();
        while !data.as_slice().is_empty() {
            if self.filled == block_size {
                self.schedule.encrypt_block(&mut *self.chain);
                self.filled = 0;
            }
            let free = self
                .chain
                .get_mut(self.filled..block_size)
                .unwrap_or_default();
            // The free room stands first: a zip takes an item too many from its left side only.
            for (to, from) in free.iter_mut().zip(data.by_ref()) {
                *to ^= from;
                self.filled += 1;
            }
        }
    }

    /// The CMAC of all that was added: one block of the cipher.
    pub fn finish(mut self) -> Digest {
        let block_size = self.cipher.block_size();
        let mut subkey = Zeroizing::new([0; BlockCipher::MAX_BLOCK_SIZE]);
        self.schedule.encrypt_block(&mut *subkey);
        let subkey = subkey.get_mut(..block_size).unwrap_or_default();
        double(subkey);
        if let Some(end) = self
            .chain
            .get_mut(self.filled)
            .filter(|_| self.filled < block_size)
        {
            *end ^= 0x80;
            double(subkey);
        }
        for (to, from) in self.chain.iter_mut().zip(&*subkey) {
            *to ^= from;
        }
        self.schedule.encrypt_block(&mut *self.chain);
        let mut digest = Digest::zero(block_size);
        for (to, from) in digest
            .bytes
            .iter_mut()
            .zip(self.chain.iter().take(block_size))
        {
            *to = *from;
        }
        digest
    }

    /// The unfinished CMAC as bytes for [`Self::restore`]; the key is among them.
    pub fn save(&self) -> Vec<u8> {
        let filled = u8::try_from(self.filled).unwrap_or_default();
        [&[filled], self.chain.as_slice(), &self.key].concat()
    }

    /// Takes up a saved CMAC; `None` if these bytes cannot be one of this cipher.
    pub fn restore(cipher: BlockCipher, saved: &[u8]) -> Option<Self> {
        let (&filled, saved) = saved.split_first()?;
        let (chain, key) = saved.split_first_chunk()?;
        let mut cmac = Self::new(cipher, key).ok()?;
        *cmac.chain = *chain;
        cmac.filled = usize::from(filled);
        (cmac.filled <= cipher.block_size()).then_some(cmac)
    }
}

impl fmt::Debug for Cmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cmac({:?}, ..)", self.cipher)
    }
}

const MAX_HASH_BLOCK_SIZE: usize = 136;

/// A hash that has consumed the key, padded to a block.
fn padded(algorithm: HashAlgorithm, key: &[u8], pad: u8) -> Hasher {
    let mut block = [pad; MAX_HASH_BLOCK_SIZE];
    for (to, from) in block.iter_mut().zip(key) {
        *to ^= from;
    }
    let mut hasher = Hasher::new(algorithm);
    hasher.update(block.get(..algorithm.block_size()).unwrap_or_default());
    block.zeroize();
    hasher
}

/// Doubles in the field of 2^64 or 2^128 elements, without a branch on the secret value.
fn double(block: &mut [u8]) {
    let polynomial = if block.len() == 8 { 0x1b } else { 0x87 };
    let mut carry = 0;
    for byte in block.iter_mut().rev() {
        let high = *byte >> 7;
        *byte = (*byte << 1) | carry;
        carry = high;
    }
    if let Some(last) = block.last_mut() {
        *last ^= polynomial & 0u8.wrapping_sub(carry);
    }
}
