//! `TPM2_Duplicate` (Part 3, 13.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Duplicate, DuplicateResponse};
use tpm_wire::rc::Rc;

impl Execute for Duplicate {
    fn execute(self, _: &mut Tpm) -> Result<DuplicateResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
