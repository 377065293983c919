//! `TPM2_SequenceComplete` (Part 3, 17.6).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::object::SequenceState;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::commands::{SequenceComplete, SequenceCompleteResponse};
use tpm_wire::constants::TpmSt;
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;
use tpm_wire::ticket::TpmtTkHashcheck;

impl Execute for SequenceComplete {
    fn execute(self, tpm: &mut Tpm) -> Result<SequenceCompleteResponse, Rc> {
        let handle = self.sequence_handle.0;
        let wrong_mode = Rc::MODE.at(Self::sequence_handle);
        let sequence = tpm.objects.sequence(handle).map_err(|_| wrong_mode)?;
        let mut state = sequence.state.clone();
        state.update(&self.buffer);
        let no_ticket = TpmtTkHashcheck {
            tag: TpmSt::HASHCHECK,
            hierarchy: None,
            digest: Tpm2bDigest::EMPTY,
        };
        let (digest, validation) = match state {
            SequenceState::Hash { hasher, hash, safe } => {
                let digest = hasher.finish();
                let hierarchy = match self.hierarchy {
                    Some(hierarchy) if safe == Some(true) => hierarchy.0,
                    _ => TpmHandle::NULL,
                };
                let validation = tpm.hashcheck_ticket(hierarchy, hash, &digest);
                (digest, validation)
            }
            SequenceState::Hmac { hmac, .. } => (hmac.finish(), no_ticket),
            SequenceState::Cmac(cmac) => (cmac.finish(), no_ticket),
            SequenceState::Event(_) => return Err(wrong_mode),
        };
        tpm.running.flush = Some(handle);
        Ok(SequenceCompleteResponse {
            result: small(&digest),
            validation,
        })
    }
}
