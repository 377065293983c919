//! `TPM2_NvReadPublic` (Part 3, 31.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvReadPublic, NvReadPublicResponse};
use tpm_wire::rc::Rc;

impl Execute for NvReadPublic {
    fn execute(self, _: &mut Tpm) -> Result<NvReadPublicResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
