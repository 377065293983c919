//! `TPM2_PolicyCommandCode` (Part 3, 23.11).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyCommandCode, PolicyCommandCodeResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyCommandCode {
    fn execute(self, _: &mut Tpm) -> Result<PolicyCommandCodeResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
