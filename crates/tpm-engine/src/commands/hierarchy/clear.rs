//! `TPM2_Clear` (Part 3, 24.6).

use crate::execute::Execute;
use crate::hierarchy::{Authorization, Hierarchy};
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bAuth;
use tpm_wire::commands::{Clear, ClearResponse};
use tpm_wire::rc::Rc;

impl Execute for Clear {
    fn execute(self, tpm: &mut Tpm) -> Result<ClearResponse, Rc> {
        tpm.check_storage()?;
        if tpm.hierarchies.disable_clear {
            return Err(Rc::DISABLED);
        }
        tpm.changes_permanent()?;
        tpm.void_orderly()?;
        let hierarchies = &mut tpm.hierarchies;
        hierarchies.renew_owner(&mut tpm.random);
        hierarchies.owner_enabled = true;
        hierarchies.endorsement_enabled = true;
        hierarchies.owner = Authorization::default();
        hierarchies.endorsement = Authorization::default();
        hierarchies.lockout = Authorization::default();
        tpm.remove_objects_of(Hierarchy::Owner);
        tpm.remove_objects_of(Hierarchy::Endorsement);
        tpm.nv.remove_owner_created();
        tpm.dictionary_attack.clear();
        tpm.clock.clear();
        tpm.command_audit.counter = 0;
        tpm.pcrs.auth = Tpm2bAuth::EMPTY;
        // The reference counts this as a change of PCR 0, so that policies over PCR are looked at anew.
        tpm.pcrs.note_change(0);
        Ok(ClearResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::{change_auth, loaded, set_policy};
    use crate::commands::object::build::{FIXED, STORAGE, ecc_template, primary};
    use crate::testing::{self, Auth, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::{TpmaNv, TpmaObject};
    use tpm_wire::commands::{
        Clear, ClearControl, DictionaryAttackParameters, EvictControl, HierarchyControl, ReadClock,
    };
    use tpm_wire::handles::{TpmHandle, TpmiRhClear};
    use tpm_wire::rc::Rc;

    const PERSISTENT: TpmHandle = TpmHandle(0x8100_0001);

    fn clear(tpm: &mut TestTpm, handle: TpmHandle, auth: &[u8]) -> Result<(), Rc> {
        let clear = Clear {
            auth_handle: TpmiRhClear(handle),
        };
        tpm.run_as(clear, &[Auth::password(auth)]).map(|_| ())
    }

    #[test]
    fn what_belongs_to_the_owner_is_gone() {
        let mut tpm = testing::started();
        let storage = ecc_template(FIXED | STORAGE | TpmaObject::NO_DA);
        let owned = primary(&mut tpm, TpmHandle::OWNER, storage.clone()).unwrap();
        let endorsed = primary(&mut tpm, TpmHandle::ENDORSEMENT, storage.clone()).unwrap();
        let platform = primary(&mut tpm, TpmHandle::PLATFORM, storage.clone()).unwrap();
        tpm.run(EvictControl {
            auth: TpmHandle::OWNER.into(),
            object_handle: owned.object_handle.into(),
            persistent_handle: PERSISTENT.into(),
        })
        .unwrap();
        for handle in [TpmHandle::OWNER, TpmHandle::ENDORSEMENT, TpmHandle::LOCKOUT] {
            set_policy(&mut tpm, handle, true).unwrap();
            change_auth(&mut tpm, handle, b"", b"secret").unwrap();
        }
        tpm.run(HierarchyControl {
            auth_handle: TpmHandle::PLATFORM.into(),
            enable: TpmHandle::OWNER.into(),
            state: false,
        })
        .unwrap();
        tpm.script.now.store(5000, Ordering::Relaxed);
        tpm.persist = false;

        clear(&mut tpm, TpmHandle::LOCKOUT, b"secret").unwrap();

        assert!(tpm.must_persist());
        assert!(!loaded(&tpm, owned.object_handle) && !loaded(&tpm, endorsed.object_handle));
        assert!(loaded(&tpm, platform.object_handle));
        assert!(tpm.objects.persistent.is_empty());
        let hierarchies = &tpm.hierarchies;
        assert_eq!(hierarchies.owner, Default::default());
        assert_eq!(hierarchies.endorsement, Default::default());
        assert_eq!(hierarchies.lockout, Default::default());
        assert!(hierarchies.owner_enabled);
        let clock = tpm.run(ReadClock {}).unwrap().current_time.clock_info;
        assert_eq!((clock.clock, clock.reset_count), (0, 0));
        assert!(clock.safe);
        // The seed of the owner is another one, that of the endorsement hierarchy is the same.
        let again = primary(&mut tpm, TpmHandle::OWNER, storage.clone()).unwrap();
        assert_ne!(again.name, owned.name);
        let again = primary(&mut tpm, TpmHandle::ENDORSEMENT, storage).unwrap();
        assert_eq!(again.name, endorsed.name);
    }

    #[test]
    fn the_parameters_of_dictionary_attack_protection_are_those_of_a_new_tpm() {
        let mut tpm = testing::started();
        tpm.run(DictionaryAttackParameters {
            lock_handle: TpmHandle::LOCKOUT.into(),
            new_max_tries: 9,
            new_recovery_time: 9,
            lockout_recovery: 9,
        })
        .unwrap();
        clear(&mut tpm, TpmHandle::PLATFORM, b"").unwrap();
        assert_eq!(tpm.dictionary_attack, testing::started().dictionary_attack);
    }

    #[test]
    fn indices_of_the_owner_go_and_those_of_the_platform_stay() {
        let mut tpm = testing::started();
        for (index, attributes) in [
            (0x0100_0001, TpmaNv::OWNERREAD),
            (0x0100_0002, TpmaNv::OWNERREAD | TpmaNv::PLATFORMCREATE),
        ] {
            crate::commands::hierarchy::build::nv_index(&mut tpm, TpmHandle(index), attributes);
        }
        clear(&mut tpm, TpmHandle::LOCKOUT, b"").unwrap();
        let left: alloc::vec::Vec<_> = tpm.nv.indices.keys().copied().collect();
        assert_eq!(left, [TpmHandle(0x0100_0002)]);
    }

    #[test]
    fn a_disabled_clear_is_disabled() {
        let mut tpm = testing::started();
        tpm.run(ClearControl {
            auth: TpmHandle::LOCKOUT.into(),
            disable: true,
        })
        .unwrap();
        assert_eq!(clear(&mut tpm, TpmHandle::LOCKOUT, b""), Err(Rc::DISABLED));
        assert_eq!(clear(&mut tpm, TpmHandle::PLATFORM, b""), Err(Rc::DISABLED));
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(
            clear(&mut tpm, TpmHandle::PLATFORM, b""),
            Err(Rc::NV_UNAVAILABLE)
        );
    }
}
