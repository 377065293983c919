//! `TPM2_ActivateCredential` (Part 3, 12.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ActivateCredential, ActivateCredentialResponse};
use tpm_wire::rc::Rc;

impl Execute for ActivateCredential {
    fn execute(self, _: &mut Tpm) -> Result<ActivateCredentialResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
