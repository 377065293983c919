//! `TPM2_PcrExtend` (Part 3, 22.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrExtend, PcrExtendResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrExtend {
    fn execute(self, _: &mut Tpm) -> Result<PcrExtendResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
