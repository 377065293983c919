//! `TPM2_PolicyParameters` (Part 3, 23.24).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyParameters, PolicyParametersResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyParameters {
    fn execute(self, _: &mut Tpm) -> Result<PolicyParametersResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
