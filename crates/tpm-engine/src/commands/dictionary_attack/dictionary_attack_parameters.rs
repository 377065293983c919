//! `TPM2_DictionaryAttackParameters` (Part 3, 25.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{DictionaryAttackParameters, DictionaryAttackParametersResponse};
use tpm_wire::rc::Rc;

impl Execute for DictionaryAttackParameters {
    fn execute(self, _: &mut Tpm) -> Result<DictionaryAttackParametersResponse, Rc> {
        Err(Rc::COMMAND_CODE) // UNWRITTEN
    }
}
