//! `TPM2_GetCommandAuditDigest` (Part 3, 18.6).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{GetCommandAuditDigest, GetCommandAuditDigestResponse};
use tpm_wire::rc::Rc;

impl Execute for GetCommandAuditDigest {
    fn execute(self, _: &mut Tpm) -> Result<GetCommandAuditDigestResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
