//! `TPM2_GetSessionAuditDigest` (Part 3, 18.5).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{GetSessionAuditDigest, GetSessionAuditDigestResponse};
use tpm_wire::rc::Rc;

impl Execute for GetSessionAuditDigest {
    fn execute(self, _: &mut Tpm) -> Result<GetSessionAuditDigestResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
