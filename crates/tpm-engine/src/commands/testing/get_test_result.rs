//! `TPM2_GetTestResult` (Part 3, 10.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{GetTestResult, GetTestResultResponse};
use tpm_wire::rc::Rc;

impl Execute for GetTestResult {
    fn execute(self, _: &mut Tpm) -> Result<GetTestResultResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
