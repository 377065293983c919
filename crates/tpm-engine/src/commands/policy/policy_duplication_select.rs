//! `TPM2_PolicyDuplicationSelect` (Part 3, 23.15).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyDuplicationSelect, PolicyDuplicationSelectResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyDuplicationSelect {
    fn execute(self, _: &mut Tpm) -> Result<PolicyDuplicationSelectResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
