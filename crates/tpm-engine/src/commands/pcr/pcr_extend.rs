//! `TPM2_PCR_Extend` (Part 3, 22.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrExtend, PcrExtendResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrExtend {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrExtendResponse, Rc> {
        let Some(pcr) = self.pcr_handle else {
            return Ok(PcrExtendResponse {});
        };
        let pcr = pcr.0.index();
        tpm.check_extend(pcr)?;
        for digest in &self.digests {
            tpm.pcrs.extend(digest.hash_alg, pcr, &digest.digest);
        }
        Ok(PcrExtendResponse {})
    }
}
