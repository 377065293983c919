//! `TPM2_ClockSet` (Part 3, 29.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ClockSet, ClockSetResponse};
use tpm_wire::rc::Rc;

impl Execute for ClockSet {
    fn execute(self, _: &mut Tpm) -> Result<ClockSetResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
