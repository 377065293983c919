//! `TPM2_FlushContext` (Part 3, 28.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{FlushContext, FlushContextResponse};
use tpm_wire::rc::Rc;

impl Execute for FlushContext {
    fn execute(self, _: &mut Tpm) -> Result<FlushContextResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
