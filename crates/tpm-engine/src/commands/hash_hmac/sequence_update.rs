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
