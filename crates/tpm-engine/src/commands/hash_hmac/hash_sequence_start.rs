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

#[cfg(test)]
mod tests {
    // What a sequence comes to is tested with `TPM2_SequenceComplete` and `TPM2_EventSequenceComplete`.
    use crate::commands::object::build::fill_slots;
    use crate::testing;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::Tpm2bAuth;
    use tpm_wire::commands::HashSequenceStart;
    use tpm_wire::rc::Rc;

    #[test]
    fn without_a_slot_it_is_object_memory() {
        let mut tpm = testing::started();
        fill_slots(&mut tpm, 1);
        for hash_alg in [Some(TpmiAlgHash::Sha256), None] {
            let auth = Tpm2bAuth::EMPTY;
            let command = HashSequenceStart { auth, hash_alg };
            let started = tpm.run(command.clone()).unwrap().sequence_handle;
            assert_eq!(tpm.run(command), Err(Rc::OBJECT_MEMORY));
            tpm.objects.flush(started.0);
        }
    }
}
