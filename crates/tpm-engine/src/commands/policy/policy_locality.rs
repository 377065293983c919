//! `TPM2_PolicyLocality` (Part 3, 23.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyLocality, PolicyLocalityResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyLocality {
    fn execute(self, _: &mut Tpm) -> Result<PolicyLocalityResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
