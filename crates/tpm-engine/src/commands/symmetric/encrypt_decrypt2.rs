//! `TPM2_EncryptDecrypt2` (Part 3, 15.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EncryptDecrypt2, EncryptDecrypt2Response};
use tpm_wire::rc::Rc;

impl Execute for EncryptDecrypt2 {
    fn execute(self, _: &mut Tpm) -> Result<EncryptDecrypt2Response, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
