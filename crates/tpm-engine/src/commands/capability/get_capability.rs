//! `TPM2_GetCapability` (Part 3, 30.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{GetCapability, GetCapabilityResponse};
use tpm_wire::rc::Rc;

impl Execute for GetCapability {
    fn execute(self, _: &mut Tpm) -> Result<GetCapabilityResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
