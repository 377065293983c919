//! `TPM2_VerifySignature` (Part 3, 20.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{VerifySignature, VerifySignatureResponse};
use tpm_wire::rc::Rc;

impl Execute for VerifySignature {
    fn execute(self, _: &mut Tpm) -> Result<VerifySignatureResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
