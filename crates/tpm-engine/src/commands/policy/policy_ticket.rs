//! `TPM2_PolicyTicket` (Part 3, 23.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyTicket, PolicyTicketResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyTicket {
    fn execute(self, _: &mut Tpm) -> Result<PolicyTicketResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
