//! `TPM2_Mac` (Part 3, 15.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Mac, MacResponse};
use tpm_wire::rc::Rc;

impl Execute for Mac {
    fn execute(self, _: &mut Tpm) -> Result<MacResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
