//! `TPM2_EcdhKeyGen` (Part 3, 14.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EcdhKeyGen, EcdhKeyGenResponse};
use tpm_wire::rc::Rc;

impl Execute for EcdhKeyGen {
    fn execute(self, _: &mut Tpm) -> Result<EcdhKeyGenResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
