//! `TPM2_HashSequenceStart` (Part 3, 17.4).

use crate::algorithms::hash_algorithm;
use crate::execute::Execute;
use crate::object::{Sequence, SequenceState, Slot};
use crate::state::Tpm;
use alloc::boxed::Box;
use tpm_crypto::hash::Hasher;
use tpm_wire::commands::{HashSequenceStart, HashSequenceStartResponse};
use tpm_wire::handles::TpmiDhObject;
use tpm_wire::rc::Rc;

impl Execute for HashSequenceStart {
    fn execute(self, tpm: &mut Tpm) -> Result<HashSequenceStartResponse, Rc> {
        tpm.objects.check_room()?;
        let state = match self.hash_alg {
            Some(hash) => SequenceState::Hash {
                hasher: Hasher::new(hash_algorithm(hash)),
                hash,
                safe: None,
            },
            // An event is hashed for every bank that has PCR.
            None => SequenceState::Event(
                tpm.pcrs
                    .active()
                    .map(|hash| (hash, Hasher::new(hash_algorithm(hash))))
                    .collect(),
            ),
        };
        let auth = self.auth;
        let handle = tpm
            .objects
            .insert(Slot::Sequence(Box::new(Sequence { auth, state })))?;
        Ok(HashSequenceStartResponse {
            sequence_handle: TpmiDhObject(handle),
        })
    }
}
