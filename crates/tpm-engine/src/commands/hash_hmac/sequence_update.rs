//! `TPM2_SequenceUpdate` (Part 3, 17.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SequenceUpdate, SequenceUpdateResponse};
use tpm_wire::rc::Rc;

impl Execute for SequenceUpdate {
    fn execute(self, _: &mut Tpm) -> Result<SequenceUpdateResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
