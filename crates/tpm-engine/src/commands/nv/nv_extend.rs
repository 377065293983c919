//! `TPM2_NV_Extend` (Part 3, 31.9).

use crate::algorithms::hash;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::commands::{NvExtend, NvExtendResponse};
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

impl Execute for NvExtend {
    fn execute(self, tpm: &mut Tpm) -> Result<NvExtendResponse, Rc> {
        tpm.check_index_not_read_only(self.nv_index.0)?;
        let index = tpm.nv.check_write(self.auth_handle.0, self.nv_index.0)?;
        if index.nv_type() != TpmNt::Extend {
            return Err(Rc::ATTRIBUTES.at(Self::nv_index));
        }
        let name_alg = index.name_alg();
        let zeros = Tpm2bDigest::zeros(name_alg.digest_size());
        let before: &[u8] = if index.is_written() {
            &index.data
        } else {
            &zeros
        };
        let digest = hash(name_alg, &[before, &self.data]);
        tpm.write_index(self.nv_index.0, 0, &digest)?;
        Ok(NvExtendResponse {})
    }
}
