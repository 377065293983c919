//! `TPM2_AcSend` (Part 3, 32.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{AcSend, AcSendResponse};
use tpm_wire::rc::Rc;

impl Execute for AcSend {
    fn execute(self, _: &mut Tpm) -> Result<AcSendResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
