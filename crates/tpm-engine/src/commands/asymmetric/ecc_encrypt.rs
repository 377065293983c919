//! `TPM2_EccEncrypt` (Part 3, 14.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EccEncrypt, EccEncryptResponse};
use tpm_wire::rc::Rc;

impl Execute for EccEncrypt {
    fn execute(self, _: &mut Tpm) -> Result<EccEncryptResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
