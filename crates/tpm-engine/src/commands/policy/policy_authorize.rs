//! `TPM2_PolicyAuthorize` (Part 3, 23.16).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyAuthorize, PolicyAuthorizeResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyAuthorize {
    fn execute(self, _: &mut Tpm) -> Result<PolicyAuthorizeResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
