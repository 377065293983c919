//! `TPM2_Commit` (Part 3, 19.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Commit, CommitResponse};
use tpm_wire::rc::Rc;

impl Execute for Commit {
    fn execute(self, _: &mut Tpm) -> Result<CommitResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
