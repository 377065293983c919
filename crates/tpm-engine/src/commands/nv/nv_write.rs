//! `TPM2_NV_Write` (Part 3, 31.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::commands::{NvWrite, NvWriteResponse};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

impl Execute for NvWrite {
    fn execute(self, tpm: &mut Tpm) -> Result<NvWriteResponse, Rc> {
        tpm.check_index_not_read_only(self.nv_index.0)?;
        let index = tpm.nv.check_write(self.auth_handle.0, self.nv_index.0)?;
        if matches!(
            index.nv_type(),
            TpmNt::Counter | TpmNt::Bits | TpmNt::Extend
        ) {
            return Err(Rc::ATTRIBUTES);
        }
        let (offset, size) = (usize::from(self.offset), self.data.len());
        if offset > index.data_size() {
            return Err(Rc::VALUE.at(Self::offset));
        }
        if size > index.data_size() - offset {
            return Err(Rc::NV_RANGE);
        }
        if index.attributes().contains(TpmaNv::WRITEALL) && size < index.data_size() {
            return Err(Rc::NV_RANGE);
        }
        tpm.write_index(self.nv_index.0, offset, &self.data)?;
        Ok(NvWriteResponse {})
    }
}
