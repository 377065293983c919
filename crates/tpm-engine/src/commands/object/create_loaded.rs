//! `TPM2_CreateLoaded` (Part 3, 12.9).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{CreateLoaded, CreateLoadedResponse};
use tpm_wire::rc::Rc;

impl Execute for CreateLoaded {
    fn execute(self, _: &mut Tpm) -> Result<CreateLoadedResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
