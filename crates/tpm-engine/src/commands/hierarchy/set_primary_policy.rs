//! `TPM2_SetPrimaryPolicy` (Part 3, 24.3).

use crate::execute::Execute;
use crate::hierarchy::EntityPolicy;
use crate::state::Tpm;
use tpm_wire::commands::{SetPrimaryPolicy, SetPrimaryPolicyResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for SetPrimaryPolicy {
    fn execute(self, tpm: &mut Tpm) -> Result<SetPrimaryPolicyResponse, Rc> {
        let size = self.hash_alg.map_or(0, |hash| hash.digest_size());
        if self.auth_policy.len() != size {
            return Err(Rc::SIZE.at(Self::auth_policy));
        }
        tpm.check_storage()?;
        let handle = self.auth_handle.0;
        // What a startup resets is not stored by itself.
        if handle == TpmHandle::PLATFORM || tpm.is_act(handle) {
            tpm.void_orderly()?;
        } else {
            tpm.changes_permanent()?;
        }
        let policy = EntityPolicy {
            hash: self.hash_alg,
            digest: self.auth_policy,
        };
        if let Some(act) = tpm.management.act_mut(handle) {
            act.policy = policy;
        } else if let Some(authorization) = tpm.hierarchies.authorization_mut(handle) {
            authorization.policy = policy;
        } else {
            return Err(tpm.fail("a handle without policy was accepted"));
        }
        Ok(SetPrimaryPolicyResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::{change_auth, policy, set_policy};
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::SetPrimaryPolicy;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    const ALL: [TpmHandle; 5] = [
        TpmHandle::OWNER,
        TpmHandle::ENDORSEMENT,
        TpmHandle::LOCKOUT,
        TpmHandle::PLATFORM,
        TpmHandle::ACT_0,
    ];

    #[test]
    fn the_policy_is_set_and_taken_away() {
        for handle in ALL {
            let mut tpm = testing::started();
            set_policy(&mut tpm, handle, true).unwrap();
            assert_eq!(tpm.auth_policy(handle), policy());
            set_policy(&mut tpm, handle, false).unwrap();
            assert_eq!(tpm.auth_policy(handle), Default::default());
        }
    }

    #[test]
    fn that_of_platform_and_timers_lasts_until_the_next_startup() {
        for (handle, kept) in ALL.into_iter().zip([true, true, true, false, false]) {
            let mut tpm = testing::started();
            tpm.persist = false;
            set_policy(&mut tpm, handle, true).unwrap();
            assert_eq!(tpm.must_persist(), kept || handle == TpmHandle::LOCKOUT);
            tpm.restart(Some(TpmSu::State), TpmSu::State);
            assert_eq!(tpm.auth_policy(handle), policy());
            let mut tpm = tpm.reloaded();
            tpm.restart(None, TpmSu::Clear);
            assert_eq!(tpm.auth_policy(handle) == policy(), kept);
            change_auth(&mut tpm, TpmHandle::OWNER, b"", b"").unwrap();
        }
    }

    #[test]
    fn a_policy_of_another_size_than_the_hash_is_size_at_parameter_1() {
        let mut tpm = testing::started();
        for (size, hash_alg) in [
            (32, Some(TpmiAlgHash::Sha384)),
            (0, Some(TpmiAlgHash::Sha256)),
            (32, None),
        ] {
            let set = SetPrimaryPolicy {
                auth_handle: TpmHandle::OWNER.into(),
                auth_policy: Tpm2bDigest::zeros(size),
                hash_alg,
            };
            assert_eq!(
                tpm.run(set),
                Err(Rc::SIZE.at(SetPrimaryPolicy::auth_policy))
            );
        }
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        for handle in [TpmHandle::OWNER, TpmHandle::PLATFORM, TpmHandle::ACT_0] {
            assert_eq!(set_policy(&mut tpm, handle, true), Err(Rc::NV_UNAVAILABLE));
        }
    }
}
