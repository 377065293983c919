//! `TPM2_NvDefineSpace2` (Part 3, 31.17).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvDefineSpace2, NvDefineSpace2Response};
use tpm_wire::rc::Rc;

impl Execute for NvDefineSpace2 {
    fn execute(self, _: &mut Tpm) -> Result<NvDefineSpace2Response, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
