//! `TPM2_SetCapability` (Part 3, 30.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SetCapability, SetCapabilityResponse};
use tpm_wire::rc::Rc;

impl Execute for SetCapability {
    fn execute(self, _: &mut Tpm) -> Result<SetCapabilityResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
