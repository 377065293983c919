//! `TPM2_NvIncrement` (Part 3, 31.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvIncrement, NvIncrementResponse};
use tpm_wire::rc::Rc;

impl Execute for NvIncrement {
    fn execute(self, _: &mut Tpm) -> Result<NvIncrementResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
