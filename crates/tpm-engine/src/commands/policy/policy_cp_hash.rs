//! `TPM2_PolicyCpHash` (Part 3, 23.13).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyCpHash, PolicyCpHashResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyCpHash {
    fn execute(self, _: &mut Tpm) -> Result<PolicyCpHashResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
