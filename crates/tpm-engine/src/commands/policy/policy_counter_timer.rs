//! `TPM2_PolicyCounterTimer` (Part 3, 23.10).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyCounterTimer, PolicyCounterTimerResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyCounterTimer {
    fn execute(self, _: &mut Tpm) -> Result<PolicyCounterTimerResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
