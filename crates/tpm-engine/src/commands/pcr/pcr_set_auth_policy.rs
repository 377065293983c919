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

#[cfg(test)]
mod tests {
    use crate::commands::pcr::build::handle;
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash::{self, Sha256};
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::PcrSetAuthPolicy;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn set(size: usize, hash_alg: Option<TpmiAlgHash>, pcr: u32) -> PcrSetAuthPolicy {
        PcrSetAuthPolicy {
            auth_handle: TpmHandle::PLATFORM.into(),
            auth_policy: Tpm2bDigest::zeros(size),
            hash_alg,
            pcr_num: handle(pcr),
        }
    }

    #[test]
    fn a_policy_is_durable_and_can_be_removed() {
        let mut tpm = testing::started();
        let _ = tpm.permanent_state();
        tpm.run(set(32, Some(Sha256), 20)).unwrap();
        assert!(tpm.must_persist());
        let mut tpm = tpm.reloaded();
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(tpm.auth_policy(TpmHandle(22)).hash, Some(Sha256));
        tpm.run(set(0, None, 20)).unwrap();
        assert_eq!(tpm.auth_policy(TpmHandle(22)).hash, None);
    }

    #[test]
    fn the_size_is_that_of_the_hash_and_the_pcr_one_that_has_a_policy() {
        let mut tpm = testing::started();
        let wrong_size = Err(Rc::SIZE.at(PcrSetAuthPolicy::auth_policy));
        assert_eq!(tpm.run(set(20, Some(Sha256), 0)), wrong_size);
        assert_eq!(tpm.run(set(32, None, 20)), wrong_size);
        let without_policy = Err(Rc::VALUE.at(PcrSetAuthPolicy::pcr_num));
        assert_eq!(tpm.run(set(32, Some(Sha256), 19)), without_policy);
    }

    #[test]
    fn without_storage_nothing_is_set() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let refused = tpm.run(set(20, Some(Sha256), 0));
        assert_eq!(refused, Err(Rc::NV_UNAVAILABLE));
    }
}
