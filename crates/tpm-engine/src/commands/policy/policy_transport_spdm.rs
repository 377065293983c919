//! `TPM2_PolicyTransportSpdm` (Part 3, 23.25).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyTransportSpdm, PolicyTransportSpdmResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyTransportSpdm {
    fn execute(self, _: &mut Tpm) -> Result<PolicyTransportSpdmResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
