//! `TPM2_EcdhZGen` (Part 3, 14.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EcdhZGen, EcdhZGenResponse};
use tpm_wire::rc::Rc;

impl Execute for EcdhZGen {
    fn execute(self, _: &mut Tpm) -> Result<EcdhZGenResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
