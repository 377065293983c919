//! Block ciphers and their modes of operation (Part 1, 11.4.7).
//!
//! The ciphers are RustCrypto's; the modes are our own, because the TPM returns the chaining value after data that may end
//! in the middle of a block, which the published mode crates do not show.

use core::fmt;

use aes::{Aes128Dec, Aes128Enc, Aes192Dec, Aes192Enc, Aes256Dec, Aes256Enc};
use camellia::{Camellia128, Camellia192, Camellia256};
use cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use des::{TdesEde2, TdesEde3};
use sm4::Sm4;
use zeroize::Zeroize;

mod modes;
mod tdes;
#[cfg(test)]
mod tests;

pub use tdes::{tdes_key_valid, tdes_set_odd_parity};

/// A block cipher (Part 2, 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockCipher {
    /// AES with keys of 128, 192 and 256 bits.
    Aes,
    /// Camellia with keys of 128, 192 and 256 bits.
    Camellia,
    /// Triple DES with two keys (128 bits with parity) or three (192 bits).
    Tdes,
    /// SM4 with keys of 128 bits.
    Sm4,
}

impl BlockCipher {
    /// The largest block of any cipher.
    pub const MAX_BLOCK_SIZE: usize = 16;
    /// The largest key of any cipher in bytes.
    pub const MAX_KEY_SIZE: usize = 32;

    /// Every cipher, in the order of the enum.
    pub const ALL: [Self; 4] = [Self::Aes, Self::Camellia, Self::Tdes, Self::Sm4];

    /// Size of a block in bytes.
    pub const fn block_size(self) -> usize {
        match self {
            Self::Aes | Self::Camellia | Self::Sm4 => 16,
            Self::Tdes => 8,
        }
    }
}

/// A mode of operation (Part 2, 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Counter; the whole block counts, most significant byte first.
    Ctr,
    /// Output feedback.
    Ofb,
    /// Cipher block chaining; whole blocks only.
    Cbc,
    /// Cipher feedback with whole blocks fed back; the only mode of parameter encryption and object protection.
    Cfb,
    /// Electronic codebook; whole blocks only, no IV.
    Ecb,
}

impl Mode {
    /// Whether the data must be a multiple of the block size.
    pub const fn whole_blocks_only(self) -> bool {
        matches!(self, Self::Cbc | Self::Ecb)
    }

    /// Size of the IV in bytes.
    pub const fn iv_size(self, cipher: BlockCipher) -> usize {
        match self {
            Self::Ecb => 0,
            Self::Ctr | Self::Ofb | Self::Cbc | Self::Cfb => cipher.block_size(),
        }
    }
}

/// Why data was neither encrypted nor decrypted; it is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SymmetricError {
    /// The cipher has no keys of this length.
    KeySize,
    /// The IV is not one block, or not empty in a mode without IV.
    IvSize,
    /// The mode takes whole blocks only.
    DataSize,
}

impl fmt::Display for SymmetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeySize => "the cipher has no keys of this length",
            Self::IvSize => "the IV does not have the size that cipher and mode need",
            Self::DataSize => "the mode takes whole blocks only",
        })
    }
}

impl core::error::Error for SymmetricError {}

/// Whether the cipher has keys of this many bits.
pub const fn key_bits_supported(cipher: BlockCipher, bits: u16) -> bool {
    match cipher {
        BlockCipher::Aes | BlockCipher::Camellia => matches!(bits, 128 | 192 | 256),
        BlockCipher::Tdes => matches!(bits, 128 | 192),
        BlockCipher::Sm4 => bits == 128,
    }
}

/// Encrypts in place. `iv` becomes the chaining value with which the next piece of the same message would go on (Part 3, 15.3).
///
/// # Errors
/// A wrong size of key, IV or data; then nothing has changed.
pub fn encrypt(
    cipher: BlockCipher,
    mode: Mode,
    key: &[u8],
    iv: &mut [u8],
    data: &mut [u8],
) -> Result<(), SymmetricError> {
    check_sizes(cipher, mode, iv, data)?;
    let runs = Runs::of(cipher, key.len())?;
    (runs.forward)(mode, Direction::Encrypt, key, iv, data)
}

/// Decrypts in place; the inverse of [`encrypt`], with the same result in `iv`.
///
/// # Errors
/// A wrong size of key, IV or data; then nothing has changed.
pub fn decrypt(
    cipher: BlockCipher,
    mode: Mode,
    key: &[u8],
    iv: &mut [u8],
    data: &mut [u8],
) -> Result<(), SymmetricError> {
    check_sizes(cipher, mode, iv, data)?;
    let runs = Runs::of(cipher, key.len())?;
    if mode.whole_blocks_only() {
        (runs.backward)(mode, key, iv, data)
    } else {
        (runs.forward)(mode, Direction::Decrypt, key, iv, data)
    }
}

/// Encrypts in CFB mode without giving the chaining value back.
///
/// # Errors
/// A wrong size of key or IV.
pub fn cfb_encrypt(
    cipher: BlockCipher,
    key: &[u8],
    iv: &[u8],
    data: &mut [u8],
) -> Result<(), SymmetricError> {
    with_iv_copy(iv, |iv| encrypt(cipher, Mode::Cfb, key, iv, data))
}

/// Decrypts in CFB mode without giving the chaining value back.
///
/// # Errors
/// A wrong size of key or IV.
pub fn cfb_decrypt(
    cipher: BlockCipher,
    key: &[u8],
    iv: &[u8],
    data: &mut [u8],
) -> Result<(), SymmetricError> {
    with_iv_copy(iv, |iv| decrypt(cipher, Mode::Cfb, key, iv, data))
}

/// The expanded encryption key of any cipher, for the constructions that work block by block.
#[derive(Clone)]
pub(crate) enum ForwardKey {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
    Camellia128(Camellia128),
    Camellia192(Camellia192),
    Camellia256(Camellia256),
    Tdes2(TdesEde2),
    Tdes3(TdesEde3),
    Sm4(Sm4),
}

impl ForwardKey {
    pub(crate) fn new(cipher: BlockCipher, key: &[u8]) -> Result<Self, SymmetricError> {
        match (cipher, key.len()) {
            (BlockCipher::Aes, 16) => expand(key).map(Self::Aes128),
            (BlockCipher::Aes, 24) => expand(key).map(Self::Aes192),
            (BlockCipher::Aes, 32) => expand(key).map(Self::Aes256),
            (BlockCipher::Camellia, 16) => expand(key).map(Self::Camellia128),
            (BlockCipher::Camellia, 24) => expand(key).map(Self::Camellia192),
            (BlockCipher::Camellia, 32) => expand(key).map(Self::Camellia256),
            (BlockCipher::Tdes, 16) => expand(key).map(Self::Tdes2),
            (BlockCipher::Tdes, 24) => expand(key).map(Self::Tdes3),
            (BlockCipher::Sm4, 16) => expand(key).map(Self::Sm4),
            _ => Err(SymmetricError::KeySize),
        }
    }

    /// Encrypts the first block of the buffer in place.
    pub(crate) fn encrypt_block(&self, block: &mut [u8]) {
        match self {
            Self::Aes128(key) => encrypt_block(key, block),
            Self::Aes192(key) => encrypt_block(key, block),
            Self::Aes256(key) => encrypt_block(key, block),
            Self::Camellia128(key) => encrypt_block(key, block),
            Self::Camellia192(key) => encrypt_block(key, block),
            Self::Camellia256(key) => encrypt_block(key, block),
            Self::Tdes2(key) => encrypt_block(key, block),
            Self::Tdes3(key) => encrypt_block(key, block),
            Self::Sm4(key) => encrypt_block(key, block),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
}

type Forward = fn(Mode, Direction, &[u8], &mut [u8], &mut [u8]) -> Result<(), SymmetricError>;
type Backward = fn(Mode, &[u8], &mut [u8], &mut [u8]) -> Result<(), SymmetricError>;

/// The modes of one cipher with keys of one size.
struct Runs {
    /// All modes that need the cipher's encryption alone, for both directions.
    forward: Forward,
    /// Decryption of whole blocks.
    backward: Backward,
}

impl Runs {
    const fn new<E: KeyInit + BlockCipherEncrypt, D: KeyInit + BlockCipherDecrypt>() -> Self {
        Self {
            forward: modes::forward::<E>,
            backward: modes::backward::<D>,
        }
    }

    fn of(cipher: BlockCipher, key_size: usize) -> Result<Self, SymmetricError> {
        Ok(match (cipher, key_size) {
            (BlockCipher::Aes, 16) => Self::new::<Aes128Enc, Aes128Dec>(),
            (BlockCipher::Aes, 24) => Self::new::<Aes192Enc, Aes192Dec>(),
            (BlockCipher::Aes, 32) => Self::new::<Aes256Enc, Aes256Dec>(),
            (BlockCipher::Camellia, 16) => Self::new::<Camellia128, Camellia128>(),
            (BlockCipher::Camellia, 24) => Self::new::<Camellia192, Camellia192>(),
            (BlockCipher::Camellia, 32) => Self::new::<Camellia256, Camellia256>(),
            (BlockCipher::Tdes, 16) => Self::new::<TdesEde2, TdesEde2>(),
            (BlockCipher::Tdes, 24) => Self::new::<TdesEde3, TdesEde3>(),
            (BlockCipher::Sm4, 16) => Self::new::<Sm4, Sm4>(),
            _ => return Err(SymmetricError::KeySize),
        })
    }
}

fn check_sizes(
    cipher: BlockCipher,
    mode: Mode,
    iv: &[u8],
    data: &[u8],
) -> Result<(), SymmetricError> {
    if iv.len() != mode.iv_size(cipher) {
        return Err(SymmetricError::IvSize);
    }
    if mode.whole_blocks_only() && !data.len().is_multiple_of(cipher.block_size()) {
        return Err(SymmetricError::DataSize);
    }
    Ok(())
}

fn with_iv_copy(
    iv: &[u8],
    run: impl FnOnce(&mut [u8]) -> Result<(), SymmetricError>,
) -> Result<(), SymmetricError> {
    let mut copy = [0; BlockCipher::MAX_BLOCK_SIZE];
    let chaining = copy.get_mut(..iv.len()).ok_or(SymmetricError::IvSize)?;
    chaining.copy_from_slice(iv);
    let result = run(chaining);
    copy.zeroize();
    result
}

fn expand<C: KeyInit>(key: &[u8]) -> Result<C, SymmetricError> {
    C::new_from_slice(key).map_err(|_| SymmetricError::KeySize)
}

fn encrypt_block<C: BlockCipherEncrypt>(key: &C, block: &mut [u8]) {
    let (whole, _) = Block::<C>::slice_as_chunks_mut(block);
    if let Some(block) = whole.first_mut() {
        key.encrypt_block(block);
    }
}
