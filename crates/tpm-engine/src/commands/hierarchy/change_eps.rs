//! `TPM2_ChangeEps` (Part 3, 24.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ChangeEps, ChangeEpsResponse};
use tpm_wire::rc::Rc;

impl Execute for ChangeEps {
    fn execute(self, _: &mut Tpm) -> Result<ChangeEpsResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
