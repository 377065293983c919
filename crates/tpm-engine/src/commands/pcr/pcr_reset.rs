//! `TPM2_PcrReset` (Part 3, 22.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrReset, PcrResetResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrReset {
    fn execute(self, _: &mut Tpm) -> Result<PcrResetResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
