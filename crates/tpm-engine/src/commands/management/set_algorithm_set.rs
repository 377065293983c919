//! `TPM2_SetAlgorithmSet` (Part 3, 26.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SetAlgorithmSet, SetAlgorithmSetResponse};
use tpm_wire::rc::Rc;

impl Execute for SetAlgorithmSet {
    fn execute(self, _: &mut Tpm) -> Result<SetAlgorithmSetResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
