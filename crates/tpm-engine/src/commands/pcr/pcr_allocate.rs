//! `TPM2_PcrAllocate` (Part 3, 22.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrAllocate, PcrAllocateResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrAllocate {
    fn execute(self, _: &mut Tpm) -> Result<PcrAllocateResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
