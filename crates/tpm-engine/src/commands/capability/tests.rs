//! What `TPM2_GetCapability` tells of a TPM: every property, every kind of list, page by page.

use crate::commands::context::build::{object, save, session};
use crate::commands::dictionary_attack::build::{fail, parameters, protected};
use crate::commands::hierarchy::build::{change_auth, nv_index, set_policy};
use crate::testing::{self, TestTpm};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::codec::Marshal;
use tpm_wire::commands::{
    ClearControl, EvictControl, GetCapability, HierarchyControl, PpCommands, ReadOnlyControl,
    SetAlgorithmSet, SetCommandCodeAuditStatus,
};
use tpm_wire::constants::{TpmCap, TpmPt};
use tpm_wire::handles::TpmHandle;
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;

pub(super) fn get(
    tpm: &mut TestTpm,
    capability: TpmCap,
    property: u32,
    property_count: u32,
) -> Answer {
    let command = GetCapability {
        capability,
        property,
        property_count,
    };
    let answer = tpm.run(command).unwrap();
    let bytes = answer.capability_data.to_bytes();
    Answer {
        more: answer.more_data,
        count: u32::from_be_bytes(bytes[4..8].try_into().unwrap()),
        items: bytes[8..].to_vec(),
    }
}

/// A list as bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) more: bool,
    pub(super) count: u32,
    pub(super) items: Vec<u8>,
}

fn properties(tpm: &mut TestTpm, first: u32) -> Vec<(u32, u32)> {
    let answer = get(tpm, TpmCap::TPM_PROPERTIES, first, 1000);
    assert!(!answer.more);
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let pairs = answer.items.chunks(8);
    pairs
        .map(|pair| (word(&pair[..4]), word(&pair[4..])))
        .collect()
}

pub(super) fn property(tpm: &mut TestTpm, property: TpmPt) -> u32 {
    let all = properties(tpm, property.0);
    assert_eq!(all[0].0, property.0);
    all[0].1
}

/// A TPM that has something to list of every kind.
fn full() -> TestTpm {
    let mut tpm = testing::started();
    let first = object(&mut tpm);
    for number in 0..3 {
        object(&mut tpm);
        session(&mut tpm);
        let saved = session(&mut tpm);
        save(&mut tpm, saved).unwrap();
        nv_index(&mut tpm, TpmHandle(0x0100_0000 + number), TpmaNv::OWNERREAD);
        tpm.run(EvictControl {
            auth: TpmHandle::OWNER.into(),
            object_handle: first.into(),
            persistent_handle: TpmHandle(0x8100_0000 + number).into(),
        })
        .unwrap();
    }
    set_policy(&mut tpm, TpmHandle::LOCKOUT, true).unwrap();
    tpm.script.presence.store(true, Ordering::Relaxed);
    tpm.run(PpCommands {
        auth: TpmHandle::PLATFORM.into(),
        set_list: [0x126, 0x127].into_iter().collect(),
        clear_list: [].into_iter().collect(),
    })
    .unwrap();
    tpm.run(SetCommandCodeAuditStatus {
        auth: TpmHandle::OWNER.into(),
        audit_alg: None,
        set_list: [0x17B, 0x17D].into_iter().collect(),
        clear_list: [].into_iter().collect(),
    })
    .unwrap();
    tpm
}

/// Every list that can be asked for: the capability, its first property, and how many entries [`full`] has.
const LISTS: [(TpmCap, u32, u32); 18] = [
    (TpmCap::ALGS, 0, 38),
    (TpmCap::HANDLES, 0x0000_0000, 24),
    (TpmCap::HANDLES, 0x0100_0000, 3),
    (TpmCap::HANDLES, 0x0200_0000, 3),
    (TpmCap::HANDLES, 0x0300_0000, 3),
    (TpmCap::HANDLES, 0x4000_0000, 16),
    (TpmCap::HANDLES, 0x8000_0000, 4),
    (TpmCap::HANDLES, 0x8100_0000, 3),
    (TpmCap::COMMANDS, 0, 123),
    (TpmCap::PP_COMMANDS, 0, 3),
    (TpmCap::AUDIT_COMMANDS, 0, 3),
    // As many as firmware reads.
    (TpmCap::PCRS, 0, 5),
    (TpmCap::TPM_PROPERTIES, 0x100, 48),
    (TpmCap::TPM_PROPERTIES, 0x200, 21),
    (TpmCap::PCR_PROPERTIES, 0, 15),
    (TpmCap::ECC_CURVES, 0, 8),
    // Owner, lockout, endorsement, platform, a timer; the limited hierarchies have the policies of those they limit.
    (TpmCap::AUTH_POLICIES, 0x4000_0000, 11),
    (TpmCap::ACT, 0x4000_0110, 1),
];

#[test]
fn every_list_comes_in_pages_of_every_size() {
    let mut tpm = full();
    for (capability, first, total) in LISTS {
        let all = get(&mut tpm, capability, first, u32::MAX);
        assert_eq!(
            (all.more, all.count),
            (false, total),
            "{capability:?} {first:#x}"
        );
        for count in 0..=total + 1 {
            let page = get(&mut tpm, capability, first, count);
            let expected = match (capability, count) {
                // The banks come all together.
                (TpmCap::PCRS, 1..) => total,
                _ => count.min(total),
            };
            assert_eq!(page.count, expected, "{capability:?} {first:#x}");
            assert_eq!(
                page.more,
                expected < total,
                "{capability:?} {first:#x} {count}"
            );
            assert!(all.items.starts_with(&page.items));
        }
    }
}

#[test]
fn a_list_goes_on_from_any_of_its_entries_and_what_is_between_two_is_the_next() {
    let mut tpm = full();
    for (capability, first, size) in [
        (TpmCap::ALGS, 0, 6),
        (TpmCap::HANDLES, 0x0100_0000, 4),
        (TpmCap::HANDLES, 0x8000_0000, 4),
        (TpmCap::HANDLES, 0x4000_0000, 4),
        (TpmCap::PP_COMMANDS, 0, 4),
        (TpmCap::AUDIT_COMMANDS, 0, 4),
        (TpmCap::TPM_PROPERTIES, 0x100, 8),
        (TpmCap::TPM_PROPERTIES, 0x200, 8),
        (TpmCap::PCR_PROPERTIES, 0, 8),
        (TpmCap::ECC_CURVES, 0, 2),
    ] {
        let all = get(&mut tpm, capability, first, u32::MAX).items;
        let id = |entry: &[u8]| {
            let size = if capability == TpmCap::ALGS {
                2
            } else {
                size.min(4)
            };
            entry[..size]
                .iter()
                .fold(0, |id, byte| id << 8 | u32::from(*byte))
        };
        let mut before = first;
        for (index, entry) in all.chunks(size).enumerate() {
            let rest = &all[index * size..];
            for from in [before, id(entry)] {
                assert_eq!(get(&mut tpm, capability, from, u32::MAX).items, rest);
            }
            before = id(entry) + 1;
        }
    }
}

#[test]
fn lists_that_are_empty_are_no_refusal() {
    let mut tpm = testing::started();
    for (capability, property) in [
        (TpmCap::ALGS, 0xFFFF),
        (TpmCap::HANDLES, 0x8000_0000),
        (TpmCap::HANDLES, 0x00FF_FFFF),
        (TpmCap::COMMANDS, u32::MAX),
        (TpmCap::PP_COMMANDS, u32::MAX),
        (TpmCap::AUDIT_COMMANDS, u32::MAX),
        (TpmCap::TPM_PROPERTIES, 0x300),
        (TpmCap::TPM_PROPERTIES, u32::MAX),
        (TpmCap::PCR_PROPERTIES, u32::MAX),
        (TpmCap::ECC_CURVES, 0xFFFF),
        (TpmCap::AUTH_POLICIES, 0x40FF_FFFF),
        (TpmCap::ACT, 0x4000_011F),
    ] {
        let answer = get(&mut tpm, capability, property, 1);
        assert_eq!((answer.more, answer.count), (false, 0), "{capability:?}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_refused_by_its_parameter() {
    let mut tpm = testing::started();
    let capability = Rc::VALUE.at(GetCapability::capability);
    let value = Rc::VALUE.at(GetCapability::property);
    let handle = Rc::HANDLE.at(GetCapability::property);
    for (wrong, property, rc) in [
        (TpmCap::VENDOR_PROPERTY, 0, capability),
        // They are about secure channels, which this TPM does not have.
        (TpmCap::PUB_KEYS, 0, capability),
        (TpmCap::SPDM_SESSION_INFO, 0, capability),
        (TpmCap(0xFFFF), 0, capability),
        (TpmCap::PCRS, 1, value),
        (TpmCap::AUTH_POLICIES, 0, value),
        (TpmCap::ACT, 0x4000_0120, value),
        (TpmCap::HANDLES, 0x9000_0000, handle),
        (TpmCap::HANDLES, 0x1000_0000, handle),
    ] {
        let refused = tpm.run(GetCapability {
            capability: wrong,
            property,
            property_count: 1,
        });
        assert_eq!(refused.err(), Some(rc), "{wrong:?} {property:#x}");
    }
}

/// The fixed properties of the default profile, by the numbers of Part 2, 6.13.
const FIXED_PROPERTIES: [(u32, u32); 48] = [
    (0x100, 0x322E_3000), // FAMILY_INDICATOR "2.0"
    (0x101, 0),           // LEVEL
    (0x102, 184),         // REVISION
    (0x103, 79),          // DAY_OF_YEAR: 20 March
    (0x104, 2025),        // YEAR
    (0x105, 0x5654_504D), // MANUFACTURER "VTPM"
    (0x106, 0x7674_706D), // VENDOR_STRING_1 "vtpm"
    (0x107, 0),           // VENDOR_STRING_2
    (0x108, 0),           // VENDOR_STRING_3
    (0x109, 0),           // VENDOR_STRING_4
    (0x10A, 1),           // VENDOR_TPM_TYPE
    (0x10B, 1),           // FIRMWARE_VERSION_1
    (0x10C, 0),           // FIRMWARE_VERSION_2
    (0x10D, 1024),        // INPUT_BUFFER
    (0x10E, 16),          // HR_TRANSIENT_MIN
    (0x10F, 64),          // HR_PERSISTENT_MIN
    (0x110, 64),          // HR_LOADED_MIN
    (0x111, 64),          // ACTIVE_SESSIONS_MAX
    (0x112, 24),          // PCR_COUNT
    (0x113, 3),           // PCR_SELECT_MIN
    (0x114, 0xFFFF),      // CONTEXT_GAP_MAX
    (0x116, 0),           // NV_COUNTERS_MAX: as many as there is memory for
    (0x117, 10240),       // NV_INDEX_MAX
    (0x118, 0),           // MEMORY
    (0x119, 1 << 22),     // CLOCK_UPDATE
    (0x11A, 0x000D),      // CONTEXT_HASH: SHA-512
    (0x11B, 0x0006),      // CONTEXT_SYM: AES
    (0x11C, 256),         // CONTEXT_SYM_SIZE
    (0x11D, 255),         // ORDERLY_COUNT
    (0x11E, 8192),        // MAX_COMMAND_SIZE
    (0x11F, 8192),        // MAX_RESPONSE_SIZE
    (0x120, 64),          // MAX_DIGEST
    (0x121, 0x1000),      // MAX_OBJECT_CONTEXT
    (0x122, 0x200),       // MAX_SESSION_CONTEXT
    (0x123, 1),           // PS_FAMILY_INDICATOR: PC Client
    (0x124, 0),           // PS_LEVEL
    (0x125, 0x105),       // PS_REVISION: 1.05
    (0x126, 0),           // PS_DAY_OF_YEAR
    (0x127, 0),           // PS_YEAR
    (0x128, 128),         // SPLIT_MAX
    (0x129, 123),         // TOTAL_COMMANDS
    (0x12A, 123),         // LIBRARY_COMMANDS
    (0x12B, 0),           // VENDOR_COMMANDS
    (0x12C, 2048),        // NV_BUFFER_MAX
    (0x12D, 0),           // MODES: not validated
    (0x12E, 1024),        // MAX_CAP_BUFFER
    (0x12F, 0),           // FIRMWARE_SVN
    (0x130, 0),           // FIRMWARE_MAX_SVN
];

/// The properties that change, of a new TPM.
const VARIABLE_PROPERTIES: [(u32, u32); 21] = [
    (0x200, 1 << 10),        // PERMANENT: the TPM made its endorsement seed
    (0x201, 0x8000_000F),    // STARTUP_CLEAR: all hierarchies, orderly
    (0x202, 0),              // HR_NV_INDEX
    (0x203, 0),              // HR_LOADED
    (0x204, 64),             // HR_LOADED_AVAIL
    (0x205, 0),              // HR_ACTIVE
    (0x206, 64),             // HR_ACTIVE_AVAIL
    (0x207, 16),             // HR_TRANSIENT_AVAIL
    (0x208, 0),              // HR_PERSISTENT
    (0x209, 64),             // HR_PERSISTENT_AVAIL
    (0x20A, 0),              // NV_COUNTERS
    (0x20B, 16 * 1024 / 20), // NV_COUNTERS_AVAIL: as many orderly ones as RAM holds
    (0x20C, 0),              // ALGORITHM_SET
    (0x20D, 8),              // LOADED_CURVES
    (0x20E, 0),              // LOCKOUT_COUNTER
    (0x20F, 3),              // MAX_AUTH_FAIL
    (0x210, 1000),           // LOCKOUT_INTERVAL
    (0x211, 1000),           // LOCKOUT_RECOVERY
    (0x212, 0),              // NV_WRITE_RECOVERY
    (0x213, 0),              // AUDIT_COUNTER_0
    (0x214, 0),              // AUDIT_COUNTER_1
];

#[test]
fn every_property_of_a_new_tpm_is_what_part_2_calls_for() {
    let mut tpm = testing::started();
    assert_eq!(properties(&mut tpm, 0), FIXED_PROPERTIES);
    assert_eq!(properties(&mut tpm, 0x200), VARIABLE_PROPERTIES);
    let named = TpmPt::NAMED.iter().filter(|tag| **tag != TpmPt::NONE);
    let listed = FIXED_PROPERTIES.iter().chain(&VARIABLE_PROPERTIES);
    assert!(named.map(|tag| tag.0).eq(listed.map(|(tag, _)| *tag)));
}

#[test]
fn the_permanent_flags_follow_what_they_tell_of() {
    let mut tpm = testing::started();
    let flags = |tpm: &mut TestTpm| property(tpm, TpmPt::PERMANENT) & !(1 << 10);
    for (bit, handle) in [
        (0, TpmHandle::OWNER),
        (1, TpmHandle::ENDORSEMENT),
        (2, TpmHandle::LOCKOUT),
    ] {
        change_auth(&mut tpm, handle, b"", b"secret").unwrap();
        assert_eq!(flags(&mut tpm), 1 << bit);
        change_auth(&mut tpm, handle, b"secret", b"").unwrap();
    }
    tpm.run(ClearControl {
        auth: TpmHandle::PLATFORM.into(),
        disable: true,
    })
    .unwrap();
    assert_eq!(flags(&mut tpm), 1 << 8);
    let object = protected(&mut tpm);
    for _ in 0..3 {
        fail(&mut tpm, object);
    }
    assert_eq!(flags(&mut tpm), 1 << 8 | 1 << 9);
    assert_eq!(property(&mut tpm, TpmPt::LOCKOUT_COUNTER), 3);
    parameters(&mut tpm, 4, 5, 6).unwrap();
    assert_eq!(flags(&mut tpm), 1 << 8);
    for (tag, value) in [
        (TpmPt::MAX_AUTH_FAIL, 4),
        (TpmPt::LOCKOUT_INTERVAL, 5),
        (TpmPt::LOCKOUT_RECOVERY, 6),
    ] {
        assert_eq!(property(&mut tpm, tag), value);
    }
}

#[test]
fn the_flags_of_the_startup_follow_hierarchies_and_mode() {
    for (bit, enable) in [
        (0, TpmHandle::PLATFORM),
        (1, TpmHandle::OWNER),
        (2, TpmHandle::ENDORSEMENT),
        (3, TpmHandle::PLATFORM_NV),
    ] {
        let mut tpm = testing::started();
        tpm.run(HierarchyControl {
            auth_handle: TpmHandle::PLATFORM.into(),
            enable: enable.into(),
            state: false,
        })
        .unwrap();
        let flags = property(&mut tpm, TpmPt::STARTUP_CLEAR);
        assert_eq!(flags, 0x8000_000F & !(1 << bit));
    }
    let mut tpm = testing::started();
    tpm.run(ReadOnlyControl {
        auth_handle: TpmHandle::PLATFORM.into(),
        state: true,
    })
    .unwrap();
    assert_eq!(property(&mut tpm, TpmPt::STARTUP_CLEAR), 0x8000_001F);
}

#[test]
fn the_other_numbers_follow_what_they_count() {
    let mut tpm = full();
    for (tag, value) in [
        (TpmPt::HR_NV_INDEX, 3),
        (TpmPt::HR_LOADED, 3),
        (TpmPt::HR_LOADED_AVAIL, 61),
        (TpmPt::HR_ACTIVE, 6),
        (TpmPt::HR_ACTIVE_AVAIL, 58),
        (TpmPt::HR_TRANSIENT_AVAIL, 12),
        (TpmPt::HR_PERSISTENT, 3),
        (TpmPt::HR_PERSISTENT_AVAIL, 61),
        (TpmPt::AUDIT_COUNTER_0, 0),
        (TpmPt::AUDIT_COUNTER_1, 1),
    ] {
        assert_eq!(property(&mut tpm, tag), value, "{tag:?}");
    }
    nv_index(
        &mut tpm,
        TpmHandle(0x0100_0009),
        TpmaNv::OWNERREAD.with_type(TpmNt::Counter),
    );
    assert_eq!(property(&mut tpm, TpmPt::NV_COUNTERS), 1);
    tpm.run(SetAlgorithmSet {
        auth_handle: TpmHandle::PLATFORM.into(),
        algorithm_set: 7,
    })
    .unwrap();
    assert_eq!(property(&mut tpm, TpmPt::ALGORITHM_SET), 7);
}
