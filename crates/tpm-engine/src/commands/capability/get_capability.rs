//! `TPM2_GetCapability` (Part 3, 30.2).

use super::Unknown;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{GetCapability, GetCapabilityResponse};
use tpm_wire::rc::Rc;

impl Execute for GetCapability {
    fn execute(self, tpm: &mut Tpm) -> Result<GetCapabilityResponse, Rc> {
        let (more_data, capability_data) = tpm
            .capability(self.capability, self.property, self.property_count)
            .map_err(|unknown| match unknown {
                Unknown::Capability(rc) => rc.at(Self::capability),
                Unknown::Property(rc) => rc.at(Self::property),
            })?;
        Ok(GetCapabilityResponse {
            more_data,
            capability_data,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::context::build::{object, save, session};
    use crate::commands::hierarchy::build::{nv_index, set_policy};
    use crate::profile::Profile;
    use crate::testing::{self, TestTpm};
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;
    use tpm_wire::attributes::{TpmaNv, TpmaStartupClear};
    use tpm_wire::capability::TpmsCapabilityData;
    use tpm_wire::codec::Marshal;
    use tpm_wire::commands::{ContextSave, EvictControl, GetCapability, Startup};
    use tpm_wire::constants::{TpmCap, TpmPt, TpmSu};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;
    use tpm_wire::table::{Command, find};

    fn started(profile: &str) -> TestTpm {
        let mut tpm = testing::with_profile(Profile::by_name(profile).unwrap());
        tpm.run(Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        tpm
    }

    fn get(
        tpm: &mut TestTpm,
        capability: TpmCap,
        property: u32,
        property_count: u32,
    ) -> Result<(bool, TpmsCapabilityData), Rc> {
        tpm.run(GetCapability {
            capability,
            property,
            property_count,
        })
        .map(|response| (response.more_data, response.capability_data))
    }

    fn handles(tpm: &mut TestTpm, first: u32, count: u32) -> (bool, Vec<TpmHandle>) {
        match get(tpm, TpmCap::HANDLES, first, count).unwrap() {
            (more, TpmsCapabilityData::Handles(list)) => (more, list.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn properties(tpm: &mut TestTpm, first: TpmPt, count: u32) -> (bool, Vec<(TpmPt, u32)>) {
        match get(tpm, TpmCap::TPM_PROPERTIES, first.0, count).unwrap() {
            (more, TpmsCapabilityData::TpmProperties(list)) => (
                more,
                list.iter()
                    .map(|tagged| (tagged.property, tagged.value))
                    .collect(),
            ),
            other => panic!("{other:?}"),
        }
    }

    fn property(tpm: &mut TestTpm, property: TpmPt) -> u32 {
        match properties(tpm, property, 1).1.as_slice() {
            [(found, value)] if *found == property => *value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_profile_of_swtpm_answers_as_swtpm_does() {
        let mut tpm = started("swtpm-0.7");
        for line in include_str!("swtpm_0_7.txt").lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [capability, first, count, rc, expected] = words.as_slice() else {
                continue;
            };
            if line.starts_with('#') {
                continue;
            }
            let number = |text| u32::from_str_radix(text, 16).unwrap();
            let answer = get(
                &mut tpm,
                TpmCap(number(capability)),
                number(first),
                count.parse().unwrap(),
            );
            let (rc_given, given) = match answer {
                Ok((more, data)) => {
                    let bytes = [more.to_bytes(), data.to_bytes()].concat();
                    (0, hex::encode(bytes))
                }
                Err(rc) => (rc.number(), String::from("-")),
            };
            assert_eq!(rc_given, number(rc), "{capability} {first} {count}");
            assert_eq!(given, *expected, "{capability} {first} {count}");
        }
    }

    #[test]
    fn the_list_of_commands_is_the_table_less_what_the_profile_lacks() {
        for name in Profile::NAMES {
            let mut tpm = started(name);
            let (more, data) = get(&mut tpm, TpmCap::COMMANDS, 0, 1000).unwrap();
            let TpmsCapabilityData::Commands(list) = data else {
                panic!("commands were asked for")
            };
            assert!(!more);
            let total = u32::try_from(list.len()).unwrap();
            assert_eq!(property(&mut tpm, TpmPt::TOTAL_COMMANDS), total);
            assert_eq!(property(&mut tpm, TpmPt::LIBRARY_COMMANDS), total);
            assert_eq!(property(&mut tpm, TpmPt::VENDOR_COMMANDS), 0);
            for attributes in &list {
                let row = find(attributes.0 & 0xFFFF).unwrap();
                assert_eq!(row.attributes(), *attributes);
                assert!(tpm.profile().has_command(row));
            }
        }
    }

    #[test]
    fn handles_of_every_kind_are_listed() {
        let mut tpm = testing::started();
        let (first, second) = (object(&mut tpm), object(&mut tpm));
        assert_eq!(
            handles(&mut tpm, 0x8000_0000, 10),
            (false, Vec::from([first, second]))
        );
        assert_eq!(
            handles(&mut tpm, 0x8000_0000, 1),
            (true, Vec::from([first]))
        );
        assert_eq!(
            handles(&mut tpm, 0x8000_0001, 1),
            (false, Vec::from([second]))
        );
        let persistent = TpmHandle(0x8100_0001);
        tpm.run(EvictControl {
            auth: TpmHandle::OWNER.into(),
            object_handle: first.into(),
            persistent_handle: persistent.into(),
        })
        .unwrap();
        assert_eq!(
            handles(&mut tpm, 0x8100_0000, 10),
            (false, Vec::from([persistent]))
        );
        for index in [0x0100_0002, 0x0100_0001] {
            nv_index(&mut tpm, TpmHandle(index), TpmaNv::OWNERREAD);
        }
        assert_eq!(
            handles(&mut tpm, 0x0100_0000, 10).1,
            [TpmHandle(0x0100_0001), TpmHandle(0x0100_0002)]
        );
        assert_eq!(handles(&mut tpm, 22, 9).1, [TpmHandle(22), TpmHandle(23)]);
        let permanent = handles(&mut tpm, 0x4000_0000, 100).1;
        assert!(permanent.is_sorted());
        assert!(permanent.contains(&TpmHandle::ACT_0));
        assert!(permanent.contains(&TpmHandle::SVN_NULL_BASE));
        for first in [0x9000_0000, 0x1100_0000, 0x7000_0000] {
            assert_eq!(
                get(&mut tpm, TpmCap::HANDLES, first, 1),
                Err(Rc::HANDLE.at(GetCapability::property))
            );
        }
    }

    #[test]
    fn sessions_are_listed_as_loaded_or_saved() {
        let mut tpm = testing::started();
        let loaded = session(&mut tpm);
        let policy = crate::commands::policy::build::policy(&mut tpm).0;
        let saved = session(&mut tpm);
        save(&mut tpm, saved).unwrap();
        let save_handle = policy.into();
        assert_eq!(
            handles(&mut tpm, 0x0200_0000, 9).1,
            [loaded, policy],
            "loaded sessions with the handles that they have"
        );
        tpm.run(ContextSave { save_handle }).unwrap();
        assert_eq!(handles(&mut tpm, 0x0200_0000, 9).1, [loaded]);
        assert_eq!(
            handles(&mut tpm, 0x0300_0000, 9).1,
            [TpmHandle(0x0200_0001), TpmHandle(0x0200_0002)],
            "saved sessions as HMAC sessions, whatever they are"
        );
        assert_eq!(handles(&mut tpm, 0x0300_0002, 9).1.len(), 1);
        assert_eq!(property(&mut tpm, TpmPt::HR_LOADED), 1);
        assert_eq!(property(&mut tpm, TpmPt::HR_ACTIVE), 3);
        assert_eq!(property(&mut tpm, TpmPt::HR_ACTIVE_AVAIL), 61);
        assert_eq!(property(&mut tpm, TpmPt::HR_LOADED_AVAIL), 63);
    }

    #[test]
    fn policies_of_permanent_handles_are_told() {
        let mut tpm = testing::started();
        set_policy(&mut tpm, TpmHandle::LOCKOUT, true).unwrap();
        let (more, data) = get(&mut tpm, TpmCap::AUTH_POLICIES, 0x4000_000A, 2).unwrap();
        let TpmsCapabilityData::AuthPolicies(list) = data else {
            panic!("policies were asked for")
        };
        assert!(more);
        assert_eq!(list[0].handle, TpmHandle::LOCKOUT);
        assert_eq!(
            list[0].policy_hash.as_ref().map(|hash| hash.digest.len()),
            Some(32)
        );
        assert_eq!(list[1].handle, TpmHandle::ENDORSEMENT);
        assert_eq!(list[1].policy_hash, None);
        assert_eq!(
            get(&mut tpm, TpmCap::AUTH_POLICIES, 0x0100_0000, 2),
            Err(Rc::VALUE.at(GetCapability::property))
        );
    }

    #[test]
    fn timers_are_asked_for_by_their_handles() {
        let mut tpm = testing::started();
        for first in [0x4000_010F, 0x4000_0120, 0] {
            assert_eq!(
                get(&mut tpm, TpmCap::ACT, first, 1),
                Err(Rc::VALUE.at(GetCapability::property))
            );
        }
        let (more, data) = get(&mut tpm, TpmCap::ACT, 0x4000_0111, 9).unwrap();
        assert_eq!(
            (more, data),
            (false, TpmsCapabilityData::Act([].into_iter().collect()))
        );
    }

    #[test]
    fn firmware_is_told_of_five_banks_and_of_every_one_that_is_allocated() {
        use crate::commands::pcr::build::selection;
        use tpm_wire::algorithm::TpmiAlgHash::{
            self, Sha1, Sha3_256, Sha3_384, Sha256, Sha384, Sha512, Sm3_256,
        };
        use tpm_wire::commands::PcrAllocate;

        let banks = |tpm: &mut TestTpm| -> Vec<(TpmiAlgHash, bool)> {
            match get(tpm, TpmCap::PCRS, 0, 1).unwrap() {
                (false, TpmsCapabilityData::Pcrs(banks)) => banks
                    .iter()
                    .map(|bank| (bank.hash, !bank.pcr_select.is_empty()))
                    .collect(),
                other => panic!("{other:?}"),
            }
        };
        let mut tpm = testing::started();
        let usual = [Sha1, Sha256, Sha384, Sha512].map(|hash| (hash, true));
        assert_eq!(banks(&mut tpm), [&usual[..], &[(Sm3_256, false)]].concat());
        tpm.run(PcrAllocate {
            auth_handle: TpmHandle::PLATFORM.into(),
            pcr_allocation: selection(&[(Sha3_256, &[0]), (Sha3_384, &[0])]),
        })
        .unwrap();
        tpm.restart(None, TpmSu::Clear);
        let more = [(Sha3_256, true), (Sha3_384, true)];
        assert_eq!(banks(&mut tpm), [&usual[..], &more].concat());
    }

    #[test]
    fn room_for_objects_and_counters_shrinks_as_they_come() {
        let mut tpm = started("pc-client");
        let object = object(&mut tpm);
        let before = property(&mut tpm, TpmPt::NV_COUNTERS_AVAIL);
        assert_eq!(property(&mut tpm, TpmPt::HR_PERSISTENT_AVAIL), 7);
        assert_eq!(property(&mut tpm, TpmPt::HR_TRANSIENT_AVAIL), 2);
        tpm.run(EvictControl {
            auth: TpmHandle::OWNER.into(),
            object_handle: object.into(),
            persistent_handle: TpmHandle(0x8100_0000).into(),
        })
        .unwrap();
        assert_eq!(property(&mut tpm, TpmPt::HR_PERSISTENT_AVAIL), 6);
        assert_eq!(property(&mut tpm, TpmPt::HR_PERSISTENT), 1);
        // The room was kept for it.
        assert_eq!(property(&mut tpm, TpmPt::NV_COUNTERS_AVAIL), before);
        let counter = TpmaNv(1 << 4) | TpmaNv::ORDERLY;
        nv_index(&mut tpm, TpmHandle(0x0100_0001), counter);
        assert_eq!(property(&mut tpm, TpmPt::NV_COUNTERS), 1);
        assert_eq!(property(&mut tpm, TpmPt::NV_COUNTERS_AVAIL), before - 1);
        assert_eq!(property(&mut tpm, TpmPt::HR_NV_INDEX), 1);
    }

    #[test]
    fn the_flags_of_a_startup_tell_whether_the_run_before_ended_orderly() {
        let mut tpm = testing::started();
        let orderly = TpmaStartupClear::ORDERLY.0;
        assert_eq!(property(&mut tpm, TpmPt::STARTUP_CLEAR) & orderly, orderly);
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(property(&mut tpm, TpmPt::STARTUP_CLEAR) & orderly, 0);
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert_eq!(property(&mut tpm, TpmPt::STARTUP_CLEAR) & orderly, orderly);
    }

    #[test]
    fn it_changes_nothing_and_needs_no_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        let before = tpm.snapshot();
        for capability in 0..0xB {
            let _ = get(&mut tpm, TpmCap(capability), 0, 1000);
        }
        assert!(before == tpm.snapshot());
        assert_eq!(GetCapability::INFO.code, 0x17A);
    }
}
