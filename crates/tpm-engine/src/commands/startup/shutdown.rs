//! `TPM2_Shutdown` (Part 3, 9.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Shutdown, ShutdownResponse};
use tpm_wire::rc::Rc;

impl Execute for Shutdown {
    fn execute(self, tpm: &mut Tpm) -> Result<ShutdownResponse, Rc> {
        tpm.shutdown(self.shutdown_type, Self::shutdown_type)?;
        Ok(ShutdownResponse {})
    }
}
