//! `TPM2_PpCommands` (Part 3, 26.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PpCommands, PpCommandsResponse};
use tpm_wire::rc::Rc;

impl Execute for PpCommands {
    fn execute(self, _: &mut Tpm) -> Result<PpCommandsResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
