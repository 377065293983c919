//! `TPM2_EvictControl` (Part 3, 28.5).

use crate::entity::{PLATFORM_PERSISTENT, is_limited};
use crate::execute::Execute;
use crate::hierarchy::Hierarchy;
use crate::state::Tpm;
use tpm_wire::commands::{EvictControl, EvictControlResponse};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::Rc;

impl Execute for EvictControl {
    fn execute(self, tpm: &mut Tpm) -> Result<EvictControlResponse, Rc> {
        let (handle, persistent_handle) = (self.object_handle.0, self.persistent_handle.0);
        // A sequence is not to last.
        let object = tpm
            .objects
            .find(handle)
            .ok_or(Rc::ATTRIBUTES.at(Self::object_handle))?;
        if is_limited(object.hierarchy) {
            return Err(Rc::HIERARCHY.at(Self::object_handle));
        }
        let hierarchy = Hierarchy::from_handle(object.hierarchy).unwrap_or(Hierarchy::Null);
        if hierarchy == Hierarchy::Null || object.st_clear || object.sensitive.is_none() {
            return Err(Rc::ATTRIBUTES.at(Self::object_handle));
        }
        let is_persistent = handle.kind() == Some(TpmHt::Persistent);
        if is_persistent && handle != persistent_handle {
            return Err(Rc::HANDLE.at(Self::object_handle));
        }
        let of_platform = hierarchy == Hierarchy::Platform;
        let by_platform = self.auth.0 == TpmHandle::PLATFORM;
        // The platform may remove everything; otherwise each deals with its own.
        if of_platform != by_platform && !(by_platform && is_persistent) {
            return Err(Rc::HIERARCHY.at(Self::object_handle));
        }
        if is_persistent {
            tpm.changes_permanent()?;
            tpm.objects.persistent.remove(&handle);
            return Ok(EvictControlResponse {});
        }
        if (persistent_handle >= PLATFORM_PERSISTENT) != by_platform {
            return Err(Rc::RANGE.at(Self::persistent_handle));
        }
        if tpm.objects.persistent.contains_key(&persistent_handle) {
            return Err(Rc::NV_DEFINED);
        }
        if tpm.persistent_room() == 0 {
            return Err(Rc::NV_SPACE);
        }
        let object = object.clone();
        tpm.changes_permanent()?;
        tpm.objects.persistent.insert(persistent_handle, object);
        Ok(EvictControlResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::context::build::{
        hash_sequence, object, object_under, public_only, st_clear_object,
    };
    use crate::profile::Profile;
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::{EvictControl, ReadPublic, Startup};
    use tpm_wire::constants::TpmSu;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::{Position, Rc};

    const OWNER: TpmHandle = TpmHandle::OWNER;
    const PLATFORM: TpmHandle = TpmHandle::PLATFORM;
    const OWNED: TpmHandle = TpmHandle(0x8100_0001);
    const OF_PLATFORM: TpmHandle = TpmHandle(0x8180_0000);

    fn evict(
        tpm: &mut TestTpm,
        auth: TpmHandle,
        object: TpmHandle,
        persistent: TpmHandle,
    ) -> Result<(), Rc> {
        tpm.run(EvictControl {
            auth: auth.into(),
            object_handle: object.into(),
            persistent_handle: persistent.into(),
        })
        .map(|_| ())
    }

    #[test]
    fn an_object_is_made_persistent_used_over_a_loss_of_power_and_removed() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        let name = tpm.objects.find(object).unwrap().name.clone();
        tpm.persist = false;
        evict(&mut tpm, OWNER, object, OWNED).unwrap();
        assert!(tpm.must_persist());
        let mut tpm = tpm.reloaded();
        tpm.restart(None, TpmSu::Clear);
        let read = ReadPublic {
            object_handle: OWNED.into(),
        };
        assert_eq!(tpm.run(read.clone()).unwrap().name, name);
        tpm.persist = false;
        evict(&mut tpm, OWNER, OWNED, OWNED).unwrap();
        assert!(tpm.must_persist());
        assert_eq!(
            tpm.run(read).map(|_| ()),
            Err(Rc::HANDLE.at(Position::handle(1)))
        );
    }

    #[test]
    fn each_deals_with_its_own_in_its_own_range() {
        let mut tpm = testing::started();
        let owned = object_under(&mut tpm, OWNER);
        let endorsed = object_under(&mut tpm, TpmHandle::ENDORSEMENT);
        let platform = object_under(&mut tpm, PLATFORM);
        let hierarchy = Err(Rc::HIERARCHY.at(EvictControl::object_handle));
        let range = Err(Rc::RANGE.at(EvictControl::persistent_handle));
        for (auth, object, persistent, expected) in [
            (OWNER, platform, OWNED, hierarchy),
            (PLATFORM, owned, OF_PLATFORM, hierarchy),
            (PLATFORM, endorsed, OF_PLATFORM, hierarchy),
            (OWNER, owned, OF_PLATFORM, range),
            (PLATFORM, platform, OWNED, range),
            (OWNER, owned, OWNED, Ok(())),
            (OWNER, endorsed, TpmHandle(0x817F_FFFF), Ok(())),
            (PLATFORM, platform, OF_PLATFORM, Ok(())),
            // The owner cannot remove what is the platform's; the platform removes everything.
            (OWNER, OF_PLATFORM, OF_PLATFORM, hierarchy),
            (PLATFORM, OWNED, OWNED, Ok(())),
            (PLATFORM, OF_PLATFORM, OF_PLATFORM, Ok(())),
            (
                OWNER,
                TpmHandle(0x817F_FFFF),
                TpmHandle(0x817F_FFFF),
                Ok(()),
            ),
        ] {
            assert_eq!(
                evict(&mut tpm, auth, object, persistent),
                expected,
                "{auth:?} {object:?} {persistent:?}"
            );
        }
    }

    #[test]
    fn what_does_not_last_cannot_be_made_persistent() {
        let mut tpm = testing::started();
        for make in [
            st_clear_object,
            public_only,
            hash_sequence,
            |tpm: &mut TestTpm| object_under(tpm, TpmHandle::NULL),
        ] {
            let handle = make(&mut tpm);
            assert_eq!(
                evict(&mut tpm, OWNER, handle, OWNED),
                Err(Rc::ATTRIBUTES.at(EvictControl::object_handle))
            );
        }
        let limited = object_under(&mut tpm, TpmHandle::FW_OWNER);
        assert_eq!(
            evict(&mut tpm, OWNER, limited, OWNED),
            Err(Rc::HIERARCHY.at(EvictControl::object_handle))
        );
    }

    // TPM_RC_NV_HANDLE, which Part 3 lists, is not reached: a handle outside the ranges is RANGE, a used one NV_DEFINED.
    #[test]
    fn handles_must_fit_and_be_free() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        evict(&mut tpm, OWNER, object, OWNED).unwrap();
        assert_eq!(evict(&mut tpm, OWNER, object, OWNED), Err(Rc::NV_DEFINED));
        assert_eq!(
            evict(&mut tpm, OWNER, OWNED, TpmHandle(0x8100_0002)),
            Err(Rc::HANDLE.at(EvictControl::object_handle))
        );
        assert_eq!(
            evict(&mut tpm, OWNER, TpmHandle(0x8100_0003), OWNED),
            Err(Rc::HANDLE.at(Position::handle(2)))
        );
    }

    #[test]
    fn there_is_room_for_as_many_as_the_profile_says() {
        let mut tpm = testing::with_profile(Profile::by_name("pc-client").unwrap());
        tpm.run(Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        let object = object(&mut tpm);
        for number in 0..7 {
            evict(&mut tpm, OWNER, object, TpmHandle(0x8100_0000 + number)).unwrap();
        }
        assert_eq!(
            evict(&mut tpm, OWNER, object, TpmHandle(0x8100_0007)),
            Err(Rc::NV_SPACE)
        );
    }

    #[test]
    fn it_needs_room_to_make_an_object_persistent_and_none_to_remove_it() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        evict(&mut tpm, OWNER, object, OWNED).unwrap();
        tpm.script.storage_full.store(true, Ordering::Relaxed);
        let next = TpmHandle(0x8100_0007);
        assert_eq!(evict(&mut tpm, OWNER, object, next), Err(Rc::NV_SPACE));
        assert_eq!(evict(&mut tpm, OWNER, OWNED, OWNED), Ok(()));
    }

    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        let object = object(&mut tpm);
        evict(&mut tpm, OWNER, object, OWNED).unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(
            evict(&mut tpm, OWNER, object, TpmHandle(0x8100_0002)),
            Err(Rc::NV_UNAVAILABLE)
        );
        assert_eq!(
            evict(&mut tpm, OWNER, OWNED, OWNED),
            Err(Rc::NV_UNAVAILABLE)
        );
    }
}
