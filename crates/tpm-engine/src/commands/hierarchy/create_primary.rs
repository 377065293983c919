//! `TPM2_CreatePrimary` (Part 3, 24.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{CreatePrimary, CreatePrimaryResponse};
use tpm_wire::rc::Rc;

impl Execute for CreatePrimary {
    fn execute(self, _: &mut Tpm) -> Result<CreatePrimaryResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
