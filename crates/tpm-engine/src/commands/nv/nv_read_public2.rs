//! `TPM2_NV_ReadPublic2` (Part 3, 31.18).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2b;
use tpm_wire::commands::{NvReadPublic2, NvReadPublic2Response};
use tpm_wire::rc::Rc;

impl Execute for NvReadPublic2 {
    fn execute(self, tpm: &mut Tpm) -> Result<NvReadPublic2Response, Rc> {
        let index = tpm.nv.get(self.nv_index)?;
        Ok(NvReadPublic2Response {
            nv_public: Tpm2b(index.public.clone()),
            nv_name: index.name(),
        })
    }
}
