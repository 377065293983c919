//! `TPM2_SequenceComplete` (Part 3, 17.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SequenceComplete, SequenceCompleteResponse};
use tpm_wire::rc::Rc;

impl Execute for SequenceComplete {
    fn execute(self, _: &mut Tpm) -> Result<SequenceCompleteResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
