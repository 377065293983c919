//! `TPM2_Sign` (Part 3, 20.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Sign, SignResponse};
use tpm_wire::rc::Rc;

impl Execute for Sign {
    fn execute(self, _: &mut Tpm) -> Result<SignResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
