//! `TPM2_HierarchyChangeAuth` (Part 3, 24.8).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{HierarchyChangeAuth, HierarchyChangeAuthResponse};
use tpm_wire::rc::Rc;

impl Execute for HierarchyChangeAuth {
    fn execute(self, _: &mut Tpm) -> Result<HierarchyChangeAuthResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
