//! `TPM2_NV_DefineSpace2` (Part 3, 31.17).

use super::Positions;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvDefineSpace2, NvDefineSpace2Response};
use tpm_wire::nv::TpmtNvPublic2;
use tpm_wire::rc::Rc;

impl Execute for NvDefineSpace2 {
    fn execute(self, tpm: &mut Tpm) -> Result<NvDefineSpace2Response, Rc> {
        let at = Positions {
            auth_handle: Self::auth_handle,
            auth: Self::auth,
            public_info: Self::public_info,
        };
        match &self.public_info.0 {
            TpmtNvPublic2::NvIndex(_) => {}
            // This TPM keeps such an Index in its own memory; what would be asked of memory outside cannot be had.
            TpmtNvPublic2::ExternalNv(public) if public.attributes.0 >> 32 == 0 => {}
            TpmtNvPublic2::ExternalNv(_) => return Err(Rc::ATTRIBUTES.at(Self::public_info)),
            TpmtNvPublic2::PermanentNv(_) => return Err(Rc::HANDLE.at(Self::public_info)),
        }
        tpm.define_index(self.auth_handle.0, &self.auth, self.public_info.0, &at)?;
        Ok(NvDefineSpace2Response {})
    }
}
