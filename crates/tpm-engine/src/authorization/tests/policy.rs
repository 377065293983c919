//! Policy sessions as authorizations (Part 1, 19.7; Part 3, 5.6).

use super::client::{By, HMAC, Start, send};
use super::secret;
use crate::algorithms::{hash, small};
use crate::commands::policy::build::{INDEX, hmac_object, nv_index, policy, policy_with};
use crate::policy::{BoundDigest, PolicyState, SecureChannel};
use crate::testing::{Auth, TestTpm, encode, started};
use core::sync::atomic::Ordering;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::{TpmaLocality, TpmaNv, TpmaObject};
use tpm_wire::buffers::{Tpm2bDigest, Tpm2bMaxNvBuffer};
use tpm_wire::codec::Marshal;
use tpm_wire::commands::{
    NvChangeAuth, NvWrite, PolicyAuthValue, PolicyCommandCode, PolicyGetDigest, PolicyPassword,
    SetPrimaryPolicy,
};
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::{
    TpmHandle, TpmiRhHierarchyPolicy, TpmiRhNvAuth, TpmiRhNvIndex, TpmiShPolicy,
};
use tpm_wire::nv::TpmtNvPublic2;
use tpm_wire::rc::{Position, Rc};

const AUTH: &[u8] = b"index";
const POLICY_FAIL_1: Rc = Rc::POLICY_FAIL.at(Position::session(1));

/// A TPM with an Index that is written by the policy given, and has AUTH as its value.
fn with_policy(policy: Tpm2bDigest) -> TestTpm {
    let mut tpm = started();
    nv_index(&mut tpm, TpmaNv::POLICYWRITE | TpmaNv::AUTHWRITE, &[0; 4]);
    let index = tpm.nv.get_mut(INDEX).unwrap();
    index.auth = small(AUTH);
    if let TpmtNvPublic2::NvIndex(public) = &mut index.public {
        public.auth_policy = policy;
    }
    tpm
}

/// The policy that is satisfied from the start.
fn zeros() -> Tpm2bDigest {
    Tpm2bDigest::zeros(32)
}

fn write() -> NvWrite {
    NvWrite {
        auth_handle: TpmiRhNvAuth(INDEX),
        nv_index: TpmiRhNvIndex(INDEX),
        data: Tpm2bMaxNvBuffer::new(b"data".to_vec()).unwrap(),
        offset: 0,
    }
}

/// Writes by a fresh policy session, whose state is changed first.
fn write_with(tpm: &mut TestTpm, change: impl FnOnce(&mut PolicyState)) -> Result<(), Rc> {
    let session = policy(tpm);
    change(&mut tpm.sessions.policy(session).unwrap().policy);
    let answer = tpm.run_as(write(), &[Auth::session(session.0)]);
    tpm.sessions.flush(session.0);
    answer.map(|_| ())
}

#[test]
fn the_digest_must_be_the_policy_and_of_its_hash() {
    let mut tpm = with_policy(zeros());
    write_with(&mut tpm, |_| ()).unwrap();
    let other = |state: &mut PolicyState| state.digest.as_mut_slice()[0] = 1;
    assert_eq!(write_with(&mut tpm, other), Err(POLICY_FAIL_1));
    // As many zeros, but of another hash.
    let session = policy_with(&mut tpm, TpmSe::Policy, TpmiAlgHash::Sha3_256);
    let answer = tpm.run_as(write(), &[Auth::session(session.0)]);
    assert_eq!(answer.err(), Some(POLICY_FAIL_1));
}

#[test]
fn a_policy_is_used_up_and_the_session_starts_anew() {
    let mut tpm = with_policy(zeros());
    let session = policy(&mut tpm);
    tpm.script.now.fetch_add(2500, Ordering::Relaxed);
    {
        let state = &mut tpm.sessions.policy(session).unwrap().policy;
        state.command_code = Some(0x137);
        state.locality = Some(TpmaLocality::ZERO);
        state.timeout = 5000;
    }
    tpm.run_as(write(), &[Auth::session(session.0)]).unwrap();
    let state = &tpm.policy_session(session).unwrap().policy;
    let fresh = PolicyState::new(TpmiAlgHash::Sha256, 2500, tpm.clock.epoch);
    assert_eq!(*state, fresh);
}

#[test]
fn a_refused_command_leaves_the_policy() {
    let mut tpm = with_policy(zeros());
    let policy_session = policy(&mut tpm);
    let code = 0x137;
    tpm.run(PolicyCommandCode {
        policy_session,
        code,
    })
    .unwrap();
    let before = tpm.run(PolicyGetDigest { policy_session }).unwrap();
    let answer = tpm.run_as(write(), &[Auth::session(policy_session.0)]);
    assert_eq!(answer.err(), Some(POLICY_FAIL_1));
    let after = tpm.run(PolicyGetDigest { policy_session }).unwrap();
    assert_eq!(before, after);
}

#[test]
fn another_command_is_policy_cc() {
    let mut tpm = with_policy(zeros());
    let code = |code| move |state: &mut PolicyState| state.command_code = Some(code);
    assert_eq!(
        write_with(&mut tpm, code(0x136)),
        Err(Rc::POLICY_CC.at(Position::session(1)))
    );
    write_with(&mut tpm, code(0x137)).unwrap();
}

#[test]
fn another_locality_is_locality() {
    let mut tpm = with_policy(zeros());
    for (allowed, locality, holds) in [
        (0b0_0001, 0, true),
        (0b0_0010, 0, false),
        (0b1_1110, 3, true),
        (40, 40, true),
        (40, 41, false),
        // 35 is no set of localities that has 0 and 1 in it.
        (35, 0, false),
        (0b1_1111, 7, false),
        (0b1_1111, 40, false),
    ] {
        tpm.script.locality.store(locality, Ordering::Relaxed);
        let answer = write_with(&mut tpm, |state| {
            state.locality = Some(TpmaLocality(allowed))
        });
        let expected = if holds { Ok(()) } else { Err(Rc::LOCALITY) };
        assert_eq!(answer, expected, "{allowed} at {locality}");
    }
}

#[test]
fn missing_presence_is_pp() {
    let mut tpm = with_policy(zeros());
    let presence = |state: &mut PolicyState| state.presence_required = true;
    assert_eq!(
        write_with(&mut tpm, presence),
        Err(Rc::PP.at(Position::session(1)))
    );
    tpm.script.presence.store(true, Ordering::Relaxed);
    write_with(&mut tpm, presence).unwrap();
}

#[test]
fn a_policy_ends_after_its_time_and_with_the_run_of_the_clock() {
    let mut tpm = with_policy(zeros());
    let expired = Err(Rc::EXPIRED.at(Position::session(1)));
    tpm.script.now.fetch_add(5000, Ordering::Relaxed);
    tpm.run(tpm_wire::commands::GetRandom { bytes_requested: 0 })
        .unwrap();
    assert_eq!(write_with(&mut tpm, |state| state.timeout = 4999), expired);
    write_with(&mut tpm, |state| state.timeout = 5000).unwrap();
    let earlier_run = |state: &mut PolicyState| {
        state.timeout = 9000;
        state.epoch -= 1;
    };
    assert_eq!(write_with(&mut tpm, earlier_run), expired);
    tpm.script.storage_down.store(true, Ordering::Relaxed);
    assert_eq!(
        write_with(&mut tpm, |state| state.timeout = 9000),
        Err(Rc::NV_UNAVAILABLE)
    );
}

#[test]
fn a_change_of_pcr_is_pcr_changed_even_from_the_first_one() {
    let mut tpm = with_policy(zeros());
    tpm.pcrs.update_counter = 0;
    let counter = |state: &mut PolicyState| state.pcr_counter = Some(0);
    write_with(&mut tpm, counter).unwrap();
    tpm.pcrs.extend(TpmiAlgHash::Sha256, 0, &[1; 32]);
    assert_eq!(write_with(&mut tpm, counter), Err(Rc::PCR_CHANGED));
}

#[test]
fn a_digest_that_the_policy_is_bound_to_must_be_that_of_the_command() {
    let mut tpm = with_policy(zeros());
    let sha256 = TpmiAlgHash::Sha256;
    let name = tpm.entity_name(INDEX);
    let bytes = encode(&write(), &[]);
    let (code, parameters) = (&bytes[6..10], &bytes[18..]);
    let digest = |parts: &[&[u8]]| small(&hash(sha256, parts));
    let cp_hash: Tpm2bDigest = digest(&[code, &name, &name, parameters]);
    let name_hash: Tpm2bDigest = digest(&[&name, &name]);
    let parameter_hash: Tpm2bDigest = digest(&[code, parameters]);
    for bound in [
        BoundDigest::CpHash(cp_hash.clone()),
        BoundDigest::NameHash(name_hash),
        BoundDigest::Parameters(parameter_hash),
    ] {
        write_with(&mut tpm, |state| state.bound = bound).unwrap();
    }
    // The right digest of another kind is not the right one.
    for bound in [
        BoundDigest::NameHash(cp_hash.clone()),
        BoundDigest::Parameters(cp_hash.clone()),
        BoundDigest::Template(cp_hash),
        BoundDigest::CpHash(zeros()),
    ] {
        let answer = write_with(&mut tpm, |state| state.bound = bound);
        assert_eq!(answer, Err(POLICY_FAIL_1));
    }
}

#[test]
fn whether_the_index_was_written_is_looked_at() {
    let mut tpm = with_policy(zeros());
    write_with(&mut tpm, |state| state.nv_written = Some(true)).unwrap();
    let not_written = |state: &mut PolicyState| state.nv_written = Some(false);
    assert_eq!(write_with(&mut tpm, not_written), Err(POLICY_FAIL_1));
    let index = tpm.nv.get_mut(INDEX).unwrap();
    let attributes = index.attributes().without(TpmaNv::WRITTEN);
    index.set_attributes(attributes);
    write_with(&mut tpm, not_written).unwrap();
}

#[test]
fn only_an_index_can_be_written() {
    let mut tpm = with_policy(zeros());
    tpm.hierarchies.owner.policy.hash = Some(TpmiAlgHash::Sha256);
    tpm.hierarchies.owner.policy.digest = zeros();
    let mut command = write();
    command.auth_handle = TpmiRhNvAuth(TpmHandle::OWNER);
    let session = policy(&mut tpm);
    tpm.run_as(command.clone(), &[Auth::session(session.0)])
        .unwrap();
    tpm.sessions.policy(session).unwrap().policy.nv_written = Some(true);
    let answer = tpm.run_as(command, &[Auth::session(session.0)]);
    assert_eq!(answer.err(), Some(POLICY_FAIL_1));
}

#[test]
fn a_policy_that_wants_a_secure_channel_finds_none() {
    let mut tpm = with_policy(zeros());
    let channel = SecureChannel {
        check_requester: false,
        check_tpm: false,
        names_hash: Tpm2bDigest::EMPTY,
    };
    assert_eq!(
        write_with(&mut tpm, |state| state.secure_channel = Some(channel)),
        Err(Rc::CHANNEL.at(Position::session(1)))
    );
}

#[test]
fn auth_value_and_password_prove_the_value_of_the_entity() {
    let auth_value =
        hex::decode("8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e").unwrap();
    let mut tpm = with_policy(small(&auth_value));
    let start = Start {
        kind: TpmSe::Policy,
        ..HMAC
    };
    let mut client = start.start(&mut tpm);
    let policy_session = TpmiShPolicy(client.handle);
    let bad_auth = Some(Rc::BAD_AUTH.at(Position::session(1)));

    tpm.run(PolicyAuthValue { policy_session }).unwrap();
    let by = By::session(&mut client, b"wrong");
    assert_eq!(send(&mut tpm, &write(), &mut [by]).err(), bad_auth);
    let by = By::session(&mut client, AUTH).instead(AUTH);
    assert_eq!(send(&mut tpm, &write(), &mut [by]).err(), bad_auth);
    let by = By::session(&mut client, AUTH);
    send(&mut tpm, &write(), &mut [by]).unwrap();

    tpm.run(PolicyPassword { policy_session }).unwrap();
    let by = By::session(&mut client, AUTH);
    assert_eq!(send(&mut tpm, &write(), &mut [by]).err(), bad_auth);
    let by = By::session(&mut client, AUTH).instead(b"wrong");
    assert_eq!(send(&mut tpm, &write(), &mut [by]).err(), bad_auth);
    let by = By::session(&mut client, AUTH).instead(AUTH);
    send(&mut tpm, &write(), &mut [by]).unwrap();

    // With neither asked for, the value is no part of the key.
    let by = By::session(&mut client, AUTH).without_auth_in_hmac();
    let answer = send(&mut tpm, &write(), &mut [by]);
    assert_eq!(answer.err(), Some(POLICY_FAIL_1));
}

#[test]
fn a_salted_policy_session_has_an_hmac() {
    let mut tpm = with_policy(zeros());
    let start = Start {
        kind: TpmSe::Policy,
        salted: true,
        ..HMAC
    };
    let mut client = start.start(&mut tpm);
    let by = By::session(&mut client, &[]).instead(&[]);
    assert_eq!(
        send(&mut tpm, &write(), &mut [by]).err(),
        Some(Rc::BAD_AUTH.at(Position::session(1)))
    );
    let by = By::session(&mut client, &[]);
    send(&mut tpm, &write(), &mut [by]).unwrap();
}

#[test]
fn an_entity_without_usable_policy_is_auth_unavailable() {
    let mut tpm = with_policy(Tpm2bDigest::EMPTY);
    assert_eq!(write_with(&mut tpm, |_| ()), Err(Rc::AUTH_UNAVAILABLE));
    let mut tpm = with_policy(zeros());
    let index = tpm.nv.get_mut(INDEX).unwrap();
    let attributes = index.attributes().without(TpmaNv::POLICYWRITE);
    index.set_attributes(attributes);
    assert_eq!(write_with(&mut tpm, |_| ()), Err(Rc::AUTH_UNAVAILABLE));
    // A hierarchy without a policy, and a PCR that cannot have one.
    for entity in [TpmHandle::OWNER, TpmHandle::LOCKOUT, TpmHandle(3)] {
        let command = secret(&mut tpm, entity);
        let session = policy(&mut tpm);
        assert_eq!(
            tpm.run_as(command, &[Auth::session(session.0)]),
            Err(Rc::AUTH_UNAVAILABLE)
        );
    }
    let mut object = hmac_object();
    object.sensitive = None;
    let key = tpm.objects.load(object).unwrap();
    let command = secret(&mut tpm, key);
    let session = policy(&mut tpm);
    assert_eq!(
        tpm.run_as(command, &[Auth::session(session.0)]),
        Err(Rc::AUTH_UNAVAILABLE)
    );
}

#[test]
fn an_object_with_an_empty_policy_is_never_satisfied() {
    let mut tpm = started();
    let key = tpm.objects.load(hmac_object()).unwrap();
    let command = secret(&mut tpm, key);
    let session = policy(&mut tpm);
    let state = &mut tpm.sessions.policy(session).unwrap().policy;
    state.password_needed = true;
    assert_eq!(
        tpm.run_as(command, &[Auth::session(session.0)]),
        Err(POLICY_FAIL_1)
    );
}

#[test]
fn a_secret_cannot_be_proved_by_a_policy_that_asks_for_none() {
    let mut tpm = started();
    let mut object = hmac_object();
    object.public.auth_policy = zeros();
    let key = tpm.objects.load(object).unwrap();
    let command = secret(&mut tpm, key);
    let session = policy(&mut tpm);
    assert_eq!(
        tpm.run_as(command.clone(), &[Auth::session(session.0)]),
        Err(Rc::MODE.at(Position::session(1)))
    );
    let state = &mut tpm.sessions.policy(session).unwrap().policy;
    state.auth_value_needed = true;
    tpm.run_as(command, &[Auth::session(session.0)]).unwrap();
}

#[test]
fn administration_of_an_index_needs_a_policy_for_the_very_command() {
    let mut tpm = with_policy(zeros());
    let change = NvChangeAuth {
        nv_index: TpmiRhNvIndex(INDEX),
        new_auth: small(b"new"),
    };
    assert_eq!(
        tpm.run_as(change.clone(), &[Auth::password(AUTH)]),
        Err(Rc::AUTH_TYPE)
    );
    let session = policy(&mut tpm);
    assert_eq!(
        tpm.run_as(change, &[Auth::session(session.0)]),
        Err(POLICY_FAIL_1)
    );
}

#[test]
fn administration_of_an_object_needs_a_policy_if_it_says_so() {
    let mut tpm = started();
    let mut object = hmac_object();
    object.public.object_attributes |= TpmaObject::ADMIN_WITH_POLICY;
    let key = tpm.objects.load(object).unwrap();
    let certify = tpm_wire::commands::Certify {
        object_handle: tpm_wire::handles::TpmiDhObject(key),
        sign_handle: None,
        qualifying_data: Default::default(),
        in_scheme: None,
    };
    let passwords = [Auth::password(&[]), Auth::password(&[])];
    assert_eq!(tpm.run_as(certify.clone(), &passwords), Err(Rc::AUTH_TYPE));
    let duplicate = tpm_wire::commands::Duplicate {
        object_handle: tpm_wire::handles::TpmiDhObject(key),
        new_parent_handle: None,
        encryption_key_in: Default::default(),
        symmetric_alg: None,
    };
    assert_eq!(tpm.run(duplicate), Err(Rc::AUTH_TYPE));
}

#[test]
fn a_pcr_with_a_policy_is_used_by_policy_alone() {
    let mut tpm = started();
    let pcr = TpmHandle(20);
    let command = secret(&mut tpm, pcr);
    tpm.run(command.clone()).unwrap();
    tpm.pcrs.policy.hash = Some(TpmiAlgHash::Sha256);
    tpm.pcrs.policy.digest = zeros();
    assert_eq!(tpm.run(command.clone()), Err(Rc::AUTH_TYPE));
    let session = policy(&mut tpm);
    let state = &mut tpm.sessions.policy(session).unwrap().policy;
    state.auth_value_needed = true;
    tpm.run_as(command, &[Auth::session(session.0)]).unwrap();
}

#[test]
fn presence_for_the_platform_is_checked_before_the_value() {
    let mut tpm = started();
    tpm.hierarchies.platform.auth = small(AUTH);
    let command = SetPrimaryPolicy {
        auth_handle: TpmiRhHierarchyPolicy(TpmHandle::PLATFORM),
        auth_policy: Tpm2bDigest::EMPTY,
        hash_alg: None,
    };
    let wrong = [Auth::password(b"wrong")];
    assert_eq!(
        tpm.run_as(command.clone(), &wrong),
        Err(Rc::BAD_AUTH.at(Position::session(1)))
    );
    tpm.management.presence_commands = alloc::vec![0x12E];
    assert_eq!(
        tpm.run_as(command.clone(), &wrong),
        Err(Rc::PP.at(Position::session(1)))
    );
    tpm.script.presence.store(true, Ordering::Relaxed);
    assert_eq!(
        tpm.run_as(command, &wrong),
        Err(Rc::BAD_AUTH.at(Position::session(1)))
    );
}

#[test]
fn a_policy_survives_in_the_bytes_of_its_session() {
    let states: [fn(&mut PolicyState); 5] = [
        |_| (),
        |state| state.bound = BoundDigest::Template(Tpm2bDigest::zeros(32)),
        |state| state.pcr_counter = Some(0),
        |state| state.nv_written = Some(false),
        |state| {
            state.secure_channel = Some(SecureChannel {
                check_requester: true,
                check_tpm: false,
                names_hash: Tpm2bDigest::zeros(32),
            })
        },
    ];
    for change in states {
        let mut state = PolicyState::new(TpmiAlgHash::Sha256, 7, 8);
        change(&mut state);
        let bytes = state.to_bytes();
        let limits = tpm_wire::codec::Limits::ALL;
        assert_eq!(tpm_wire::codec::parse_all(&bytes, &limits), Ok(state));
    }
}

#[test]
fn a_copy_of_a_tpm_takes_no_tickets_of_the_other() {
    let mut tpm = started();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let given = tpm.run(command.clone()).unwrap();
    let ticket = |tpm: &mut TestTpm| tpm_wire::commands::PolicyTicket {
        policy_session: policy(tpm),
        timeout: given.timeout.clone(),
        cp_hash_a: Tpm2bDigest::EMPTY,
        policy_ref: command.policy_ref.clone(),
        auth_name: tpm.entity_name(TpmHandle::OWNER),
        ticket: given.policy_ticket.clone(),
    };
    let same = ticket(&mut tpm);
    tpm.run(same).unwrap();
    tpm.fork();
    let copied = ticket(&mut tpm);
    assert_eq!(
        tpm.run(copied),
        Err(Rc::TICKET.at(tpm_wire::commands::PolicyTicket::ticket))
    );
}
