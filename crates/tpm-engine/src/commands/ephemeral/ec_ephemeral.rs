//! `TPM2_EcEphemeral` (Part 3, 19.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EcEphemeral, EcEphemeralResponse};
use tpm_wire::rc::Rc;

impl Execute for EcEphemeral {
    fn execute(self, _: &mut Tpm) -> Result<EcEphemeralResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
