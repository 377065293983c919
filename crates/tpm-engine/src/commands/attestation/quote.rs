//! `TPM2_Quote` (Part 3, 18.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Quote, QuoteResponse};
use tpm_wire::rc::Rc;

impl Execute for Quote {
    fn execute(self, _: &mut Tpm) -> Result<QuoteResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
