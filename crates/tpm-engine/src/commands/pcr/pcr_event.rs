//! `TPM2_PcrEvent` (Part 3, 22.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrEvent, PcrEventResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrEvent {
    fn execute(self, _: &mut Tpm) -> Result<PcrEventResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
