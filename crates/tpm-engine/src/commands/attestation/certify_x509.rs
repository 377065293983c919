//! `TPM2_CertifyX509` (Part 3, 18.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{CertifyX509, CertifyX509Response};
use tpm_wire::rc::Rc;

impl Execute for CertifyX509 {
    fn execute(self, _: &mut Tpm) -> Result<CertifyX509Response, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
