//! `TPM2_NvChangeAuth` (Part 3, 31.15).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvChangeAuth, NvChangeAuthResponse};
use tpm_wire::rc::Rc;

impl Execute for NvChangeAuth {
    fn execute(self, _: &mut Tpm) -> Result<NvChangeAuthResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
