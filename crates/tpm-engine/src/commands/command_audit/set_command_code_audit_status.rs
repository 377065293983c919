//! `TPM2_SetCommandCodeAuditStatus` (Part 3, 21.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SetCommandCodeAuditStatus, SetCommandCodeAuditStatusResponse};
use tpm_wire::rc::Rc;

impl Execute for SetCommandCodeAuditStatus {
    fn execute(self, _: &mut Tpm) -> Result<SetCommandCodeAuditStatusResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
