//! `TPM2_LoadExternal` (Part 3, 12.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{LoadExternal, LoadExternalResponse};
use tpm_wire::rc::Rc;

impl Execute for LoadExternal {
    fn execute(self, _: &mut Tpm) -> Result<LoadExternalResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
