//! `TPM2_MAC` and `TPM2_HMAC`, which share a code (Part 3, 15.5 and 15.6).

use super::start_mac;
use crate::algorithms::small;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Mac, MacResponse};
use tpm_wire::rc::Rc;

impl Execute for Mac {
    fn execute(self, tpm: &mut Tpm) -> Result<MacResponse, Rc> {
        let mut mac = start_mac(
            tpm,
            self.handle.0,
            self.in_scheme,
            Self::handle,
            Self::in_scheme,
        )?;
        mac.update(&self.buffer);
        Ok(MacResponse {
            out_mac: small(&mac.finish()),
        })
    }
}
