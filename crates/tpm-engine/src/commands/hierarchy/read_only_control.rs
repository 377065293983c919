//! `TPM2_ReadOnlyControl` (Part 3, 24.9).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ReadOnlyControl, ReadOnlyControlResponse};
use tpm_wire::rc::Rc;

impl Execute for ReadOnlyControl {
    fn execute(self, _: &mut Tpm) -> Result<ReadOnlyControlResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
