//! `TPM2_NV_GlobalWriteLock` (Part 3, 31.12).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvGlobalWriteLock, NvGlobalWriteLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvGlobalWriteLock {
    fn execute(self, tpm: &mut Tpm) -> Result<NvGlobalWriteLockResponse, Rc> {
        tpm.lock_indices(TpmaNv::WRITELOCKED, |index| {
            index.attributes().contains(TpmaNv::GLOBALLOCK)
        })?;
        Ok(NvGlobalWriteLockResponse {})
    }
}
