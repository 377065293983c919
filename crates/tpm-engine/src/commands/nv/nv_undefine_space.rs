//! `TPM2_NvUndefineSpace` (Part 3, 31.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvUndefineSpace, NvUndefineSpaceResponse};
use tpm_wire::rc::Rc;

impl Execute for NvUndefineSpace {
    fn execute(self, _: &mut Tpm) -> Result<NvUndefineSpaceResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
