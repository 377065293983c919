//! `TPM2_EventSequenceComplete` (Part 3, 17.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EventSequenceComplete, EventSequenceCompleteResponse};
use tpm_wire::rc::Rc;

impl Execute for EventSequenceComplete {
    fn execute(self, _: &mut Tpm) -> Result<EventSequenceCompleteResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
