//! `TPM2_PolicyPhysicalPresence` (Part 3, 23.12).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyPhysicalPresence, PolicyPhysicalPresenceResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyPhysicalPresence {
    fn execute(self, _: &mut Tpm) -> Result<PolicyPhysicalPresenceResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
