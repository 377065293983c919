//! State that every version of the format ever released wrote: it opens for ever.
//!
//! A new fixture is written only when `TPM_ENGINE_WRITE_FIXTURE` names the folder for it.

extern crate std;

use super::prelude::SIGNER;
use super::{Auth, ScriptedPlatform, Sequences, TestTpm};
use crate::import::{Derivation, HierarchySecrets, Imported, PowerLoss, SavedState};
use crate::profile::Profile;
use crate::state::Tpm;
use crate::state_format::StateError;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use tpm_wire::algorithm::{TpmiAlgHash, TpmsSchemeHash, TpmtSigScheme};
use tpm_wire::buffers::{Tpm2bDigest, Tpm2bSeed};
use tpm_wire::capability::TpmsCapabilityData;
use tpm_wire::codec::{Limits, Marshal, parse_all};
use tpm_wire::commands::{
    ContextSave, GetCapability, NvRead, PcrRead, Shutdown, Sign, Startup, Unseal, VerifySignature,
};
use tpm_wire::constants::{TpmCap, TpmSt, TpmSu};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::pcr::TpmlPcrSelection;
use tpm_wire::ticket::TpmtTkHashcheck;

const PERMANENT: &[u8] = include_bytes!("../../testdata/state-v1/permanent");
const VOLATILE: &[u8] = include_bytes!("../../testdata/state-v1/volatile");
/// The permanent state of the same TPM after an orderly `TPM2_Shutdown(STATE)`.
const SHUT_DOWN: &[u8] = include_bytes!("../../testdata/state-v1/shut-down");

/// The permanent state of a TPM with seeds of libtpms, which is why its format is version 2.
const IMPORTED: &[u8] = include_bytes!("../../testdata/state-v2/imported");

const SECRET: TpmHandle = TpmHandle(0x8100_0007);
const ORDINARY: TpmHandle = TpmHt::NvIndex.handle(0x50_0000);
const COUNTER: TpmHandle = TpmHt::NvIndex.handle(0x50_0001);

fn load(permanent: &[u8]) -> TestTpm {
    let platform = ScriptedPlatform::default();
    let script = Arc::clone(&platform.script);
    let tpm = Tpm::load(permanent, Box::new(platform)).expect("state of version 1 loads");
    TestTpm { tpm, script }
}

/// What a later version writes may have more in it, but it is the same state.
fn check_written(tpm: &mut TestTpm) {
    let written = tpm.permanent_state();
    assert!(written == load(&written).permanent_state());
}

fn handles(tpm: &mut TestTpm, first: u32) -> Vec<u32> {
    let listed = tpm.run(GetCapability {
        capability: TpmCap::HANDLES,
        property: first,
        property_count: 200,
    });
    match listed.expect("handles").capability_data {
        TpmsCapabilityData::Handles(handles) => handles.iter().map(|handle| handle.0).collect(),
        other => panic!("{other:?}"),
    }
}

/// What the TPM of version 1 keeps whatever happens to its power.
fn check_permanent(tpm: &mut TestTpm) {
    let persistent = (0x8100_0001..=0x8100_000C).chain([0x8180_0001]);
    assert!(persistent.eq(handles(tpm, 0x8100_0000)));
    let indices = (0x0150_0000..=0x0150_000A).chain([0x0150_0020]);
    assert_eq!(handles(tpm, 0x0100_0000), indices.collect::<Vec<_>>());
    let read = |tpm: &mut TestTpm, index: TpmHandle| {
        let read = tpm.run(NvRead {
            auth_handle: TpmHandle::OWNER.into(),
            nv_index: index.into(),
            size: 8,
            offset: 0,
        });
        read.expect("an Index").data.to_vec()
    };
    assert_eq!(read(tpm, ORDINARY), [6; 8]);
    assert_eq!(read(tpm, COUNTER), 1u64.to_be_bytes());
    let item_handle = SECRET.into();
    let unsealed = tpm.run_as(Unseal { item_handle }, &[Auth::password(b"secret")]);
    assert_eq!(&*unsealed.expect("sealed data").out_data, b"sealed");
    let digest = Tpm2bDigest::zeros(32);
    let signed = tpm.run(Sign {
        key_handle: SIGNER.into(),
        digest: digest.clone(),
        in_scheme: Some(TpmtSigScheme::Ecdsa(TpmsSchemeHash {
            hash_alg: TpmiAlgHash::Sha256,
        })),
        validation: TpmtTkHashcheck {
            tag: TpmSt::HASHCHECK,
            hierarchy: None,
            digest: Tpm2bDigest::EMPTY,
        },
    });
    let verified = tpm.run(VerifySignature {
        key_handle: SIGNER.into(),
        digest,
        signature: signed.expect("a signature").signature,
    });
    assert!(verified.is_ok());
}

fn pcr_16(tpm: &mut TestTpm) -> Vec<u8> {
    let selection: [u8; 10] = [0, 0, 0, 1, 0, 11, 3, 0, 0, 1];
    let pcr_selection_in: TpmlPcrSelection = parse_all(&selection, &Limits::ALL).unwrap();
    let read = tpm.run(PcrRead { pcr_selection_in }).expect("PCR");
    read.pcr_values.first().expect("a value").to_vec()
}

#[test]
fn permanent_state_of_version_1_opens() {
    let mut tpm = load(PERMANENT);
    check_written(&mut tpm);
    tpm.run(Startup {
        startup_type: TpmSu::Clear,
    })
    .expect("a TPM of version 1 starts");
    check_permanent(&mut tpm);
    assert!(handles(&mut tpm, 0x8000_0000).is_empty());
}

#[test]
fn volatile_state_of_version_1_opens() {
    let mut tpm = load(PERMANENT);
    tpm.restore_volatile(VOLATILE).expect("it loads");
    check_written(&mut tpm);
    let (permanent, volatile) = (tpm.permanent_state(), tpm.volatile_state());
    let mut again = load(&permanent);
    again
        .restore_volatile(&volatile)
        .expect("what it writes loads");
    assert!(volatile == again.volatile_state());
    check_permanent(&mut tpm);
    assert_ne!(pcr_16(&mut tpm), [0; 32], "an extended PCR");
    assert!(handles(&mut tpm, 0x8000_0000).len() >= 4);
    assert!(handles(&mut tpm, 0x0200_0000).len() >= 4);
    let sequence = TpmHt::Transient.handle(0);
    let save_handle = sequence.into();
    assert!(tpm.run(ContextSave { save_handle }).is_ok());
}

#[test]
fn state_of_version_1_that_was_shut_down_resumes() {
    let mut tpm = load(SHUT_DOWN);
    check_written(&mut tpm);
    tpm.run(Startup {
        startup_type: TpmSu::State,
    })
    .expect("what was shut down resumes");
    check_permanent(&mut tpm);
}

const DERIVATIONS: [(TpmHandle, Derivation); 4] = [
    (TpmHandle::OWNER, Derivation::LibtpmsNarrow),
    (TpmHandle::ENDORSEMENT, Derivation::LibtpmsWide),
    (TpmHandle::PLATFORM, Derivation::Own),
    (TpmHandle::NULL, Derivation::LibtpmsWide),
];

/// What is written to `state-v2`.
fn imported() -> Vec<u8> {
    let [owner, endorsement, platform, null] = DERIVATIONS.map(|(handle, derivation)| {
        let byte = handle.0.to_be_bytes()[3];
        HierarchySecrets {
            seed: Tpm2bSeed::from(&[byte; 64]),
            proof: Tpm2bSeed::from(&[!byte; 64]),
            derivation,
        }
    });
    let saved = SavedState {
        null,
        enabled: [true; 3],
        ..SavedState::default()
    };
    let imported = Imported {
        owner_secrets: owner,
        endorsement_secrets: endorsement,
        platform_secrets: platform,
        max_tries: 3,
        power_loss: PowerLoss::State(Box::new(saved)),
        ..Imported::default()
    };
    let platform = Box::new(ScriptedPlatform::default());
    let mut tpm = Tpm::import(imported, Profile::default(), platform).unwrap();
    tpm.permanent_state().to_vec()
}

fn version(state: &[u8]) -> &[u8] {
    state.get(4..6).unwrap_or_default()
}

#[test]
fn state_of_version_2_keeps_the_way_from_each_seed_to_its_keys() {
    assert_eq!(version(IMPORTED), [0, 2]);
    assert_eq!(version(PERMANENT), [0, 1]);
    let mut tpm = load(IMPORTED);
    tpm.run(Startup {
        startup_type: TpmSu::State,
    })
    .expect("what was shut down resumes");
    check_written(&mut tpm);
    let check = |tpm: &TestTpm| {
        for (handle, derivation) in DERIVATIONS {
            assert_eq!(tpm.hierarchies.derivation(handle), derivation, "{handle:?}");
            let byte = handle.0.to_be_bytes()[3];
            assert_eq!(&*tpm.hierarchies.seed(handle), &[byte; 64]);
        }
        let limited = tpm.hierarchies.derivation(TpmHandle::FW_OWNER);
        assert_eq!(limited, Derivation::Own);
    };
    check(&tpm);
    let volatile = tpm.volatile_state();
    assert_eq!(version(&volatile), [0, 2]);
    let mut moved = load(&tpm.permanent_state());
    moved.restore_volatile(&volatile).expect("it loads");
    check(&moved);
}

#[test]
fn a_new_seed_is_ours_and_a_state_of_such_seeds_has_the_first_version() {
    let mut tpm = load(IMPORTED);
    tpm.run(Startup {
        startup_type: TpmSu::Clear,
    })
    .expect("it starts");
    let Tpm {
        hierarchies,
        random,
        ..
    } = &mut tpm.tpm;
    hierarchies.renew_owner(random);
    assert_eq!(hierarchies.derivation(TpmHandle::OWNER), Derivation::Own);
    let endorsement = hierarchies.derivation(TpmHandle::ENDORSEMENT);
    assert_eq!(endorsement, Derivation::LibtpmsWide, "its seed is the same");
    hierarchies.renew_endorsement(random);
    hierarchies.startup(true, true, random);
    assert_eq!(hierarchies.derivation(TpmHandle::NULL), Derivation::Own);
    let state = tpm.permanent_state();
    assert_eq!(version(&state), [0, 1]);
    assert_eq!(version(&load(&state).permanent_state()), [0, 1]);
    let mut later = state.to_vec();
    later[5] = 3;
    let refused = Tpm::load(&later, Box::new(ScriptedPlatform::default()));
    assert_eq!(refused.err(), Some(StateError::UnknownVersion(3)));
}

#[test]
fn an_unknown_way_from_a_seed_is_refused() {
    let mut altered = IMPORTED.to_vec();
    let own: Vec<u8> = DERIVATIONS
        .iter()
        .map(|(_, way)| way.to_bytes()[0])
        .collect();
    let at = altered.windows(3).position(|bytes| bytes == &own[..3]);
    altered[at.expect("the derivations")] = 3;
    let refused = Tpm::load(&altered, Box::new(ScriptedPlatform::default()));
    assert!(matches!(refused.err(), Some(StateError::Damaged { .. })));
}

#[test]
fn a_fixture_is_written_when_asked_for() {
    let Some(folder) = std::env::var_os("TPM_ENGINE_WRITE_FIXTURE") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let made = Sequences::new();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    put("permanent", &made.permanent);
    put("volatile", &made.volatile);
    let mut tpm = load(&made.permanent);
    tpm.restore_volatile(&made.volatile).unwrap();
    tpm.run(Shutdown {
        shutdown_type: TpmSu::State,
    })
    .unwrap();
    put("shut-down", &tpm.permanent_state());
    put("imported", &imported());
}
