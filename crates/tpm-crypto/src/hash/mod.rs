//! Hash algorithms and the keyed hashes built on them (Part 1, 11.4).
//!
//! One enum instead of generic parameters: which hash runs is known only when a command arrives.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use digest::common::hazmat::{SerializableState, SerializedState};
use digest::{FixedOutput, Output, Update};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use sha3::{Sha3_256, Sha3_384, Sha3_512};
use sm3::Sm3;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

mod mac;
#[cfg(test)]
mod tests;

pub use mac::{Cmac, Hmac, hmac};

/// A hash algorithm that the TPM implements (Part 2, 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashAlgorithm {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
    /// SHA3-256, 32 bytes.
    Sha3_256,
    /// SHA3-384, 48 bytes.
    Sha3_384,
    /// SHA3-512, 64 bytes.
    Sha3_512,
    /// SM3, 32 bytes.
    Sm3_256,
}

impl HashAlgorithm {
    /// Every algorithm, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::Sha1,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha3_256,
        Self::Sha3_384,
        Self::Sha3_512,
        Self::Sm3_256,
    ];

    /// Size of a digest in bytes.
    pub const fn digest_size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 | Self::Sm3_256 => 32,
            Self::Sha384 | Self::Sha3_384 => 48,
            Self::Sha512 | Self::Sha3_512 => 64,
        }
    }

    /// Size in bytes of the block that the algorithm consumes at a time; an HMAC key fills one.
    pub const fn block_size(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha256 | Self::Sm3_256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
            Self::Sha3_256 => 136,
            Self::Sha3_384 => 104,
            Self::Sha3_512 => 72,
        }
    }
}

/// The result of a hash or MAC: at most 64 bytes, kept in place.
///
/// Comparison takes the same time wherever the bytes differ, so that it may judge an HMAC. A digest that serves as a key
/// belongs in a [`zeroize::Zeroizing`].
#[derive(Clone)]
pub struct Digest {
    bytes: [u8; Self::MAX_SIZE],
    size: usize,
}

impl Digest {
    /// The largest digest of any algorithm.
    pub const MAX_SIZE: usize = 64;

    /// A digest with these bytes, if they fit.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut digest = Self::zero(bytes.len());
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }

    fn zero(size: usize) -> Self {
        Self {
            bytes: [0; Self::MAX_SIZE],
            size,
        }
    }
}

impl Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Zeroize for Digest {
    fn zeroize(&mut self) {
        self.bytes.zeroize();
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice().ct_eq(other).into()
    }
}

impl Eq for Digest {}

impl PartialEq<[u8]> for Digest {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_slice().ct_eq(other).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(")?;
        for byte in self.iter() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Hashes the parts as if they were joined.
pub fn hash(algorithm: HashAlgorithm, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// A hash under way; it can be saved half done, as a hash sequence object is by a context save.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
    Sha3_256(Sha3_256),
    Sha3_384(Sha3_384),
    Sha3_512(Sha3_512),
    Sm3_256(Sm3),
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self(match algorithm {
            HashAlgorithm::Sha1 => State::Sha1(Sha1::default()),
            HashAlgorithm::Sha256 => State::Sha256(Sha256::default()),
            HashAlgorithm::Sha384 => State::Sha384(Sha384::default()),
            HashAlgorithm::Sha512 => State::Sha512(Sha512::default()),
            HashAlgorithm::Sha3_256 => State::Sha3_256(Sha3_256::default()),
            HashAlgorithm::Sha3_384 => State::Sha3_384(Sha3_384::default()),
            HashAlgorithm::Sha3_512 => State::Sha3_512(Sha3_512::default()),
            HashAlgorithm::Sm3_256 => State::Sm3_256(Sm3::default()),
        })
    }

    /// The algorithm that was asked for.
    pub fn algorithm(&self) -> HashAlgorithm {
        match self.0 {
            State::Sha1(_) => HashAlgorithm::Sha1,
            State::Sha256(_) => HashAlgorithm::Sha256,
            State::Sha384(_) => HashAlgorithm::Sha384,
            State::Sha512(_) => HashAlgorithm::Sha512,
            State::Sha3_256(_) => HashAlgorithm::Sha3_256,
            State::Sha3_384(_) => HashAlgorithm::Sha3_384,
            State::Sha3_512(_) => HashAlgorithm::Sha3_512,
            State::Sm3_256(_) => HashAlgorithm::Sm3_256,
        }
    }

    /// Adds data.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Sha1(core) => core.update(data),
            State::Sha256(core) => core.update(data),
            State::Sha384(core) => core.update(data),
            State::Sha512(core) => core.update(data),
            State::Sha3_256(core) => core.update(data),
            State::Sha3_384(core) => core.update(data),
            State::Sha3_512(core) => core.update(data),
            State::Sm3_256(core) => core.update(data),
        }
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha1(core) => finish(core),
            State::Sha256(core) => finish(core),
            State::Sha384(core) => finish(core),
            State::Sha512(core) => finish(core),
            State::Sha3_256(core) => finish(core),
            State::Sha3_384(core) => finish(core),
            State::Sha3_512(core) => finish(core),
            State::Sm3_256(core) => finish(core),
        }
    }

    /// The unfinished hash as bytes for [`Self::restore`]: as secret as the data.
    pub fn save(&self) -> Vec<u8> {
        match &self.0 {
            State::Sha1(core) => save(core),
            State::Sha256(core) => save(core),
            State::Sha384(core) => save(core),
            State::Sha512(core) => save(core),
            State::Sha3_256(core) => save(core),
            State::Sha3_384(core) => save(core),
            State::Sha3_512(core) => save(core),
            State::Sm3_256(core) => save(core),
        }
    }

    /// Takes up a saved hash; `None` if these bytes cannot be one of this algorithm.
    pub fn restore(algorithm: HashAlgorithm, saved: &[u8]) -> Option<Self> {
        if !block_count_is_sane(algorithm, saved) {
            return None;
        }
        Some(Self(match algorithm {
            HashAlgorithm::Sha1 => State::Sha1(restore(saved)?),
            HashAlgorithm::Sha256 => State::Sha256(restore(saved)?),
            HashAlgorithm::Sha384 => State::Sha384(restore(saved)?),
            HashAlgorithm::Sha512 => State::Sha512(restore(saved)?),
            HashAlgorithm::Sha3_256 => State::Sha3_256(restore(saved)?),
            HashAlgorithm::Sha3_384 => State::Sha3_384(restore(saved)?),
            HashAlgorithm::Sha3_512 => State::Sha3_512(restore(saved)?),
            HashAlgorithm::Sm3_256 => State::Sm3_256(restore(saved)?),
        }))
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({:?}, ..)", self.algorithm())
    }
}

fn finish<D: FixedOutput>(core: D) -> Digest {
    let mut digest = Digest::zero(D::output_size());
    let (whole, _) = Output::<D>::slice_as_chunks_mut(&mut digest.bytes);
    if let Some(output) = whole.first_mut() {
        core.finalize_into(output);
    }
    digest
}

fn save<D: SerializableState>(core: &D) -> Vec<u8> {
    let mut state = core.serialize();
    let saved = state.to_vec();
    state.as_mut_slice().zeroize();
    saved
}

fn restore<D: SerializableState>(saved: &[u8]) -> Option<D> {
    let state = <&SerializedState<D>>::try_from(saved).ok()?;
    D::deserialize(state).ok()
}

/// The hash crates keep a count of blocks, least significant byte first, after the chaining value and multiply it when they
/// finish. A forged count would overflow there, which panics in a build with overflow checks, so its top bytes must be zero:
/// 2^48 blocks are more than any TPM will ever see.
fn block_count_is_sane(algorithm: HashAlgorithm, saved: &[u8]) -> bool {
    let top_of_count = match algorithm {
        HashAlgorithm::Sha1 => 26..28,
        HashAlgorithm::Sha256 | HashAlgorithm::Sm3_256 => 38..40,
        HashAlgorithm::Sha384 | HashAlgorithm::Sha512 => 70..80,
        HashAlgorithm::Sha3_256 | HashAlgorithm::Sha3_384 | HashAlgorithm::Sha3_512 => 0..0,
    };
    saved
        .get(top_of_count)
        .is_some_and(|top| top.iter().all(|&byte| byte == 0))
}
