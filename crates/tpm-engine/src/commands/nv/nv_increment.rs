//! `TPM2_NV_Increment` (Part 3, 31.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvIncrement, NvIncrementResponse};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

impl Execute for NvIncrement {
    fn execute(self, tpm: &mut Tpm) -> Result<NvIncrementResponse, Rc> {
        let index = tpm.nv.check_write(self.auth_handle.0, self.nv_index.0)?;
        if index.nv_type() != TpmNt::Counter {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        tpm.increment_index(self.nv_index.0)?;
        Ok(NvIncrementResponse {})
    }
}
