//! `TPM2_NV_UndefineSpaceSpecial` (Part 3, 31.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvUndefineSpaceSpecial, NvUndefineSpaceSpecialResponse};
use tpm_wire::rc::Rc;

impl Execute for NvUndefineSpaceSpecial {
    fn execute(self, tpm: &mut Tpm) -> Result<NvUndefineSpaceSpecialResponse, Rc> {
        let attributes = tpm.nv.get(self.nv_index)?.attributes();
        if !attributes.contains(TpmaNv::POLICY_DELETE) {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        tpm.changes_permanent()?;
        tpm.nv.remove(self.nv_index.0);
        // The response is authenticated by a policy session of an entity that is gone.
        tpm.running.forget(self.nv_index.0);
        Ok(NvUndefineSpaceSpecialResponse {})
    }
}
