//! `TPM2_NV_SetBits` (Part 3, 31.10).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvSetBits, NvSetBitsResponse};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

impl Execute for NvSetBits {
    fn execute(self, tpm: &mut Tpm) -> Result<NvSetBitsResponse, Rc> {
        tpm.check_index_not_read_only(self.nv_index.0)?;
        let index = tpm.nv.check_write(self.auth_handle.0, self.nv_index.0)?;
        if index.nv_type() != TpmNt::Bits {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        let bits = index.number().unwrap_or_default() | self.bits;
        tpm.write_index(self.nv_index.0, 0, &bits.to_be_bytes())?;
        Ok(NvSetBitsResponse {})
    }
}
