//! `TPM2_PolicyNv` (Part 3, 23.9).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyNv, PolicyNvResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyNv {
    fn execute(self, _: &mut Tpm) -> Result<PolicyNvResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
