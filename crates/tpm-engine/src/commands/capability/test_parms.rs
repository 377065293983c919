//! `TPM2_TestParms` (Part 3, 30.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{TestParms, TestParmsResponse};
use tpm_wire::rc::Rc;

impl Execute for TestParms {
    fn execute(self, _: &mut Tpm) -> Result<TestParmsResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
