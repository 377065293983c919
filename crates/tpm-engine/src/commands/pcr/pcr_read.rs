//! `TPM2_PcrRead` (Part 3, 22.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrRead, PcrReadResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrRead {
    fn execute(self, _: &mut Tpm) -> Result<PcrReadResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
