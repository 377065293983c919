//! `TPM2_PolicyPcr` (Part 3, 23.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyPcr, PolicyPcrResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyPcr {
    fn execute(self, _: &mut Tpm) -> Result<PolicyPcrResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
