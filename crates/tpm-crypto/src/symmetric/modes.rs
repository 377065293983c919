//! The five modes over any block cipher. Those that can work on several blocks at once do.

use cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use zeroize::Zeroize;

use super::{Direction, Mode, SymmetricError, expand};

/// Blocks given to the cipher at once: what the AES units of today's processors keep in flight.
const LANES: usize = 8;

/// Everything that needs only the encryption direction of the cipher. Sizes have been checked.
pub(super) fn forward<C: KeyInit + BlockCipherEncrypt>(
    mode: Mode,
    direction: Direction,
    key: &[u8],
    iv: &mut [u8],
    data: &mut [u8],
) -> Result<(), SymmetricError> {
    let cipher: C = expand(key)?;
    if mode == Mode::Ecb {
        let (blocks, _) = Block::<C>::slice_as_chunks_mut(data);
        cipher.encrypt_blocks(blocks);
        return Ok(());
    }
    let iv = <&mut Block<C>>::try_from(iv).map_err(|_| SymmetricError::IvSize)?;
    match (mode, direction) {
        (Mode::Ctr, _) => ctr(&cipher, iv, data),
        (Mode::Ofb, _) => ofb(&cipher, iv, data),
        (Mode::Cfb, Direction::Encrypt) => cfb_encrypt(&cipher, iv, data),
        (Mode::Cfb, Direction::Decrypt) => cfb_decrypt(&cipher, iv, data),
        (Mode::Cbc | Mode::Ecb, _) => cbc_encrypt(&cipher, iv, data),
    }
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
    if mode == Mode::Ecb {
        let (blocks, _) = Block::<C>::slice_as_chunks_mut(data);
        cipher.decrypt_blocks(blocks);
        return Ok(());
    }
    let iv = <&mut Block<C>>::try_from(iv).map_err(|_| SymmetricError::IvSize)?;
    cbc_decrypt(&cipher, iv, data);
    Ok(())
}

fn ctr<C: BlockCipherEncrypt>(cipher: &C, counter: &mut Block<C>, data: &mut [u8]) {
    let mut lanes = lanes::<C>();
    for chunk in data.chunks_mut(LANES * C::block_size()) {
        let used = chunk.len().div_ceil(C::block_size());
        let used = lanes.get_mut(..used).unwrap_or_default();
        for lane in &mut *used {
            lane.clone_from(counter);
            increment(counter);
        }
        cipher.encrypt_blocks(used);
        for (block, lane) in chunk.chunks_mut(C::block_size()).zip(used) {
            xor(block, lane);
        }
    }
    wipe::<C>(&mut lanes);
}

fn ofb<C: BlockCipherEncrypt>(cipher: &C, iv: &mut Block<C>, data: &mut [u8]) {
    for block in data.chunks_mut(C::block_size()) {
        cipher.encrypt_block(iv);
        xor(block, iv);
    }
}

fn cfb_encrypt<C: BlockCipherEncrypt>(cipher: &C, iv: &mut Block<C>, data: &mut [u8]) {
    for block in data.chunks_mut(C::block_size()) {
        cipher.encrypt_block(iv);
        xor(block, iv);
        feed_back(iv, block);
    }
}

fn cfb_decrypt<C: BlockCipherEncrypt>(cipher: &C, iv: &mut Block<C>, data: &mut [u8]) {
    let mut lanes = lanes::<C>();
    for chunk in data.chunks_mut(LANES * C::block_size()) {
        let used = chunk.len().div_ceil(C::block_size());
        let used = lanes.get_mut(..used).unwrap_or_default();
        for (lane, block) in used.iter_mut().zip(chunk.chunks(C::block_size())) {
            lane.clone_from(iv);
            feed_back(iv, block);
        }
        cipher.encrypt_blocks(used);
        for (block, lane) in chunk.chunks_mut(C::block_size()).zip(used) {
            xor(block, lane);
        }
    }
    wipe::<C>(&mut lanes);
}

fn cbc_encrypt<C: BlockCipherEncrypt>(cipher: &C, iv: &mut Block<C>, data: &mut [u8]) {
    for block in data.chunks_exact_mut(C::block_size()) {
        xor(iv, block);
        cipher.encrypt_block(iv);
        block.copy_from_slice(iv);
    }
}

fn cbc_decrypt<C: BlockCipherDecrypt>(cipher: &C, iv: &mut Block<C>, data: &mut [u8]) {
    let mut lanes = lanes::<C>();
    for chunk in data.chunks_mut(LANES * C::block_size()) {
        let used = chunk.len() / C::block_size();
        let used = lanes.get_mut(..used).unwrap_or_default();
        for (lane, block) in used.iter_mut().zip(chunk.chunks_exact(C::block_size())) {
            lane.copy_from_slice(block);
        }
        cipher.decrypt_blocks(used);
        for (block, lane) in chunk.chunks_exact_mut(C::block_size()).zip(used) {
            xor(lane, iv);
            iv.copy_from_slice(block);
            block.copy_from_slice(lane);
        }
    }
    wipe::<C>(&mut lanes);
}

/// The ciphertext becomes the chaining value; what a last, partial block lacks is zero (as the TCG reference code has it).
fn feed_back(iv: &mut [u8], ciphertext: &[u8]) {
    let padded = ciphertext.iter().chain(core::iter::repeat(&0));
    for (to, from) in iv.iter_mut().zip(padded) {
        *to = *from;
    }
}

fn increment(counter: &mut [u8]) {
    for byte in counter.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}

fn xor(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

fn lanes<C: BlockSizeUser>() -> [Block<C>; LANES] {
    core::array::from_fn(|_| Block::<C>::default())
}

/// Keystream and plaintext do not stay on the stack.
fn wipe<C: BlockSizeUser>(lanes: &mut [Block<C>]) {
    for lane in lanes {
        lane.as_mut_slice().zeroize();
    }
}
