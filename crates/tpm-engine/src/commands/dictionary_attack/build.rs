//! A protected object to fail on, for tests.

use crate::commands::object::build::{FIXED, ecc_template};
use crate::testing::{Auth, TestTpm};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Tpm2b, Tpm2bData};
use tpm_wire::commands::{
    CreatePrimary, DictionaryAttackLockReset, DictionaryAttackParameters, ReadClock,
};
use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
use tpm_wire::object::Tpm2bPublic;
use tpm_wire::pcr::TpmlPcrSelection;
use tpm_wire::rc::Rc;

/// The authorization value of [`protected`].
const RIGHT: &[u8] = b"right";

/// A key that the protection covers.
pub(crate) fn protected(tpm: &mut TestTpm) -> TpmHandle {
    tpm.run(CreatePrimary {
        primary_handle: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
        in_sensitive: Tpm2b(crate::commands::object::build::sensitive(RIGHT, &[])),
        in_public: Tpm2bPublic(ecc_template(FIXED | TpmaObject::SIGN)),
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    })
    .unwrap()
    .object_handle
}

fn try_object(tpm: &mut TestTpm, object: TpmHandle, auth: &[u8]) -> Result<(), Rc> {
    let digest = tpm_wire::buffers::Tpm2bDigest::zeros(32);
    let scheme = tpm_wire::algorithm::TpmsSchemeHash {
        hash_alg: tpm_wire::algorithm::TpmiAlgHash::Sha256,
    };
    let sign = tpm_wire::commands::Sign {
        key_handle: object.into(),
        digest,
        in_scheme: Some(tpm_wire::algorithm::TpmtSigScheme::Ecdsa(scheme)),
        validation: tpm_wire::ticket::TpmtTkHashcheck {
            tag: tpm_wire::constants::TpmSt::HASHCHECK,
            hierarchy: None,
            digest: tpm_wire::buffers::Tpm2bDigest::EMPTY,
        },
    };
    // The first use is noted in storage, and the command is to be repeated.
    match tpm.run_as(sign.clone(), &[Auth::password(auth)]) {
        Err(Rc::RETRY) => tpm.run_as(sign, &[Auth::password(auth)]),
        other => other,
    }
    .map(|_| ())
}

/// Uses the key with its authorization value.
pub(crate) fn use_object(tpm: &mut TestTpm, object: TpmHandle) -> Result<(), Rc> {
    try_object(tpm, object, RIGHT)
}

/// Uses the key with a wrong value.
pub(crate) fn fail(tpm: &mut TestTpm, object: TpmHandle) -> Rc {
    try_object(tpm, object, b"wrong").unwrap_err()
}

/// Fails until the protection locks.
pub(crate) fn lock(tpm: &mut TestTpm, object: TpmHandle) {
    for _ in 0..3 {
        fail(tpm, object);
    }
}

/// The failures that count now.
pub(crate) fn failures(tpm: &mut TestTpm) -> u32 {
    tpm.run(ReadClock {}).unwrap();
    tpm.dictionary_attack.failed_tries
}

/// Resets the lock.
pub(crate) fn reset(tpm: &mut TestTpm) -> Result<(), Rc> {
    let lock_handle = TpmHandle::LOCKOUT.into();
    tpm.run(DictionaryAttackLockReset { lock_handle })
        .map(|_| ())
}

/// Sets the parameters.
pub(crate) fn parameters(
    tpm: &mut TestTpm,
    new_max_tries: u32,
    new_recovery_time: u32,
    lockout_recovery: u32,
) -> Result<(), Rc> {
    tpm.run(DictionaryAttackParameters {
        lock_handle: TpmHandle::LOCKOUT.into(),
        new_max_tries,
        new_recovery_time,
        lockout_recovery,
    })
    .map(|_| ())
}

/// Uses lockout authorization, which is empty.
pub(crate) fn try_lockout(tpm: &mut TestTpm, auth: &[u8]) -> Result<(), Rc> {
    let lock_handle = TpmHandle::LOCKOUT.into();
    tpm.run_as(
        DictionaryAttackLockReset { lock_handle },
        &[Auth::password(auth)],
    )
    .map(|_| ())
}
