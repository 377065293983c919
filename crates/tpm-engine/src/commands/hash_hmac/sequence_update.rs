//! `TPM2_SequenceUpdate` (Part 3, 17.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SequenceUpdate, SequenceUpdateResponse};
use tpm_wire::rc::Rc;

impl Execute for SequenceUpdate {
    fn execute(self, tpm: &mut Tpm) -> Result<SequenceUpdateResponse, Rc> {
        let sequence = tpm
            .objects
            .sequence_mut(self.sequence_handle.0)
            .map_err(|rc| rc.at(Self::sequence_handle))?;
        sequence.state.update(&self.buffer);
        Ok(SequenceUpdateResponse {})
    }
}

#[cfg(test)]
mod tests {
    // What the pieces come to is tested with `TPM2_SequenceComplete` and `TPM2_EventSequenceComplete`.
    use crate::commands::signature::build::*;
    use crate::testing;
    use tpm_wire::buffers::Tpm2bMaxBuffer;
    use tpm_wire::commands::SequenceUpdate;
    use tpm_wire::rc::Rc;

    #[test]
    fn an_object_that_is_no_sequence_is_mode_at_handle_1() {
        let mut tpm = testing::started();
        for key in [hmac(None, SIGNS), rsa(None, SIGNS)] {
            let command = SequenceUpdate {
                sequence_handle: load(&mut tpm, key),
                buffer: Tpm2bMaxBuffer::EMPTY,
            };
            let rc = Rc::MODE.at(SequenceUpdate::sequence_handle);
            assert_eq!(tpm.run(command), Err(rc));
        }
    }
}
