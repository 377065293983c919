//! `TPM2_PCR_Event` (Part 3, 22.3).

use crate::algorithms::{hash, small};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmtHa;
use tpm_wire::commands::{PcrEvent, PcrEventResponse};
use tpm_wire::pcr::TpmlDigestValues;
use tpm_wire::rc::Rc;

impl Execute for PcrEvent {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrEventResponse, Rc> {
        let pcr = self.pcr_handle.map(|pcr| pcr.0.index());
        if let Some(pcr) = pcr {
            tpm.check_extend(pcr)?;
        }
        let digests: TpmlDigestValues = tpm
            .pcrs
            .active()
            .map(|hash_alg| TpmtHa {
                hash_alg,
                digest: small(&hash(hash_alg, &[&self.event_data])),
            })
            .collect();
        if let Some(pcr) = pcr {
            for digest in &digests {
                tpm.pcrs.extend(digest.hash_alg, pcr, &digest.digest);
            }
        }
        Ok(PcrEventResponse { digests })
    }
}
