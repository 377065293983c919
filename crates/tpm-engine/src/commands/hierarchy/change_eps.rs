//! `TPM2_ChangeEPS` (Part 3, 24.5).

use crate::execute::Execute;
use crate::hierarchy::{Authorization, Hierarchy};
use crate::state::Tpm;
use tpm_wire::commands::{ChangeEps, ChangeEpsResponse};
use tpm_wire::rc::Rc;

impl Execute for ChangeEps {
    fn execute(self, tpm: &mut Tpm) -> Result<ChangeEpsResponse, Rc> {
        tpm.changes_permanent()?;
        tpm.void_orderly()?;
        tpm.hierarchies.renew_endorsement(&mut tpm.random);
        tpm.hierarchies.endorsement_enabled = true;
        tpm.hierarchies.endorsement = Authorization::default();
        tpm.remove_objects_of(Hierarchy::Endorsement);
        Ok(ChangeEpsResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::{change_auth, loaded, set_policy};
    use crate::commands::object::build::{FIXED, STORAGE, ecc_template, primary};
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::commands::{ChangeEps, HierarchyControl};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    const ENDORSEMENT: TpmHandle = TpmHandle::ENDORSEMENT;

    #[test]
    fn seed_authorization_and_objects_of_the_endorsement_hierarchy_are_new() {
        let mut tpm = testing::started();
        let storage = ecc_template(FIXED | STORAGE | TpmaObject::NO_DA);
        let own = primary(&mut tpm, ENDORSEMENT, storage.clone()).unwrap();
        let owned = primary(&mut tpm, TpmHandle::OWNER, storage.clone()).unwrap();
        set_policy(&mut tpm, ENDORSEMENT, true).unwrap();
        change_auth(&mut tpm, ENDORSEMENT, b"", b"secret").unwrap();
        tpm.persist = false;

        let auth_handle = TpmHandle::PLATFORM.into();
        tpm.run(ChangeEps { auth_handle }).unwrap();

        assert!(tpm.must_persist());
        assert!(!loaded(&tpm, own.object_handle) && loaded(&tpm, owned.object_handle));
        assert_eq!(tpm.hierarchies.endorsement, Default::default());
        let again = primary(&mut tpm, ENDORSEMENT, storage).unwrap();
        assert_ne!(again.name, own.name);
    }

    #[test]
    fn the_hierarchy_is_enabled_again() {
        let mut tpm = testing::started();
        tpm.run(HierarchyControl {
            auth_handle: ENDORSEMENT.into(),
            enable: ENDORSEMENT.into(),
            state: false,
        })
        .unwrap();
        let auth_handle = TpmHandle::PLATFORM.into();
        tpm.run(ChangeEps { auth_handle }).unwrap();
        assert!(tpm.hierarchies.endorsement_enabled);
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let auth_handle = TpmHandle::PLATFORM.into();
        assert_eq!(tpm.run(ChangeEps { auth_handle }), Err(Rc::NV_UNAVAILABLE));
    }
}
