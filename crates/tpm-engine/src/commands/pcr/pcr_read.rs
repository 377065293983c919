//! `TPM2_PCR_Read` (Part 3, 22.4).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrRead, PcrReadResponse};
use tpm_wire::pcr::TpmlDigest;
use tpm_wire::rc::Rc;

impl Execute for PcrRead {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrReadResponse, Rc> {
        let mut pcr_selection_out = tpm.pcrs.existing(&self.pcr_selection_in);
        let mut pcr_values = TpmlDigest::new();
        for bank in &mut pcr_selection_out {
            for pcr in bank.pcr_select.iter() {
                match tpm.pcrs.value(bank.hash, pcr) {
                    Some(value) if !pcr_values.is_full() => pcr_values.push(small(value)),
                    // The caller asks again for what did not fit.
                    _ => bank.pcr_select.remove(pcr),
                }
            }
        }
        Ok(PcrReadResponse {
            pcr_update_counter: tpm.pcrs.update_counter,
            pcr_selection_out,
            pcr_values,
        })
    }
}
