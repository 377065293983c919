//! `TPM2_ReadPublic` (Part 3, 12.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ReadPublic, ReadPublicResponse};
use tpm_wire::rc::Rc;

impl Execute for ReadPublic {
    fn execute(self, _: &mut Tpm) -> Result<ReadPublicResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
