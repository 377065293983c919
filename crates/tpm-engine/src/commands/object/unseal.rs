//! `TPM2_Unseal` (Part 3, 12.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Unseal, UnsealResponse};
use tpm_wire::rc::Rc;

impl Execute for Unseal {
    fn execute(self, _: &mut Tpm) -> Result<UnsealResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
