//! Contexts (Part 3, 28), and how they are protected outside of the TPM (Part 1, 30).
//!
//! A blob is an HMAC over the rest, then the sequence number and the content, encrypted. Both keys come from the proof of
//! the hierarchy, so that what ends the hierarchy ends its contexts. The HMAC covers the number of TPM Resets, which ends
//! them all, and for `stClear` objects the number of TPM Restarts since.

#[cfg(test)]
pub(crate) mod build;
mod context_load;
mod context_save;
mod evict_control;
mod flush_context;

use crate::algorithms::{hash_algorithm, hmac, small};
use crate::commands::capability::CONTEXT_KEY_BITS;
use crate::hierarchy::CONTEXT_HASH;
use crate::state::Tpm;
use alloc::vec::Vec;
use subtle::ConstantTimeEq;
use tpm_crypto::kdf::kdfa;
use tpm_crypto::symmetric::{BlockCipher, cfb_decrypt, cfb_encrypt};
use tpm_wire::buffers::{Tpm2bContextData, Tpm2bDigest};
use tpm_wire::codec::{Input, Marshal, Parse, response_code};
use tpm_wire::commands::ContextLoad;
use tpm_wire::context::TpmsContext;
use tpm_wire::handles::{TpmHandle, TpmiDhSaved, TpmiRhHierarchy};
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// `savedHandle` of an ordinary object (Part 2, 14.5).
const SAVED_OBJECT: TpmHandle = TpmHandle(0x8000_0000);
/// `savedHandle` of a sequence object.
const SAVED_SEQUENCE: TpmHandle = TpmHandle(0x8000_0001);
/// `savedHandle` of an `stClear` object.
const SAVED_ST_CLEAR: TpmHandle = TpmHandle(0x8000_0002);

/// Bytes of the AES key that encrypts a context.
const KEY_SIZE: usize = CONTEXT_KEY_BITS as usize / 8;
/// Bytes of the sequence number, which begins what is encrypted.
const FINGERPRINT_SIZE: usize = 8;
/// Random bytes before the content of an object. Two different objects could get the same number if a TPM were put back to
/// an earlier state; they make the keystreams differ.
const SALT_SIZE: usize = 8;

/// What of a context decides about its keys.
#[derive(Clone, Copy)]
struct Label {
    sequence: u64,
    saved_handle: TpmHandle,
    hierarchy: TpmHandle,
}

impl Tpm {
    /// Encrypts or decrypts the bytes behind the HMAC.
    fn crypt_context(&self, label: Label, data: &mut [u8], encrypt: bool) -> Result<(), Rc> {
        let block = BlockCipher::Aes.block_size();
        let bits = u32::try_from((KEY_SIZE + block) * 8).unwrap_or_default();
        let mut material = kdfa(
            hash_algorithm(CONTEXT_HASH),
            &self.hierarchies.proof(label.hierarchy),
            b"CONTEXT",
            &label.sequence.to_be_bytes(),
            &label.saved_handle.0.to_be_bytes(),
            bits,
        );
        let (key, iv) = material
            .split_at_mut_checked(KEY_SIZE)
            .ok_or(Rc::SYMMETRIC)?;
        let crypt = if encrypt { cfb_encrypt } else { cfb_decrypt };
        crypt(BlockCipher::Aes, key, iv, data).map_err(|_| Rc::SYMMETRIC)
    }

    fn context_integrity(&self, label: Label, encrypted: &[u8]) -> Tpm2bDigest {
        let resets = self.clock.total_reset_count.to_be_bytes();
        let clears = self.clock.clear_count.to_be_bytes();
        let clears: &[u8] = if label.saved_handle == SAVED_ST_CLEAR {
            &clears
        } else {
            &[]
        };
        small(&hmac(
            CONTEXT_HASH,
            &self.hierarchies.proof(label.hierarchy),
            &[
                &resets,
                clears,
                &label.sequence.to_be_bytes(),
                &label.saved_handle.0.to_be_bytes(),
                encrypted,
            ],
        ))
    }

    /// Protects the content of a context.
    fn seal_context(&mut self, label: Label, content: &[u8]) -> Result<TpmsContext, Rc> {
        let mut data = Zeroizing::new(Vec::with_capacity(FINGERPRINT_SIZE + content.len()));
        label.sequence.marshal(&mut data);
        data.extend_from_slice(content);
        self.crypt_context(label, &mut data, true)?;
        let mut blob = self.context_integrity(label, &data).to_bytes();
        blob.extend_from_slice(&data);
        let Some(context_blob) = Tpm2bContextData::new(blob) else {
            return Err(self.fail("a context is longer than a context can be"));
        };
        Ok(TpmsContext {
            sequence: label.sequence,
            saved_handle: TpmiDhSaved(label.saved_handle),
            hierarchy: (label.hierarchy != TpmHandle::NULL)
                .then_some(TpmiRhHierarchy(label.hierarchy)),
            context_blob,
        })
    }

    /// Checks a context and gives its content.
    ///
    /// # Errors
    /// What is wrong with the blob's form or its HMAC; failure mode if the HMAC is right and the content is not.
    fn open_context(
        &mut self,
        label: Label,
        blob: &Tpm2bContextData,
    ) -> Result<Zeroizing<Vec<u8>>, Rc> {
        let at = ContextLoad::context;
        let (encrypted, integrity) =
            Tpm2bDigest::parse(Input::new(blob, &self.profile.limits)).map_err(response_code)?;
        let encrypted = encrypted.bytes();
        if integrity.len() != CONTEXT_HASH.digest_size() || encrypted.len() < FINGERPRINT_SIZE {
            return Err(Rc::SIZE.at(at));
        }
        let expected = self.context_integrity(label, encrypted);
        if !bool::from(integrity.ct_eq(&expected)) {
            return Err(Rc::INTEGRITY.at(at));
        }
        let mut data = Zeroizing::new(encrypted.to_vec());
        self.crypt_context(label, &mut data, false)?;
        match data.split_first_chunk::<FINGERPRINT_SIZE>() {
            Some((fingerprint, content)) if *fingerprint == label.sequence.to_be_bytes() => {
                Ok(Zeroizing::new(content.to_vec()))
            }
            _ => Err(self.fail("a context with the right HMAC holds another number")),
        }
    }
}
