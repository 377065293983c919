//! `TPM2_HierarchyControl` (Part 3, 24.2).

use crate::execute::Execute;
use crate::hierarchy::Hierarchy;
use crate::state::Tpm;
use tpm_wire::commands::{HierarchyControl, HierarchyControlResponse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

impl Execute for HierarchyControl {
    fn execute(self, tpm: &mut Tpm) -> Result<HierarchyControlResponse, Rc> {
        let (auth, enable) = (self.auth_handle.0, self.enable.0);
        // The platform switches everything, an owner its own hierarchy off.
        let may = auth == TpmHandle::PLATFORM
            || auth == enable
                && matches!(enable, TpmHandle::OWNER | TpmHandle::ENDORSEMENT)
                && (!self.state || tpm.hierarchies.check(enable).is_ok());
        if !may {
            return Err(Rc::AUTH_TYPE);
        }
        let hierarchy = match enable {
            TpmHandle::PLATFORM_NV => None,
            other => Hierarchy::from_handle(other),
        };
        let hierarchies = &tpm.hierarchies;
        let enabled = hierarchy.map_or(hierarchies.platform_nv_enabled, |hierarchy| {
            hierarchies.is_enabled(hierarchy)
        });
        if enabled != self.state {
            tpm.void_orderly()?;
            let hierarchies = &mut tpm.hierarchies;
            match hierarchy {
                Some(Hierarchy::Owner) => hierarchies.owner_enabled = self.state,
                Some(Hierarchy::Endorsement) => hierarchies.endorsement_enabled = self.state,
                Some(Hierarchy::Platform) => hierarchies.platform_enabled = self.state,
                Some(Hierarchy::Null) => {}
                None => hierarchies.platform_nv_enabled = self.state,
            }
            if let Some(hierarchy) = hierarchy.filter(|_| !self.state) {
                tpm.flush_objects_of(hierarchy);
            }
        }
        Ok(HierarchyControlResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::loaded;
    use crate::commands::object::build::{FIXED, STORAGE, ecc_template, primary};
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::TpmaObject;
    use tpm_wire::commands::{EvictControl, HierarchyControl, ReadPublic, Shutdown};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::{Position, Rc};

    const OWNER: TpmHandle = TpmHandle::OWNER;
    const ENDORSEMENT: TpmHandle = TpmHandle::ENDORSEMENT;
    const PLATFORM: TpmHandle = TpmHandle::PLATFORM;
    const PLATFORM_NV: TpmHandle = TpmHandle::PLATFORM_NV;

    fn control(
        tpm: &mut TestTpm,
        auth: TpmHandle,
        enable: TpmHandle,
        state: bool,
    ) -> Result<(), Rc> {
        let control = HierarchyControl {
            auth_handle: auth.into(),
            enable: enable.into(),
            state,
        };
        tpm.run(control).map(|_| ())
    }

    #[test]
    fn a_disabled_hierarchy_loses_its_objects_and_cannot_be_used() {
        for hierarchy in [OWNER, ENDORSEMENT, PLATFORM] {
            let mut tpm = testing::started();
            let storage = ecc_template(FIXED | STORAGE | TpmaObject::NO_DA);
            let object = primary(&mut tpm, hierarchy, storage.clone()).unwrap();
            control(&mut tpm, hierarchy, hierarchy, false).unwrap();
            assert!(!loaded(&tpm, object.object_handle));
            assert_eq!(
                primary(&mut tpm, hierarchy, storage).map(|_| ()),
                Err(Rc::HIERARCHY.at(Position::handle(1)))
            );
        }
    }

    #[test]
    fn persistent_objects_are_hidden_until_the_hierarchy_is_enabled() {
        let mut tpm = testing::started();
        let storage = ecc_template(FIXED | STORAGE | TpmaObject::NO_DA);
        let persistent = TpmHandle(0x8100_0001);
        let object = primary(&mut tpm, ENDORSEMENT, storage).unwrap();
        let evict = EvictControl {
            auth: OWNER.into(),
            object_handle: object.object_handle.into(),
            persistent_handle: persistent.into(),
        };
        tpm.run(evict.clone()).unwrap();
        let read = ReadPublic {
            object_handle: persistent.into(),
        };
        control(&mut tpm, ENDORSEMENT, ENDORSEMENT, false).unwrap();
        assert_eq!(
            tpm.run(read.clone()).map(|_| ()),
            Err(Rc::from_number(0x18B))
        );
        // Removing it needs the owner, whose handle it has, and not its own hierarchy.
        control(&mut tpm, PLATFORM, ENDORSEMENT, true).unwrap();
        tpm.run(read.clone()).unwrap();
        control(&mut tpm, OWNER, OWNER, false).unwrap();
        assert_eq!(tpm.run(read).map(|_| ()), Err(Rc::from_number(0x18B)));
        control(&mut tpm, PLATFORM, OWNER, true).unwrap();
        control(&mut tpm, ENDORSEMENT, ENDORSEMENT, false).unwrap();
        tpm.run(EvictControl {
            object_handle: persistent.into(),
            ..evict
        })
        .unwrap();
        assert!(tpm.objects.persistent.is_empty());
    }

    #[test]
    fn only_the_platform_enables_and_others_disable_their_own_only() {
        let mut tpm = testing::started();
        for (auth, enable, state) in [
            (OWNER, ENDORSEMENT, false),
            (ENDORSEMENT, OWNER, false),
            (OWNER, PLATFORM, false),
            (OWNER, PLATFORM_NV, false),
            (ENDORSEMENT, PLATFORM_NV, true),
            (TpmHandle::FW_OWNER, OWNER, false),
        ] {
            assert_eq!(control(&mut tpm, auth, enable, state), Err(Rc::AUTH_TYPE));
        }
        // An owner may say that its hierarchy stays enabled.
        control(&mut tpm, OWNER, OWNER, true).unwrap();
        control(&mut tpm, OWNER, OWNER, false).unwrap();
        // Once disabled, its authorization cannot be used at all.
        assert_eq!(
            control(&mut tpm, OWNER, OWNER, true),
            Err(Rc::HIERARCHY.at(Position::handle(1)))
        );
        control(&mut tpm, PLATFORM, OWNER, true).unwrap();
        control(&mut tpm, PLATFORM, PLATFORM_NV, false).unwrap();
        assert!(!tpm.hierarchies.platform_nv_enabled);
        control(&mut tpm, PLATFORM, PLATFORM, false).unwrap();
        assert_eq!(
            control(&mut tpm, PLATFORM, PLATFORM, true),
            Err(Rc::HIERARCHY.at(Position::handle(1)))
        );
        tpm.restart(None, TpmSu::Clear);
        assert!(tpm.hierarchies.platform_enabled && tpm.hierarchies.platform_nv_enabled);
    }

    #[test]
    fn a_change_voids_an_orderly_shutdown_and_then_needs_storage() {
        let mut tpm = testing::started();
        tpm.run(Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(
            control(&mut tpm, PLATFORM, OWNER, false),
            Err(Rc::NV_UNAVAILABLE)
        );
        control(&mut tpm, PLATFORM, OWNER, true).unwrap();
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        control(&mut tpm, PLATFORM, OWNER, false).unwrap();
        assert!(!tpm.power.is_orderly());
    }
}
