//! `TPM2_NvReadPublic2` (Part 3, 31.18).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvReadPublic2, NvReadPublic2Response};
use tpm_wire::rc::Rc;

impl Execute for NvReadPublic2 {
    fn execute(self, _: &mut Tpm) -> Result<NvReadPublic2Response, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
