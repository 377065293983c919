//! `TPM2_NvReadLock` (Part 3, 31.14).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvReadLock, NvReadLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvReadLock {
    fn execute(self, _: &mut Tpm) -> Result<NvReadLockResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
