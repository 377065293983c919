//! `TPM2_ContextLoad` (Part 3, 28.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ContextLoad, ContextLoadResponse};
use tpm_wire::rc::Rc;

impl Execute for ContextLoad {
    fn execute(self, _: &mut Tpm) -> Result<ContextLoadResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
