//! `TPM2_EccParameters` (Part 3, 14.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{EccParameters, EccParametersResponse};
use tpm_wire::rc::Rc;

impl Execute for EccParameters {
    fn execute(self, _: &mut Tpm) -> Result<EccParametersResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
