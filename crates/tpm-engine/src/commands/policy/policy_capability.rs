//! `TPM2_PolicyCapability` (Part 3, 23.23).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyCapability, PolicyCapabilityResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyCapability {
    fn execute(self, _: &mut Tpm) -> Result<PolicyCapabilityResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
