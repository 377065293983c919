//! `TPM2_SelfTest` (Part 3, 10.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SelfTest, SelfTestResponse};
use tpm_wire::rc::Rc;

impl Execute for SelfTest {
    fn execute(self, _: &mut Tpm) -> Result<SelfTestResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
