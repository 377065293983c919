//! `TPM2_NvRead` (Part 3, 31.13).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{NvRead, NvReadResponse};
use tpm_wire::rc::Rc;

impl Execute for NvRead {
    fn execute(self, _: &mut Tpm) -> Result<NvReadResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
