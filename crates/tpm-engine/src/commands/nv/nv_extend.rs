//! `TPM2_NvExtend` (Part 3, 31.9).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvExtend, NvExtendResponse};
use tpm_wire::rc::Rc;

impl Execute for NvExtend {
    fn execute(self, _: &mut Tpm) -> Result<NvExtendResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
