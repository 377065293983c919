//! `TPM2_PcrSetAuthValue` (Part 3, 22.7).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrSetAuthValue, PcrSetAuthValueResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrSetAuthValue {
    fn execute(self, _: &mut Tpm) -> Result<PcrSetAuthValueResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
