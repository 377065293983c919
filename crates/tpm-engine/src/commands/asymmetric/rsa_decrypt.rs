//! `TPM2_RsaDecrypt` (Part 3, 14.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{RsaDecrypt, RsaDecryptResponse};
use tpm_wire::rc::Rc;

impl Execute for RsaDecrypt {
    fn execute(self, _: &mut Tpm) -> Result<RsaDecryptResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
