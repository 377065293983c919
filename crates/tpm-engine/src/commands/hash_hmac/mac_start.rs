//! `TPM2_MacStart` (Part 3, 17.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{MacStart, MacStartResponse};
use tpm_wire::rc::Rc;

impl Execute for MacStart {
    fn execute(self, _: &mut Tpm) -> Result<MacStartResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
