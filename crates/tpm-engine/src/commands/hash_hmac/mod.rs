//! Hash, HMAC and event sequences (Part 3, 17).

mod event_sequence_complete;
mod hash_sequence_start;
mod mac_start;
mod sequence_complete;
mod sequence_update;

use crate::object::SequenceState;
use tpm_wire::constants::TPM_GENERATED;

impl SequenceState {
    /// Adds data. The first piece of a hash must be long enough to tell that it does not begin like a structure of the TPM's own.
    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Hash { hasher, safe, .. } => {
                safe.get_or_insert_with(|| {
                    data.first_chunk::<4>()
                        .is_some_and(|first| *first != TPM_GENERATED.to_be_bytes())
                });
                hasher.update(data);
            }
            Self::Hmac { hmac, .. } => hmac.update(data),
            Self::Cmac(cmac) => cmac.update(data),
            Self::Event(hashers) => {
                for (_, hasher) in hashers {
                    hasher.update(data);
                }
            }
        }
    }
}
