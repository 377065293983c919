//! `TPM2_NV_Read` (Part 3, 31.13).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::{MAX_NV_BUFFER, Tpm2bMaxNvBuffer};
use tpm_wire::commands::{NvRead, NvReadResponse};
use tpm_wire::rc::Rc;

impl Execute for NvRead {
    fn execute(self, tpm: &mut Tpm) -> Result<NvReadResponse, Rc> {
        let index = tpm.nv.check_read(self.auth_handle.0, self.nv_index.0)?;
        let (offset, size) = (usize::from(self.offset), usize::from(self.size));
        if size > MAX_NV_BUFFER {
            return Err(Rc::VALUE.at(Self::size));
        }
        let rest = index.data.get(offset..).ok_or(Rc::VALUE.at(Self::offset))?;
        let data = rest.get(..size).ok_or(Rc::NV_RANGE)?;
        Ok(NvReadResponse {
            data: Tpm2bMaxNvBuffer::new(data.to_vec()).ok_or(Rc::SIZE)?,
        })
    }
}
