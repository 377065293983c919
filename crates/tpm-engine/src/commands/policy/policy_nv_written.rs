//! `TPM2_PolicyNvWritten` (Part 3, 23.20).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyNvWritten, PolicyNvWrittenResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyNvWritten {
    fn execute(self, _: &mut Tpm) -> Result<PolicyNvWrittenResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
