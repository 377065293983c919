//! `TPM2_ContextSave` (Part 3, 28.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ContextSave, ContextSaveResponse};
use tpm_wire::rc::Rc;

impl Execute for ContextSave {
    fn execute(self, _: &mut Tpm) -> Result<ContextSaveResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
