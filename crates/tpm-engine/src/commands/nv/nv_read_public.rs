//! `TPM2_NV_ReadPublic` (Part 3, 31.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvReadPublic, NvReadPublicResponse};
use tpm_wire::nv::{Tpm2bNvPublic, TpmtNvPublic2};
use tpm_wire::rc::Rc;

impl Execute for NvReadPublic {
    fn execute(self, tpm: &mut Tpm) -> Result<NvReadPublicResponse, Rc> {
        let index = tpm.nv.get(self.nv_index)?;
        let TpmtNvPublic2::NvIndex(public) = &index.public else {
            return Err(Rc::HANDLE.at(Self::nv_index));
        };
        Ok(NvReadPublicResponse {
            nv_public: Tpm2bNvPublic(public.clone()),
            nv_name: index.name(),
        })
    }
}
