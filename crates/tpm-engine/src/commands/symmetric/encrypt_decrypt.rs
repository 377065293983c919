//! `TPM2_EncryptDecrypt` (Part 3, 15.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EncryptDecrypt, EncryptDecryptResponse};
use tpm_wire::rc::Rc;

impl Execute for EncryptDecrypt {
    fn execute(self, _: &mut Tpm) -> Result<EncryptDecryptResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
