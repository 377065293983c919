//! `TPM2_Import` (Part 3, 13.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Import, ImportResponse};
use tpm_wire::rc::Rc;

impl Execute for Import {
    fn execute(self, _: &mut Tpm) -> Result<ImportResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
