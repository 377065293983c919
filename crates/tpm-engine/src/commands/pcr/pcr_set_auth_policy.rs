//! `TPM2_PcrSetAuthPolicy` (Part 3, 22.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PcrSetAuthPolicy, PcrSetAuthPolicyResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrSetAuthPolicy {
    fn execute(self, _: &mut Tpm) -> Result<PcrSetAuthPolicyResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
