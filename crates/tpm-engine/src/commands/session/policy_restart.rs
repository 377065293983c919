//! `TPM2_PolicyRestart` (Part 3, 11.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyRestart, PolicyRestartResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyRestart {
    fn execute(self, _: &mut Tpm) -> Result<PolicyRestartResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
