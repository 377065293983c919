//! `TPM2_HierarchyControl` (Part 3, 24.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{HierarchyControl, HierarchyControlResponse};
use tpm_wire::rc::Rc;

impl Execute for HierarchyControl {
    fn execute(self, _: &mut Tpm) -> Result<HierarchyControlResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
