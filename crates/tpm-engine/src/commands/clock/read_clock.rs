//! `TPM2_ReadClock` (Part 3, 29.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ReadClock, ReadClockResponse};
use tpm_wire::rc::Rc;

impl Execute for ReadClock {
    fn execute(self, _: &mut Tpm) -> Result<ReadClockResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
