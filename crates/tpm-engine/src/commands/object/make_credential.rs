//! `TPM2_MakeCredential` (Part 3, 12.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{MakeCredential, MakeCredentialResponse};
use tpm_wire::rc::Rc;

impl Execute for MakeCredential {
    fn execute(self, _: &mut Tpm) -> Result<MakeCredentialResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
