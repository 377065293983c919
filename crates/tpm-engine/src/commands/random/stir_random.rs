//! `TPM2_StirRandom` (Part 3, 16.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{StirRandom, StirRandomResponse};
use tpm_wire::rc::Rc;

impl Execute for StirRandom {
    fn execute(self, _: &mut Tpm) -> Result<StirRandomResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
