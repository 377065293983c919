//! `TPM2_PolicySecret` (Part 3, 23.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicySecret, PolicySecretResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicySecret {
    fn execute(self, _: &mut Tpm) -> Result<PolicySecretResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
