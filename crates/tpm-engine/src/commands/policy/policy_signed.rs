//! `TPM2_PolicySigned` (Part 3, 23.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicySigned, PolicySignedResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicySigned {
    fn execute(self, _: &mut Tpm) -> Result<PolicySignedResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
