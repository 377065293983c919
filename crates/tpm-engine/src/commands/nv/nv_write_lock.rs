//! `TPM2_NvWriteLock` (Part 3, 31.11).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvWriteLock, NvWriteLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvWriteLock {
    fn execute(self, _: &mut Tpm) -> Result<NvWriteLockResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
