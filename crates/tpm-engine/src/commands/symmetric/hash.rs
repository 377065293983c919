//! `TPM2_Hash` (Part 3, 15.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Hash, HashResponse};
use tpm_wire::rc::Rc;

impl Execute for Hash {
    fn execute(self, _: &mut Tpm) -> Result<HashResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
