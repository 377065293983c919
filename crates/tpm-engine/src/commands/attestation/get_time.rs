//! `TPM2_GetTime` (Part 3, 18.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{GetTime, GetTimeResponse};
use tpm_wire::rc::Rc;

impl Execute for GetTime {
    fn execute(self, _: &mut Tpm) -> Result<GetTimeResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
