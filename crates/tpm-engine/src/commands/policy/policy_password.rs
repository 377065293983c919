//! `TPM2_PolicyPassword` (Part 3, 23.18).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyPassword, PolicyPasswordResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyPassword {
    fn execute(self, _: &mut Tpm) -> Result<PolicyPasswordResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
