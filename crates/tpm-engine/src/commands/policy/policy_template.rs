//! `TPM2_PolicyTemplate` (Part 3, 23.21).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyTemplate, PolicyTemplateResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyTemplate {
    fn execute(self, _: &mut Tpm) -> Result<PolicyTemplateResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
