//! `TPM2_Load` (Part 3, 12.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Load, LoadResponse};
use tpm_wire::rc::Rc;

impl Execute for Load {
    fn execute(self, _: &mut Tpm) -> Result<LoadResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
