//! `TPM2_PolicyGetDigest` (Part 3, 23.19).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyGetDigest, PolicyGetDigestResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyGetDigest {
    fn execute(self, _: &mut Tpm) -> Result<PolicyGetDigestResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
