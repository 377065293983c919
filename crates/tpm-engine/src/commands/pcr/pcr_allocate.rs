//! `TPM2_PCR_Allocate` (Part 3, 22.5).

use crate::execute::Execute;
use crate::pcr::{DRTM_PCR, HCRTM_PCR, PCR_COUNT, size};
use crate::state::Tpm;
use tpm_wire::commands::{PcrAllocate, PcrAllocateResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrAllocate {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrAllocateResponse, Rc> {
        tpm.check_storage()?;
        let allocation = tpm.pcrs.allocation(&self.pcr_allocation);
        let has = |pcr| allocation.iter().any(|bank| bank.pcr_select.contains(pcr));
        if !has(DRTM_PCR) || !has(HCRTM_PCR) {
            return Err(Rc::PCR);
        }
        let response = PcrAllocateResponse {
            allocation_success: true,
            max_pcr: PCR_COUNT,
            size_needed: size(&allocation),
            size_available: tpm.pcrs.memory(),
        };
        // The PCR that a shutdown may have saved are not those of the next startup.
        tpm.void_orderly()?;
        tpm.changes_permanent()?;
        tpm.pcrs.pending = Some(allocation);
        Ok(response)
    }
}
