//! Failures that count, lockout, and the counts of PIN Indices (Part 1, 19.8 and 37.2.8).

use super::client::{AES, By, HMAC, Start, send};
use super::secret;
use crate::algorithms::small;
use crate::commands::policy::build::{INDEX, hmac_object, nv_index, policy};
use crate::testing::{Auth, TestTpm, started};
use core::sync::atomic::Ordering;
use tpm_wire::attributes::{TpmaNv, TpmaObject, TpmaSession};
use tpm_wire::commands::{GetRandom, Shutdown};
use tpm_wire::constants::TpmSu;
use tpm_wire::handles::TpmHandle;
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::{Position, Rc};

const AUTH: &[u8] = b"guess me";
const AUTH_FAIL_1: Rc = Rc::AUTH_FAIL.at(Position::session(1));
const BAD_AUTH_1: Rc = Rc::BAD_AUTH.at(Position::session(1));

/// A TPM with a loaded object that is protected, and one that is not.
fn protected() -> (TestTpm, TpmHandle, TpmHandle) {
    let mut tpm = started();
    let mut object = hmac_object();
    object.sensitive.as_mut().unwrap().auth_value = small(AUTH);
    let exempt = tpm.objects.load(object.clone()).unwrap();
    let attributes = object.public.object_attributes.without(TpmaObject::NO_DA);
    object.public.object_attributes = attributes;
    let key = tpm.objects.load(object).unwrap();
    (tpm, key, exempt)
}

/// Authorizes the use of an entity by a password.
fn password(tpm: &mut TestTpm, entity: TpmHandle, value: &[u8]) -> Result<(), Rc> {
    let command = secret_without_time(tpm, entity);
    let policy_session = command.policy_session;
    let answer = tpm.run_as(command, &[Auth::password(value)]);
    tpm.sessions.flush(policy_session.0);
    answer.map(|_| ())
}

fn failures(tpm: &TestTpm) -> u32 {
    tpm.dictionary_attack.failed_tries
}

#[test]
fn a_wrong_value_of_a_protected_object_counts_and_must_persist() {
    let (mut tpm, key, exempt) = protected();
    password(&mut tpm, key, AUTH).unwrap();
    tpm.permanent_state();
    assert_eq!(password(&mut tpm, key, b"wrong"), Err(AUTH_FAIL_1));
    assert_eq!(failures(&tpm), 1);
    assert!(tpm.must_persist());
    assert_eq!(password(&mut tpm, exempt, b"wrong"), Err(BAD_AUTH_1));
    assert_eq!(failures(&tpm), 1);
    password(&mut tpm, key, AUTH).unwrap();
    assert_eq!(failures(&tpm), 1, "success forgives nothing");
}

#[test]
fn a_wrong_hmac_counts_as_well() {
    let (mut tpm, key, exempt) = protected();
    let mut client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, key);
    let by = By::session(&mut client, b"wrong");
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(AUTH_FAIL_1));
    assert_eq!(failures(&tpm), 1);
    let by = By::session(&mut client, AUTH);
    send(&mut tpm, &command, &mut [by]).unwrap();
    let command = secret(&mut tpm, exempt);
    let by = By::session(&mut client, b"wrong");
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(BAD_AUTH_1));
    assert_eq!(failures(&tpm), 1);
}

#[test]
fn too_many_failures_lock_what_is_protected_and_nothing_else() {
    let (mut tpm, key, exempt) = protected();
    for _ in 0..tpm.dictionary_attack.max_tries {
        assert_eq!(password(&mut tpm, key, b"wrong"), Err(AUTH_FAIL_1));
    }
    assert_eq!(password(&mut tpm, key, AUTH), Err(Rc::LOCKOUT));
    password(&mut tpm, exempt, AUTH).unwrap();
    password(&mut tpm, TpmHandle::OWNER, &[]).unwrap();
    password(&mut tpm, TpmHandle::LOCKOUT, &[]).unwrap();
    // Time heals one failure after the other.
    let step = u64::from(tpm.dictionary_attack.recovery_time) * 1000;
    tpm.script.now.fetch_add(step, Ordering::Relaxed);
    password(&mut tpm, key, AUTH).unwrap();
}

#[test]
fn a_lockout_survives_power_off() {
    let (mut tpm, key, _) = protected();
    let object = tpm.objects.find(key).unwrap().clone();
    for _ in 0..tpm.dictionary_attack.max_tries {
        password(&mut tpm, key, b"wrong").unwrap_err();
    }
    let mut tpm = tpm.reloaded();
    tpm.run(tpm_wire::commands::Startup {
        startup_type: TpmSu::Clear,
    })
    .unwrap();
    let key = tpm.objects.load(object).unwrap();
    assert_eq!(password(&mut tpm, key, AUTH), Err(Rc::LOCKOUT));
}

#[test]
fn a_wrong_lockout_value_locks_it_until_it_recovers() {
    let (mut tpm, key, _) = protected();
    tpm.hierarchies.lockout.auth = small(AUTH);
    assert_eq!(
        password(&mut tpm, TpmHandle::LOCKOUT, b"wrong"),
        Err(AUTH_FAIL_1)
    );
    assert!(tpm.must_persist());
    assert_eq!(failures(&tpm), 0, "it has a lock of its own");
    assert_eq!(
        password(&mut tpm, TpmHandle::LOCKOUT, AUTH),
        Err(Rc::LOCKOUT)
    );
    password(&mut tpm, key, AUTH).unwrap();
    let recovery = u64::from(tpm.dictionary_attack.lockout_recovery) * 1000;
    tpm.script.now.fetch_add(recovery, Ordering::Relaxed);
    password(&mut tpm, TpmHandle::LOCKOUT, AUTH).unwrap();
}

#[test]
fn without_recovery_time_nothing_counts() {
    let (mut tpm, key, _) = protected();
    tpm.dictionary_attack.recovery_time = 0;
    for _ in 0..10 {
        assert_eq!(password(&mut tpm, key, b"wrong"), Err(AUTH_FAIL_1));
    }
    assert_eq!(failures(&tpm), 0);
}

#[test]
fn a_session_bound_to_a_protected_object_counts_whatever_it_is_used_for() {
    let (mut tpm, key, _) = protected();
    let start = Start {
        bind: Some((key, AUTH)),
        symmetric: AES,
        ..HMAC
    };
    let mut client = start.start(&mut tpm);
    let random = GetRandom { bytes_requested: 4 };
    let by = By::session(&mut client, &[]).with(TpmaSession::ENCRYPT);
    send(&mut tpm, &random, &mut [by]).unwrap();
    // A client that guessed the value has another session key.
    let guess = Start {
        bind: Some((key, b"guess")),
        symmetric: AES,
        ..HMAC
    };
    let mut guessed = guess.start(&mut tpm);
    let by = By::session(&mut guessed, &[]).with(TpmaSession::ENCRYPT);
    assert_eq!(send(&mut tpm, &random, &mut [by]).err(), Some(AUTH_FAIL_1));
    assert_eq!(failures(&tpm), 1);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::session(&mut guessed, &[]);
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(AUTH_FAIL_1));
    assert_eq!(failures(&tpm), 2);
    tpm.dictionary_attack.failed_tries = tpm.dictionary_attack.max_tries;
    let by = By::session(&mut client, &[]).with(TpmaSession::ENCRYPT);
    assert_eq!(send(&mut tpm, &random, &mut [by]).err(), Some(Rc::LOCKOUT));
}

#[test]
fn a_session_bound_to_lockout_locks_it() {
    let (mut tpm, key, _) = protected();
    tpm.hierarchies.lockout.auth = small(AUTH);
    let guess = Start {
        bind: Some((TpmHandle::LOCKOUT, b"guess")),
        ..HMAC
    };
    let mut guessed = guess.start(&mut tpm);
    let command = secret(&mut tpm, key);
    let by = By::session(&mut guessed, AUTH);
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(AUTH_FAIL_1));
    assert_eq!(failures(&tpm), 0);
    assert!(!tpm.dictionary_attack.lockout_auth_enabled);
    let by = By::session(&mut guessed, AUTH);
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(Rc::LOCKOUT));
}

#[test]
fn without_storage_no_protected_value_can_be_tried() {
    let (mut tpm, key, exempt) = protected();
    password(&mut tpm, key, AUTH).unwrap();
    tpm.script.storage_down.store(true, Ordering::Relaxed);
    for value in [AUTH, b"wrong"] {
        let command = secret_without_time(&mut tpm, key);
        assert_eq!(
            tpm.run_as(command, &[Auth::password(value)]),
            Err(Rc::NV_UNAVAILABLE)
        );
    }
    let command = secret_without_time(&mut tpm, exempt);
    tpm.run_as(command, &[Auth::password(AUTH)]).unwrap();
}

fn secret_without_time(tpm: &mut TestTpm, entity: TpmHandle) -> tpm_wire::commands::PolicySecret {
    let mut command = secret(tpm, entity);
    command.expiration = 0;
    command
}

#[test]
fn the_first_use_of_a_protected_value_is_stored_and_voids_an_orderly_shutdown() {
    let (mut tpm, key, exempt) = protected();
    tpm.run(Shutdown {
        shutdown_type: TpmSu::Clear,
    })
    .unwrap();
    tpm.permanent_state();
    password(&mut tpm, exempt, AUTH).unwrap();
    assert!(tpm.power.is_orderly() && !tpm.must_persist());
    password(&mut tpm, key, AUTH).unwrap();
    assert!(!tpm.power.is_orderly() && tpm.must_persist());
    tpm.permanent_state();
    password(&mut tpm, key, AUTH).unwrap();
    assert!(!tpm.must_persist(), "once is enough");
    // Pulling the plug after that counts as a failure.
    tpm.restart(None, TpmSu::Clear);
    assert_eq!(failures(&tpm), 1);
    tpm.restart(None, TpmSu::Clear);
    assert_eq!(failures(&tpm), 1);
}

/// A PIN Index that was written, with AUTH as its value.
fn pin_index(tpm: &mut TestTpm, nv_type: TpmNt, count: u32, limit: u32) {
    let data = [count.to_be_bytes(), limit.to_be_bytes()].concat();
    nv_index(tpm, TpmaNv::AUTHREAD.with_type(nv_type), &data);
    tpm.nv.get_mut(INDEX).unwrap().auth = small(AUTH);
}

fn count(tpm: &TestTpm) -> u32 {
    tpm.nv.get(INDEX).unwrap().pin().unwrap().pin_count
}

#[test]
fn a_pin_fail_index_counts_failures_and_forgets_them() {
    let mut tpm = started();
    pin_index(&mut tpm, TpmNt::PinFail, 0, 3);
    assert_eq!(password(&mut tpm, INDEX, b"wrong"), Err(BAD_AUTH_1));
    assert_eq!(password(&mut tpm, INDEX, b"wrong"), Err(BAD_AUTH_1));
    assert_eq!(count(&tpm), 2);
    tpm.permanent_state();
    password(&mut tpm, INDEX, AUTH).unwrap();
    assert_eq!(count(&tpm), 0);
    assert!(tpm.must_persist());
    for _ in 0..3 {
        password(&mut tpm, INDEX, b"wrong").unwrap_err();
    }
    assert_eq!(password(&mut tpm, INDEX, AUTH), Err(Rc::AUTH_UNAVAILABLE));
    assert_eq!(count(&tpm), 3);
}

#[test]
fn a_pin_pass_index_counts_uses() {
    let mut tpm = started();
    pin_index(&mut tpm, TpmNt::PinPass, 0, 2);
    assert_eq!(password(&mut tpm, INDEX, b"wrong"), Err(BAD_AUTH_1));
    assert_eq!(count(&tpm), 0);
    password(&mut tpm, INDEX, AUTH).unwrap();
    let mut client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, INDEX);
    let by = By::session(&mut client, AUTH);
    send(&mut tpm, &command, &mut [by]).unwrap();
    assert_eq!(count(&tpm), 2);
    assert_eq!(password(&mut tpm, INDEX, AUTH), Err(Rc::AUTH_UNAVAILABLE));
}

#[test]
fn a_pin_that_was_not_written_cannot_be_used() {
    let mut tpm = started();
    pin_index(&mut tpm, TpmNt::PinPass, 0, 2);
    let index = tpm.nv.get_mut(INDEX).unwrap();
    let attributes = index.attributes().without(TpmaNv::WRITTEN);
    index.set_attributes(attributes);
    assert_eq!(password(&mut tpm, INDEX, AUTH), Err(Rc::AUTH_UNAVAILABLE));
}

#[test]
fn without_storage_a_pin_is_not_compared() {
    let mut tpm = started();
    pin_index(&mut tpm, TpmNt::PinFail, 0, 3);
    tpm.script.storage_down.store(true, Ordering::Relaxed);
    for value in [AUTH, b"wrong"] {
        assert_eq!(password(&mut tpm, INDEX, value), Err(Rc::NV_UNAVAILABLE));
    }
}

#[test]
fn a_policy_that_uses_no_value_works_in_lockout() {
    let (mut tpm, key, _) = protected();
    let digest = {
        let policy_session = policy(&mut tpm);
        tpm.policy_session(policy_session)
            .unwrap()
            .policy
            .digest
            .clone()
    };
    let mut object = tpm.objects.find(key).unwrap().clone();
    object.public.auth_policy = digest;
    let key = tpm.objects.load(object).unwrap();
    tpm.dictionary_attack.failed_tries = tpm.dictionary_attack.max_tries;
    let session = policy(&mut tpm).0;
    let command = tpm_wire::commands::Mac {
        handle: tpm_wire::handles::TpmiDhObject(key),
        buffer: Default::default(),
        in_scheme: None,
    };
    tpm.run_as(command.clone(), &[Auth::session(session)])
        .unwrap();
    let answer = tpm.run_as(command, &[Auth::password(AUTH)]);
    assert_eq!(answer, Err(Rc::LOCKOUT));
}
