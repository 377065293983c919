//! `TPM2_NvDefineSpace` (Part 3, 31.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvDefineSpace, NvDefineSpaceResponse};
use tpm_wire::rc::Rc;

impl Execute for NvDefineSpace {
    fn execute(self, _: &mut Tpm) -> Result<NvDefineSpaceResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
