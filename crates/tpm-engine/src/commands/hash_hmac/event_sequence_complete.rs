//! `TPM2_EventSequenceComplete` (Part 3, 17.7).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::object::SequenceState;
use crate::pcr::attributes;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmtHa;
use tpm_wire::commands::{EventSequenceComplete, EventSequenceCompleteResponse};
use tpm_wire::pcr::TpmlDigestValues;
use tpm_wire::rc::Rc;

impl Execute for EventSequenceComplete {
    fn execute(self, tpm: &mut Tpm) -> Result<EventSequenceCompleteResponse, Rc> {
        let handle = self.sequence_handle.0;
        let wrong_mode = Rc::MODE.at(Self::sequence_handle);
        let sequence = tpm.objects.sequence(handle).map_err(|_| wrong_mode)?;
        let SequenceState::Event(hashers) = &sequence.state else {
            return Err(wrong_mode);
        };
        let mut results = TpmlDigestValues::new();
        for (hash_alg, hasher) in hashers.iter().take(results.capacity()) {
            let mut hasher = hasher.clone();
            hasher.update(&self.buffer);
            results.push(TpmtHa {
                hash_alg: *hash_alg,
                digest: small(&hasher.finish()),
            });
        }
        if let Some(pcr) = self.pcr_handle.map(|pcr| pcr.0.index()) {
            let attributes = attributes(pcr);
            let locality = 1u8.checked_shl(u32::from(tpm.platform.locality()));
            if attributes.extend_localities & locality.unwrap_or_default() == 0 {
                return Err(Rc::LOCALITY);
            }
            if attributes.saved {
                tpm.void_orderly()?;
            }
            for result in &results {
                tpm.pcrs.extend(result.hash_alg, pcr, &result.digest);
            }
        }
        tpm.running.flush = Some(handle);
        Ok(EventSequenceCompleteResponse { results })
    }
}
