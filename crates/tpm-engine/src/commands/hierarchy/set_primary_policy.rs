//! `TPM2_SetPrimaryPolicy` (Part 3, 24.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SetPrimaryPolicy, SetPrimaryPolicyResponse};
use tpm_wire::rc::Rc;

impl Execute for SetPrimaryPolicy {
    fn execute(self, _: &mut Tpm) -> Result<SetPrimaryPolicyResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
