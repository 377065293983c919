//! `TPM2_Create` (Part 3, 12.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Create, CreateResponse};
use tpm_wire::rc::Rc;

impl Execute for Create {
    fn execute(self, _: &mut Tpm) -> Result<CreateResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
