//! `TPM2_AcGetCapability` (Part 3, 32.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{AcGetCapability, AcGetCapabilityResponse};
use tpm_wire::rc::Rc;

impl Execute for AcGetCapability {
    fn execute(self, _: &mut Tpm) -> Result<AcGetCapabilityResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
