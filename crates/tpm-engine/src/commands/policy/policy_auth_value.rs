//! `TPM2_PolicyAuthValue` (Part 3, 23.17).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyAuthValue, PolicyAuthValueResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyAuthValue {
    fn execute(self, _: &mut Tpm) -> Result<PolicyAuthValueResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
