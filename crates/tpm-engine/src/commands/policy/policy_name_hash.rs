//! `TPM2_PolicyNameHash` (Part 3, 23.14).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyNameHash, PolicyNameHashResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyNameHash {
    fn execute(self, _: &mut Tpm) -> Result<PolicyNameHashResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
