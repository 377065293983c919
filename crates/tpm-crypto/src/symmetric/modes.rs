//! The five modes over any block cipher.
//!
//! Each mode is a closure that the cipher calls with its backend, so that the loop is compiled together with the
//! processor's AES instructions: four times as fast as asking the cipher block by block.

use cipher::array::ArraySize;
use cipher::{
    Array, Block, BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt,
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit,
};
use zeroize::Zeroize;

use super::{Direction, Mode, SymmetricError, expand};

/// Everything that needs only the encryption direction of the cipher. Sizes have been checked.
pub(super) fn forward<C: KeyInit + BlockCipherEncrypt>(
    mode: Mode,
    direction: Direction,
    key: &[u8],
    iv: &mut [u8],
    data: &mut [u8],
) -> Result<(), SymmetricError> {
    let cipher: C = expand(key)?;
    let (blocks, tail) = Block::<C>::slice_as_chunks_mut(data);
    if mode == Mode::Ecb {
        cipher.encrypt_blocks(blocks);
        return Ok(());
    }
    cipher.encrypt_with_backend(Forward {
        mode,
        direction,
        iv: iv.try_into().map_err(|_| SymmetricError::IvSize)?,
        blocks,
        tail,
    });
    Ok(())
}

/// CBC and ECB decryption. Sizes have been checked.
pub(super) fn backward<C: KeyInit + BlockCipherDecrypt>(
    mode: Mode,
    key: &[u8],
    iv: &mut [u8],
    data: &mut [u8],
) -> Result<(), SymmetricError> {
    let cipher: C = expand(key)?;
    let (blocks, _) = Block::<C>::slice_as_chunks_mut(data);
    if mode == Mode::Ecb {
        cipher.decrypt_blocks(blocks);
        return Ok(());
    }
    cipher.decrypt_with_backend(CbcDecrypt {
        iv: iv.try_into().map_err(|_| SymmetricError::IvSize)?,
        blocks,
    });
    Ok(())
}

struct Forward<'a, N: ArraySize> {
    mode: Mode,
    direction: Direction,
    iv: &'a mut Array<u8, N>,
    blocks: &'a mut [Array<u8, N>],
    /// What is left after the last whole block.
    tail: &'a mut [u8],
}

impl<N: ArraySize> BlockSizeUser for Forward<'_, N> {
    type BlockSize = N;
}

impl<N: ArraySize> BlockCipherEncClosure for Forward<'_, N> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = N>>(self, cipher: &B) {
        match (self.mode, self.direction) {
            (Mode::Ctr, _) => self.ctr(cipher),
            (Mode::Ofb, _) => self.ofb(cipher),
            (Mode::Cfb, Direction::Encrypt) => self.cfb_encrypt(cipher),
            (Mode::Cfb, Direction::Decrypt) => self.cfb_decrypt(cipher),
            (Mode::Cbc | Mode::Ecb, _) => self.cbc_encrypt(cipher),
        }
    }
}

impl<N: ArraySize> Forward<'_, N> {
    #[inline(always)]
    fn ctr<B: BlockCipherEncBackend<BlockSize = N>>(self, cipher: &B) {
        // A shorter block is the low end of the number, which wraps as the block would.
        let mut counter =
            (self.iv.iter()).fold(0, |counter: u128, &byte| counter << 8 | u128::from(byte));
        let mut keystream = Array::default();
        for block in self.blocks {
            write_low_end(&mut keystream, counter);
            counter = counter.wrapping_add(1);
            cipher.encrypt_block((&mut keystream).into());
            xor_block(block, &keystream);
        }
        if !self.tail.is_empty() {
            write_low_end(&mut keystream, counter);
            counter = counter.wrapping_add(1);
            cipher.encrypt_block((&mut keystream).into());
            xor_tail(self.tail, &keystream);
        }
        write_low_end(self.iv, counter);
        keystream.as_mut_slice().zeroize();
    }

    #[inline(always)]
    fn ofb<B: BlockCipherEncBackend<BlockSize = N>>(self, cipher: &B) {
        for block in self.blocks {
            cipher.encrypt_block(self.iv.into());
            xor_block(block, self.iv);
        }
        if !self.tail.is_empty() {
            cipher.encrypt_block(self.iv.into());
            xor_tail(self.tail, self.iv);
        }
    }

    #[inline(always)]
    fn cfb_encrypt<B: BlockCipherEncBackend<BlockSize = N>>(self, cipher: &B) {
        for block in self.blocks {
            cipher.encrypt_block(self.iv.into());
            xor_block(self.iv, block);
            block.copy_from_slice(self.iv);
        }
        if !self.tail.is_empty() {
            cipher.encrypt_block(self.iv.into());
            xor_tail(self.tail, self.iv);
            feed_back(self.iv, self.tail);
        }
    }

    #[inline(always)]
    fn cfb_decrypt<B: BlockCipherEncBackend<BlockSize = N>>(self, cipher: &B) {
        let mut keystream = Array::default();
        for block in self.blocks {
            cipher.encrypt_block((&*self.iv, &mut keystream).into());
            self.iv.copy_from_slice(block);
            xor_block(block, &keystream);
        }
        if !self.tail.is_empty() {
            cipher.encrypt_block((&*self.iv, &mut keystream).into());
            feed_back(self.iv, self.tail);
            xor_tail(self.tail, &keystream);
        }
        keystream.as_mut_slice().zeroize();
    }

    #[inline(always)]
    fn cbc_encrypt<B: BlockCipherEncBackend<BlockSize = N>>(self, cipher: &B) {
        for block in self.blocks {
            xor_block(self.iv, block);
            cipher.encrypt_block(self.iv.into());
            block.copy_from_slice(self.iv);
        }
    }
}

struct CbcDecrypt<'a, N: ArraySize> {
    iv: &'a mut Array<u8, N>,
    blocks: &'a mut [Array<u8, N>],
}

impl<N: ArraySize> BlockSizeUser for CbcDecrypt<'_, N> {
    type BlockSize = N;
}

impl<N: ArraySize> BlockCipherDecClosure for CbcDecrypt<'_, N> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = N>>(self, cipher: &B) {
        let mut plain = Array::default();
        for block in self.blocks {
            cipher.decrypt_block((&*block, &mut plain).into());
            xor_block(&mut plain, self.iv);
            self.iv.copy_from_slice(block);
            block.copy_from_slice(&plain);
        }
        plain.as_mut_slice().zeroize();
    }
}

/// The ciphertext becomes the chaining value; what a last, partial block lacks is zero (as the TCG reference code has it).
fn feed_back(iv: &mut [u8], ciphertext: &[u8]) {
    let padded = ciphertext.iter().chain(core::iter::repeat(&0));
    for (to, from) in iv.iter_mut().zip(padded) {
        *to = *from;
    }
}

#[inline(always)]
fn write_low_end<N: ArraySize>(block: &mut Array<u8, N>, number: u128) {
    let bytes = number.to_be_bytes();
    if let Some((_, low)) = bytes.split_at_checked(bytes.len().saturating_sub(N::USIZE)) {
        block.copy_from_slice(low);
    }
}

/// The size is known when this is compiled, which makes it one instruction.
#[inline(always)]
fn xor_block<N: ArraySize>(to: &mut Array<u8, N>, from: &Array<u8, N>) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

fn xor_tail(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}
