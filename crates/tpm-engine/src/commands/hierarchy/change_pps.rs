//! `TPM2_ChangePps` (Part 3, 24.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ChangePps, ChangePpsResponse};
use tpm_wire::rc::Rc;

impl Execute for ChangePps {
    fn execute(self, _: &mut Tpm) -> Result<ChangePpsResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
