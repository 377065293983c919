//! Sequences: data that is hashed piece by piece (Part 1, 32).

use crate::algorithms::hash_algorithm;
use crate::state_format::{marshal_bytes, parse_bytes};
use alloc::vec::Vec;
use tpm_crypto::hash::{Hasher, Hmac};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::buffers::Tpm2bAuth;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::rc::Rc;

/// What a sequence accumulates.
#[derive(Clone)]
pub(crate) enum SequenceState {
    /// One hash. Once the first data came, `safe` says that it does not begin like a structure of the TPM's own.
    Hash {
        hasher: Hasher,
        hash: TpmiAlgHash,
        safe: Option<bool>,
    },
    /// A message authentication code.
    Hmac { hmac: Hmac, hash: TpmiAlgHash },
    /// A block cipher MAC.
    Cmac(tpm_crypto::hash::Cmac),
    /// An event: a hash for each bank.
    Event(Vec<(TpmiAlgHash, Hasher)>),
}

/// A sequence object (Part 1, 32).
#[derive(Clone)]
pub(crate) struct Sequence {
    /// The authorization value.
    pub(crate) auth: Tpm2bAuth,
    /// What it accumulates.
    pub(crate) state: SequenceState,
}

impl Marshal for Sequence {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.auth.marshal(out);
        match &self.state {
            SequenceState::Hash { hasher, hash, safe } => {
                0u8.marshal(out);
                hash.marshal(out);
                marshal_bytes(&hasher.save(), out);
                safe.is_some().marshal(out);
                safe.unwrap_or_default().marshal(out);
            }
            SequenceState::Hmac { hmac, hash } => {
                1u8.marshal(out);
                hash.marshal(out);
                marshal_bytes(&hmac.save(), out);
            }
            SequenceState::Cmac(cmac) => {
                2u8.marshal(out);
                (cmac.cipher() as u8).marshal(out);
                marshal_bytes(&cmac.save(), out);
            }
            SequenceState::Event(hashers) => {
                3u8.marshal(out);
                u16::try_from(hashers.len())
                    .unwrap_or_default()
                    .marshal(out);
                for (hash, hasher) in hashers {
                    hash.marshal(out);
                    marshal_bytes(&hasher.save(), out);
                }
            }
        }
    }
}

impl Parse for Sequence {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let restore = |hash, bytes: &[u8]| Hasher::restore(hash_algorithm(hash), bytes);
        let (rest, auth) = Tpm2bAuth::parse(input)?;
        let (rest, kind) = u8::parse(rest)?;
        let (rest, state) = match kind {
            0 => {
                let (rest, hash) = TpmiAlgHash::parse(rest)?;
                let (rest, saved) = parse_bytes(rest)?;
                let (rest, begun) = bool::parse(rest)?;
                let (rest, safe) = bool::parse(rest)?;
                let Some(hasher) = restore(hash, &saved) else {
                    return refuse(Rc::VALUE);
                };
                let safe = begun.then_some(safe);
                (rest, SequenceState::Hash { hasher, hash, safe })
            }
            1 => {
                let (rest, hash) = TpmiAlgHash::parse(rest)?;
                let (rest, saved) = parse_bytes(rest)?;
                let Some(hmac) = Hmac::restore(hash_algorithm(hash), &saved) else {
                    return refuse(Rc::VALUE);
                };
                (rest, SequenceState::Hmac { hmac, hash })
            }
            2 => {
                let (rest, cipher) = u8::parse(rest)?;
                let (rest, saved) = parse_bytes(rest)?;
                let cipher = tpm_crypto::symmetric::BlockCipher::ALL
                    .iter()
                    .find(|known| **known as u8 == cipher);
                let Some(cmac) =
                    cipher.and_then(|cipher| tpm_crypto::hash::Cmac::restore(*cipher, &saved))
                else {
                    return refuse(Rc::VALUE);
                };
                (rest, SequenceState::Cmac(cmac))
            }
            3 => {
                let (mut rest, count) = u16::parse(rest)?;
                let mut hashers = Vec::new();
                for _ in 0..count {
                    let (hash, saved);
                    (rest, hash) = TpmiAlgHash::parse(rest)?;
                    (rest, saved) = parse_bytes(rest)?;
                    let Some(hasher) = restore(hash, &saved) else {
                        return refuse(Rc::VALUE);
                    };
                    hashers.push((hash, hasher));
                }
                (rest, SequenceState::Event(hashers))
            }
            _ => return refuse(Rc::VALUE),
        };
        Ok((rest, Self { auth, state }))
    }
}
