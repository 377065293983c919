//! `TPM2_CertifyCreation` (Part 3, 18.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{CertifyCreation, CertifyCreationResponse};
use tpm_wire::rc::Rc;

impl Execute for CertifyCreation {
    fn execute(self, _: &mut Tpm) -> Result<CertifyCreationResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
