//! `TPM2_PolicyAuthorizeNv` (Part 3, 23.22).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyAuthorizeNv, PolicyAuthorizeNvResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyAuthorizeNv {
    fn execute(self, _: &mut Tpm) -> Result<PolicyAuthorizeNvResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
