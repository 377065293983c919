//! `TPM2_Clear` (Part 3, 24.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Clear, ClearResponse};
use tpm_wire::rc::Rc;

impl Execute for Clear {
    fn execute(self, _: &mut Tpm) -> Result<ClearResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
