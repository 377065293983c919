//! `TPM2_NvCertify` (Part 3, 31.16).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvCertify, NvCertifyResponse};
use tpm_wire::rc::Rc;

impl Execute for NvCertify {
    fn execute(self, _: &mut Tpm) -> Result<NvCertifyResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
