//! `TPM2_HashSequenceStart` (Part 3, 17.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{HashSequenceStart, HashSequenceStartResponse};
use tpm_wire::rc::Rc;

impl Execute for HashSequenceStart {
    fn execute(self, _: &mut Tpm) -> Result<HashSequenceStartResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
