//! `TPM2_ObjectChangeAuth` (Part 3, 12.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ObjectChangeAuth, ObjectChangeAuthResponse};
use tpm_wire::rc::Rc;

impl Execute for ObjectChangeAuth {
    fn execute(self, _: &mut Tpm) -> Result<ObjectChangeAuthResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
