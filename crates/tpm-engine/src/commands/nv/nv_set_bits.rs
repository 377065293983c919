//! `TPM2_NvSetBits` (Part 3, 31.10).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvSetBits, NvSetBitsResponse};
use tpm_wire::rc::Rc;

impl Execute for NvSetBits {
    fn execute(self, _: &mut Tpm) -> Result<NvSetBitsResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
