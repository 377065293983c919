//! PCR (Part 3, 22).

mod pcr_allocate;
mod pcr_event;
mod pcr_extend;
mod pcr_read;
mod pcr_reset;
mod pcr_set_auth_policy;
mod pcr_set_auth_value;

use crate::pcr::attributes;
use crate::state::Tpm;
use tpm_wire::rc::Rc;

impl Tpm {
    /// Checks that the PCR may be extended from the present locality, and voids a shutdown that saved it.
    ///
    /// # Errors
    /// `TPM_RC_LOCALITY`, `TPM_RC_NV_UNAVAILABLE`.
    pub(crate) fn check_extend(&mut self, pcr: u32) -> Result<(), Rc> {
        if !attributes(pcr).may_extend(self.platform.locality()) {
            return Err(Rc::LOCALITY);
        }
        if attributes(pcr).saved {
            self.void_orderly()?;
        }
        Ok(())
    }
}
