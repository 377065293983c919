//! `TPM2_ClearControl` (Part 3, 24.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ClearControl, ClearControlResponse};
use tpm_wire::rc::Rc;

impl Execute for ClearControl {
    fn execute(self, _: &mut Tpm) -> Result<ClearControlResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
