//! `TPM2_EccDecrypt` (Part 3, 14.9).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EccDecrypt, EccDecryptResponse};
use tpm_wire::rc::Rc;

impl Execute for EccDecrypt {
    fn execute(self, _: &mut Tpm) -> Result<EccDecryptResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
