//! `TPM2_Rewrap` (Part 3, 13.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Rewrap, RewrapResponse};
use tpm_wire::rc::Rc;

impl Execute for Rewrap {
    fn execute(self, _: &mut Tpm) -> Result<RewrapResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
