//! `TPM2_ClockRateAdjust` (Part 3, 29.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ClockRateAdjust, ClockRateAdjustResponse};
use tpm_wire::rc::Rc;

impl Execute for ClockRateAdjust {
    fn execute(self, _: &mut Tpm) -> Result<ClockRateAdjustResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
