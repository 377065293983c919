//! `TPM2_ActSetTimeout` (Part 3, 33.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ActSetTimeout, ActSetTimeoutResponse};
use tpm_wire::rc::Rc;

impl Execute for ActSetTimeout {
    fn execute(self, _: &mut Tpm) -> Result<ActSetTimeoutResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
