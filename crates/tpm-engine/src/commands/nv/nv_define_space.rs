//! `TPM2_NV_DefineSpace` (Part 3, 31.3).

use super::Positions;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvDefineSpace, NvDefineSpaceResponse};
use tpm_wire::nv::TpmtNvPublic2;
use tpm_wire::rc::Rc;

impl Execute for NvDefineSpace {
    fn execute(self, tpm: &mut Tpm) -> Result<NvDefineSpaceResponse, Rc> {
        let at = Positions {
            auth_handle: Self::auth_handle,
            auth: Self::auth,
            public_info: Self::public_info,
        };
        let public = TpmtNvPublic2::NvIndex(self.public_info.0);
        tpm.define_index(self.auth_handle.0, &self.auth, public, &at)?;
        Ok(NvDefineSpaceResponse {})
    }
}
