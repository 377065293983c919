//! `TPM2_PCR_SetAuthPolicy` (Part 3, 22.6).

use crate::execute::Execute;
use crate::hierarchy::EntityPolicy;
use crate::pcr::Pcrs;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::commands::{PcrSetAuthPolicy, PcrSetAuthPolicyResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrSetAuthPolicy {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrSetAuthPolicyResponse, Rc> {
        tpm.check_storage()?;
        let digest_size = self.hash_alg.map_or(0, TpmiAlgHash::digest_size);
        if self.auth_policy.len() != digest_size {
            return Err(Rc::SIZE.at(Self::auth_policy));
        }
        if !Pcrs::has_policy(self.pcr_num.0.index()) {
            return Err(Rc::VALUE.at(Self::pcr_num));
        }
        tpm.changes_permanent()?;
        tpm.pcrs.policy = EntityPolicy {
            hash: self.hash_alg,
            digest: self.auth_policy,
        };
        Ok(PcrSetAuthPolicyResponse {})
    }
}
