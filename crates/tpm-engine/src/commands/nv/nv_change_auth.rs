//! `TPM2_NV_ChangeAuth` (Part 3, 31.15).

use crate::algorithms::small;
use crate::execute::Execute;
use crate::state::Tpm;
use subtle::ConstantTimeEq;
use tpm_wire::commands::{NvChangeAuth, NvChangeAuthResponse};
use tpm_wire::rc::Rc;

impl Execute for NvChangeAuth {
    fn execute(self, tpm: &mut Tpm) -> Result<NvChangeAuthResponse, Rc> {
        let index = tpm.nv.get(self.nv_index)?;
        let auth = self.new_auth.without_trailing_zeros();
        if auth.len() > index.name_alg().digest_size() {
            return Err(Rc::SIZE.at(Self::new_auth));
        }
        if !bool::from(auth.ct_eq(&index.auth)) {
            tpm.changes_permanent()?;
            tpm.nv.get_mut(self.nv_index)?.auth = small(auth);
        }
        Ok(NvChangeAuthResponse {})
    }
}
