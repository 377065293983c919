//! `TPM2_Certify` (Part 3, 18.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Certify, CertifyResponse};
use tpm_wire::rc::Rc;

impl Execute for Certify {
    fn execute(self, _: &mut Tpm) -> Result<CertifyResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
