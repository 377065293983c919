//! `TPM2_NV_ReadLock` (Part 3, 31.14).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvReadLock, NvReadLockResponse};
use tpm_wire::rc::Rc;

impl Execute for NvReadLock {
    fn execute(self, tpm: &mut Tpm) -> Result<NvReadLockResponse, Rc> {
        let handle = self.nv_index.0;
        tpm.check_index_not_read_only(handle)?;
        match tpm.nv.check_read(self.auth_handle.0, handle) {
            // What was never written can be locked too.
            Ok(_) | Err(Rc::NV_UNINITIALIZED) => {}
            Err(Rc::NV_LOCKED) => return Ok(NvReadLockResponse {}),
            Err(other) => return Err(other),
        }
        let attributes = tpm.nv.get(handle)?.attributes();
        if !attributes.contains(TpmaNv::READ_STCLEAR) {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        tpm.lock_indices(TpmaNv::READLOCKED, |index| index.public.handle() == handle)?;
        Ok(NvReadLockResponse {})
    }
}
