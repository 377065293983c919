//! `TPM2_PCR_Reset` (Part 3, 22.8).

use crate::execute::Execute;
use crate::pcr::attributes;
use crate::state::Tpm;
use tpm_wire::commands::{PcrReset, PcrResetResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrReset {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrResetResponse, Rc> {
        let pcr = self.pcr_handle.0.index();
        if !attributes(pcr).may_reset(tpm.platform.locality()) {
            return Err(Rc::LOCALITY);
        }
        if attributes(pcr).saved {
            tpm.void_orderly()?;
        }
        tpm.pcrs.fill(pcr, 0);
        tpm.pcrs.note_change(pcr);
        Ok(PcrResetResponse {})
    }
}
