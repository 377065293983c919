//! Encryption of the first parameter of a command or response by a session (Part 1, 21).

use crate::algorithms::{block_cipher, hash_algorithm};
use crate::session::Session;
use alloc::vec::Vec;
use tpm_crypto::kdf::{kdfa, xor_obfuscation};
use tpm_crypto::symmetric::{cfb_decrypt, cfb_encrypt};
use tpm_wire::algorithm::{TpmtSymDef, TpmtSymDefObject};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// Whether to encrypt a response or to decrypt a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Decrypt,
    Encrypt,
}

/// Encrypts or decrypts in place the contents of the sized buffer that `parameters` begins with.
///
/// `nonce_newer` is the caller's nonce for a command and the TPM's for a response; `extra_key` is the authorization
/// value of the entity that the session authorizes, empty if it authorizes none.
///
/// # Errors
/// `TPM_RC_INSUFFICIENT` without room for a size, `TPM_RC_SIZE` for a size beyond the parameters.
pub(crate) fn crypt_first_parameter(
    session: &Session,
    direction: Direction,
    nonce_newer: &[u8],
    nonce_older: &[u8],
    extra_key: &[u8],
    parameters: &mut [u8],
) -> Result<(), Rc> {
    let (size, rest) = parameters
        .split_first_chunk_mut::<2>()
        .ok_or(Rc::INSUFFICIENT)?;
    let data = rest
        .get_mut(..usize::from(u16::from_be_bytes(*size)))
        .ok_or(Rc::SIZE)?;
    let mut key = Zeroizing::new(Vec::with_capacity(128));
    key.extend_from_slice(&session.key);
    key.extend_from_slice(extra_key);
    match session.symmetric {
        None => Err(Rc::SYMMETRIC),
        Some(TpmtSymDef::Xor(_)) => {
            // The mask is made by the hash of the session, whatever hash the algorithm names (Part 1, 21.2).
            let hash = hash_algorithm(session.auth_hash);
            xor_obfuscation(hash, &key, nonce_newer, nonce_older, data);
            Ok(())
        }
        Some(TpmtSymDef::Block(block)) => cfb(
            session,
            direction,
            block,
            &key,
            nonce_newer,
            nonce_older,
            data,
        ),
    }
}

fn cfb(
    session: &Session,
    direction: Direction,
    block: TpmtSymDefObject,
    key: &[u8],
    nonce_newer: &[u8],
    nonce_older: &[u8],
    data: &mut [u8],
) -> Result<(), Rc> {
    let cipher = block_cipher(block.algorithm);
    let block_bits = u32::try_from(cipher.block_size() * 8).unwrap_or_default();
    let bits = u32::from(block.key_bits) + block_bits;
    let mut material = kdfa(
        hash_algorithm(session.auth_hash),
        key,
        b"CFB",
        nonce_newer,
        nonce_older,
        bits,
    );
    let (cipher_key, iv) = material
        .split_at_mut_checked(usize::from(block.key_bits) / 8)
        .ok_or(Rc::SYMMETRIC)?;
    match direction {
        Direction::Encrypt => cfb_encrypt(cipher, cipher_key, iv, data),
        Direction::Decrypt => cfb_decrypt(cipher, cipher_key, iv, data),
    }
    .map_err(|_| Rc::SYMMETRIC)
}
