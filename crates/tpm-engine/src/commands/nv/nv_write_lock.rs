//! `TPM2_NV_WriteLock` (Part 3, 31.11).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvWriteLock, NvWriteLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvWriteLock {
    fn execute(self, tpm: &mut Tpm) -> Result<NvWriteLockResponse, Rc> {
        let handle = self.nv_index.0;
        tpm.check_index_not_read_only(handle)?;
        let attributes = match tpm.nv.check_write(self.auth_handle.0, handle) {
            Ok(index) => index.attributes(),
            Err(Rc::NV_LOCKED) => return Ok(NvWriteLockResponse {}),
            Err(other) => return Err(other),
        };
        if !attributes.intersects(TpmaNv::WRITEDEFINE | TpmaNv::WRITE_STCLEAR) {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        tpm.lock_indices(TpmaNv::WRITELOCKED, |index| index.public.handle() == handle)?;
        Ok(NvWriteLockResponse {})
    }
}
