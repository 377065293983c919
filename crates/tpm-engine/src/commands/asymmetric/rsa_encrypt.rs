//! `TPM2_RsaEncrypt` (Part 3, 14.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{RsaEncrypt, RsaEncryptResponse};
use tpm_wire::rc::Rc;

impl Execute for RsaEncrypt {
    fn execute(self, _: &mut Tpm) -> Result<RsaEncryptResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
