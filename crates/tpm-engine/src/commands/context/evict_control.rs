//! `TPM2_EvictControl` (Part 3, 28.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EvictControl, EvictControlResponse};
use tpm_wire::rc::Rc;

impl Execute for EvictControl {
    fn execute(self, _: &mut Tpm) -> Result<EvictControlResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
