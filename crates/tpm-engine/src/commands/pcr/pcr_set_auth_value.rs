//! `TPM2_PCR_SetAuthValue` (Part 3, 22.7).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::pcr::Pcrs;
use crate::state::Tpm;
use tpm_wire::commands::{PcrSetAuthValue, PcrSetAuthValueResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrSetAuthValue {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrSetAuthValueResponse, Rc> {
        if !Pcrs::has_auth(self.pcr_handle.0.index()) {
            return Err(Rc::VALUE);
        }
        tpm.void_orderly()?;
        tpm.pcrs.auth = small(self.auth.without_trailing_zeros());
        Ok(PcrSetAuthValueResponse {})
    }
}
