//! `TPM2_NvGlobalWriteLock` (Part 3, 31.12).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvGlobalWriteLock, NvGlobalWriteLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvGlobalWriteLock {
    fn execute(self, _: &mut Tpm) -> Result<NvGlobalWriteLockResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
