//! `TPM2_PolicyAcSendSelect` (Part 3, 32.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyAcSendSelect, PolicyAcSendSelectResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyAcSendSelect {
    fn execute(self, _: &mut Tpm) -> Result<PolicyAcSendSelectResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
