//! `TPM2_NvUndefineSpaceSpecial` (Part 3, 31.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvUndefineSpaceSpecial, NvUndefineSpaceSpecialResponse};
use tpm_wire::rc::Rc;

impl Execute for NvUndefineSpaceSpecial {
    fn execute(self, _: &mut Tpm) -> Result<NvUndefineSpaceSpecialResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
