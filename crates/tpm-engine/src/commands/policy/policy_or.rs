//! `TPM2_PolicyOr` (Part 3, 23.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyOr, PolicyOrResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyOr {
    fn execute(self, _: &mut Tpm) -> Result<PolicyOrResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
