//! `TPM2_NV_UndefineSpace` (Part 3, 31.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvUndefineSpace, NvUndefineSpaceResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for NvUndefineSpace {
    fn execute(self, tpm: &mut Tpm) -> Result<NvUndefineSpaceResponse, Rc> {
        let attributes = tpm.nv.get(self.nv_index)?.attributes();
        if attributes.contains(TpmaNv::POLICY_DELETE) {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        if self.auth_handle.0 == TpmHandle::OWNER && attributes.contains(TpmaNv::PLATFORMCREATE) {
            return Err(Rc::NV_AUTHORIZATION);
        }
        tpm.changes_permanent()?;
        tpm.nv.remove(self.nv_index.0);
        Ok(NvUndefineSpaceResponse {})
    }
}
