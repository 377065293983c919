//! `TPM2_DictionaryAttackLockReset` (Part 3, 25.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{DictionaryAttackLockReset, DictionaryAttackLockResetResponse};
use tpm_wire::rc::Rc;

impl Execute for DictionaryAttackLockReset {
    fn execute(self, _: &mut Tpm) -> Result<DictionaryAttackLockResetResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
