//! `TPM2_StartAuthSession` (Part 3, 11.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{StartAuthSession, StartAuthSessionResponse};
use tpm_wire::rc::Rc;

impl Execute for StartAuthSession {
    fn execute(self, _: &mut Tpm) -> Result<StartAuthSessionResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
