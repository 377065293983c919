//! `TPM2_IncrementalSelfTest` (Part 3, 10.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{IncrementalSelfTest, IncrementalSelfTestResponse};
use tpm_wire::rc::Rc;

impl Execute for IncrementalSelfTest {
    fn execute(self, _: &mut Tpm) -> Result<IncrementalSelfTestResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
