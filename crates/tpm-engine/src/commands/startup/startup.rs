//! `TPM2_Startup` (Part 3, 9.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Startup, StartupResponse};
use tpm_wire::rc::Rc;

impl Execute for Startup {
    fn execute(self, tpm: &mut Tpm) -> Result<StartupResponse, Rc> {
        tpm.startup(self.startup_type, Self::startup_type)?;
        Ok(StartupResponse {})
    }
}
