//! `TPM2_ZGen2Phase` (Part 3, 14.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ZGen2Phase, ZGen2PhaseResponse};
use tpm_wire::rc::Rc;

impl Execute for ZGen2Phase {
    fn execute(self, _: &mut Tpm) -> Result<ZGen2PhaseResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
