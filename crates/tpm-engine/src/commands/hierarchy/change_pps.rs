//! `TPM2_ChangePPS` (Part 3, 24.4).

use crate::execute::Execute;
use crate::hierarchy::{EntityPolicy, Hierarchy};
use crate::state::Tpm;
use tpm_wire::commands::{ChangePps, ChangePpsResponse};
use tpm_wire::rc::Rc;

impl Execute for ChangePps {
    fn execute(self, tpm: &mut Tpm) -> Result<ChangePpsResponse, Rc> {
        tpm.changes_permanent()?;
        tpm.void_orderly()?;
        tpm.hierarchies.renew_platform(&mut tpm.random);
        tpm.hierarchies.platform.policy = EntityPolicy::default();
        tpm.remove_objects_of(Hierarchy::Platform);
        tpm.pcrs.policy = EntityPolicy::default();
        Ok(ChangePpsResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::{change_auth, loaded, nv_index, policy, set_policy};
    use crate::commands::object::build::{FIXED, STORAGE, ecc_template, primary};
    use crate::testing::{self, Auth};
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::{TpmaNv, TpmaObject};
    use tpm_wire::commands::{ChangePps, EvictControl};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    const PLATFORM: TpmHandle = TpmHandle::PLATFORM;

    #[test]
    fn seed_policy_and_objects_of_the_platform_are_new_and_its_authorization_value_stays() {
        let mut tpm = testing::started();
        let storage = ecc_template(FIXED | STORAGE | TpmaObject::NO_DA);
        let own = primary(&mut tpm, PLATFORM, storage.clone()).unwrap();
        let owned = primary(&mut tpm, TpmHandle::OWNER, storage.clone()).unwrap();
        tpm.run(EvictControl {
            auth: PLATFORM.into(),
            object_handle: own.object_handle.into(),
            persistent_handle: TpmHandle(0x8180_0000).into(),
        })
        .unwrap();
        nv_index(&mut tpm, TpmHandle(0x0100_0001), TpmaNv::PLATFORMCREATE);
        set_policy(&mut tpm, PLATFORM, true).unwrap();
        tpm.pcrs.policy = policy();
        change_auth(&mut tpm, PLATFORM, b"", b"secret").unwrap();
        tpm.persist = false;

        let change = ChangePps {
            auth_handle: PLATFORM.into(),
        };
        tpm.run_as(change, &[Auth::password(b"secret")]).unwrap();

        assert!(tpm.must_persist());
        assert!(!loaded(&tpm, own.object_handle) && loaded(&tpm, owned.object_handle));
        assert!(tpm.objects.persistent.is_empty());
        assert_eq!(tpm.nv.indices.len(), 1);
        assert_eq!(tpm.auth_policy(PLATFORM), Default::default());
        assert_eq!(tpm.pcrs.policy, Default::default());
        change_auth(&mut tpm, PLATFORM, b"secret", b"").unwrap();
        let again = primary(&mut tpm, PLATFORM, storage.clone()).unwrap();
        assert_ne!(again.name, own.name);
        let again = primary(&mut tpm, TpmHandle::OWNER, storage).unwrap();
        assert_eq!(again.name, owned.name);
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let auth_handle = PLATFORM.into();
        assert_eq!(tpm.run(ChangePps { auth_handle }), Err(Rc::NV_UNAVAILABLE));
    }
}
