//! HMAC sessions: bound, salted or neither (Part 1, 19.6).

use super::client::{By, CONTINUE, Client, HMAC, Start, send};
use super::{OWNER_AUTH, owned, secret};
use crate::algorithms::small;
use crate::commands::policy::build::{hmac_object, policy, trial};
use crate::testing::{Auth, encode, started};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bMaxBuffer};
use tpm_wire::commands::{GetRandom, HashSequenceStart, PolicySecret, SequenceComplete};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::{Position, Rc};

const BAD_AUTH_1: Rc = Rc::BAD_AUTH.at(Position::session(1));

#[test]
fn the_authorization_value_proves_itself_and_both_nonces_roll() {
    let mut tpm = owned();
    for hash in TpmiAlgHash::ALL {
        let start = Start {
            hash: *hash,
            ..HMAC
        };
        let mut client = start.start(&mut tpm);
        let command = secret(&mut tpm, TpmHandle::OWNER);
        for _ in 0..3 {
            let by = By::session(&mut client, OWNER_AUTH);
            send(&mut tpm, &command, &mut [by]).unwrap();
        }
        tpm.sessions.flush(command.policy_session.0);
    }
}

#[test]
fn a_wrong_value_is_bad_auth_and_the_session_stays_as_it_was() {
    let mut tpm = owned();
    let mut client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let before = tpm.snapshot();
    let by = By::session(&mut client, b"another secret").without(CONTINUE);
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(BAD_AUTH_1));
    assert!(before == tpm.snapshot());
    let by = By::session(&mut client, OWNER_AUTH);
    send(&mut tpm, &command, &mut [by]).unwrap();
}

#[test]
fn an_hmac_is_needed_where_there_is_a_key() {
    let mut tpm = owned();
    let mut client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::session(&mut client, OWNER_AUTH).instead(&[]);
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(BAD_AUTH_1));
}

#[test]
fn without_any_key_an_empty_hmac_is_taken_and_one_by_the_empty_key_too() {
    let mut tpm = started();
    let mut client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::session(&mut client, &[]).instead(&[]);
    send(&mut tpm, &command, &mut [by]).unwrap();
    let by = By::session(&mut client, &[]);
    let answer = send(&mut tpm, &command, &mut [by]).unwrap();
    assert_eq!(answer.sessions[0].hmac.len(), 32);
    let by = By::session(&mut client, &[]).instead(&[1; 32]);
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(BAD_AUTH_1));
}

#[test]
fn a_command_cannot_be_replayed() {
    let mut tpm = started();
    let client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    // The HMAC by the empty key covers the nonces all the same.
    let mut replayed = client.clone();
    send(&mut tpm, &command, &mut [By::session(&mut replayed, &[])]).unwrap();
    let mut replayed = client;
    assert_eq!(
        send(&mut tpm, &command, &mut [By::session(&mut replayed, &[])]).err(),
        Some(BAD_AUTH_1)
    );
}

#[test]
fn every_byte_of_the_command_is_covered() {
    let mut tpm = owned();
    let client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    // The same bytes, but with one changed after the HMAC was made: code, handle, parameters and attributes.
    let other_reference = PolicySecret {
        policy_ref: small(b"another"),
        ..command.clone()
    };
    let other_session = PolicySecret {
        policy_session: policy(&mut tpm),
        ..command.clone()
    };
    for other in [other_reference, other_session] {
        let auth = signed_for(&client, &command);
        assert_eq!(tpm.run_as(other, &[auth]), Err(BAD_AUTH_1));
    }
    let mut auth = signed_for(&client, &command);
    auth.attributes = TpmaSession::NONE;
    assert_eq!(tpm.run_as(command.clone(), &[auth]), Err(BAD_AUTH_1));
    let auth = signed_for(&client, &command);
    tpm.run_as(command, &[auth]).unwrap();
}

/// The authorization that a client would send with a command.
fn signed_for(client: &Client, command: &PolicySecret) -> Auth {
    let sha256 = |parts: &[&[u8]]| crate::algorithms::hash(TpmiAlgHash::Sha256, parts);
    let bytes = encode(command, &[]);
    // Here the Names are the handles, which follow the code.
    let cp_hash = sha256(&[&bytes[6..]]);
    let parts: [&[u8]; 4] = [&cp_hash, &[9; 16], &client.nonce_tpm, &[CONTINUE.0]];
    let hmac = crate::algorithms::hmac(TpmiAlgHash::Sha256, OWNER_AUTH, &parts);
    Auth {
        session: client.handle,
        nonce: alloc::vec![9; 16],
        attributes: CONTINUE,
        hmac: hmac.to_vec(),
    }
}

#[test]
fn a_bound_session_needs_no_value_for_its_entity_but_for_every_other() {
    let mut tpm = owned();
    tpm.hierarchies.endorsement.auth = small(b"privacy");
    let start = Start {
        bind: Some((TpmHandle::OWNER, OWNER_AUTH)),
        ..HMAC
    };
    let mut client = start.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::session(&mut client, OWNER_AUTH).without_auth_in_hmac();
    send(&mut tpm, &command, &mut [by]).unwrap();
    let by = By::session(&mut client, OWNER_AUTH);
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(BAD_AUTH_1));
    let command = secret(&mut tpm, TpmHandle::ENDORSEMENT);
    let by = By::session(&mut client, b"privacy");
    send(&mut tpm, &command, &mut [by]).unwrap();
    let by = By::session(&mut client, b"privacy").without_auth_in_hmac();
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(BAD_AUTH_1));
}

#[test]
fn a_change_of_the_value_unbinds_the_session() {
    let mut tpm = owned();
    let start = Start {
        bind: Some((TpmHandle::OWNER, OWNER_AUTH)),
        ..HMAC
    };
    let mut client = start.start(&mut tpm);
    tpm.hierarchies.owner.auth = small(b"new");
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::session(&mut client, b"new").without_auth_in_hmac();
    assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(BAD_AUTH_1));
    let by = By::session(&mut client, b"new");
    send(&mut tpm, &command, &mut [by]).unwrap();
}

#[test]
fn a_salted_session_mixes_key_and_value() {
    let mut tpm = owned();
    for bind in [None, Some((TpmHandle::ENDORSEMENT, &b""[..]))] {
        let start = Start {
            bind,
            salted: true,
            ..HMAC
        };
        let mut client = start.start(&mut tpm);
        let command = secret(&mut tpm, TpmHandle::OWNER);
        let by = By::session(&mut client, OWNER_AUTH);
        send(&mut tpm, &command, &mut [by]).unwrap();
        let by = By::session(&mut client, OWNER_AUTH).without_auth_in_hmac();
        assert_eq!(send(&mut tpm, &command, &mut [by]).err(), Some(BAD_AUTH_1));
    }
}

#[test]
fn a_session_that_does_not_continue_is_gone() {
    let mut tpm = owned();
    let mut client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::session(&mut client, OWNER_AUTH).without(CONTINUE);
    let answer = send(&mut tpm, &command, &mut [by]).unwrap();
    assert_eq!(answer.sessions[0].session_attributes, TpmaSession::NONE);
    let by = By::session(&mut client, OWNER_AUTH);
    assert_eq!(
        send(&mut tpm, &command, &mut [by]).err(),
        Some(Rc::REFERENCE_S0)
    );
}

#[test]
fn sessions_that_cannot_be_used_are_told_apart() {
    let mut tpm = owned();
    let mut client = HMAC.start(&mut tpm);
    let policy = policy(&mut tpm).0;
    let trial = trial(&mut tpm).0;
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let session_1 = Position::session(1);
    let mut run = |handles: &[TpmHandle]| {
        let sessions: alloc::vec::Vec<Auth> = handles
            .iter()
            .map(|handle| Auth::session(*handle))
            .collect();
        tpm.run_as(command.clone(), &sessions).err().unwrap()
    };
    let missing = TpmHt::HmacSession.handle(40);
    assert_eq!(run(&[missing]), Rc::REFERENCE_S0);
    assert_eq!(
        run(&[TpmHandle::PASSWORD, missing]),
        Rc::NONCE.at(session_1)
    );
    assert_eq!(run(&[client.handle, missing]), Rc::REFERENCE_S1);
    // The other kind of handle for the same session.
    let as_policy = TpmHt::PolicySession.handle(client.handle.index());
    let as_hmac = TpmHt::HmacSession.handle(policy.index());
    assert_eq!(run(&[as_policy]), Rc::HANDLE.at(session_1));
    assert_eq!(run(&[as_hmac]), Rc::HANDLE.at(session_1));
    assert_eq!(
        run(&[client.handle, client.handle]),
        Rc::HANDLE.at(Position::session(2))
    );
    assert_eq!(run(&[trial]), Rc::ATTRIBUTES.at(session_1));
    let mut other = HMAC.start(&mut tpm);
    let mut by = [
        By::session(&mut client, OWNER_AUTH),
        By::session(&mut other, &[]),
    ];
    assert_eq!(
        send(&mut tpm, &command, &mut by).err(),
        Some(Rc::ATTRIBUTES.at(Position::session(2))),
        "a session without a purpose"
    );
}

#[test]
fn an_object_without_user_with_auth_is_auth_unavailable() {
    let mut tpm = started();
    let mut object = hmac_object();
    let only_policy = object.public.object_attributes.0 & !(1 << 6);
    object.public.object_attributes = tpm_wire::attributes::TpmaObject(only_policy);
    let key = tpm.objects.load(object).unwrap();
    let command = secret(&mut tpm, key);
    assert_eq!(tpm.run(command), Err(Rc::AUTH_UNAVAILABLE));
    let mut object = hmac_object();
    object.sensitive = None;
    let key = tpm.objects.load(object).unwrap();
    let command = secret(&mut tpm, key);
    assert_eq!(tpm.run(command), Err(Rc::AUTH_UNAVAILABLE));
}

#[test]
fn a_command_of_no_authorization_takes_sessions_for_audit_alone() {
    let mut tpm = started();
    let mut client = HMAC.start(&mut tpm);
    let random = GetRandom { bytes_requested: 8 };
    let by = By::session(&mut client, &[]);
    assert_eq!(
        send(&mut tpm, &random, &mut [by]).err(),
        Some(Rc::ATTRIBUTES.at(Position::session(1)))
    );
    let by = By::session(&mut client, &[]).with(TpmaSession::AUDIT);
    send(&mut tpm, &random, &mut [by]).unwrap();
}

#[test]
fn a_sequence_that_ends_is_acknowledged_with_its_value() {
    let mut tpm = started();
    let start = HashSequenceStart {
        auth: Tpm2bAuth::new(b"secret").unwrap(),
        hash_alg: Some(TpmiAlgHash::Sha256),
    };
    let sequence_handle = tpm.run(start).unwrap().sequence_handle;
    let mut client = HMAC.start(&mut tpm);
    let complete = SequenceComplete {
        sequence_handle,
        buffer: Tpm2bMaxBuffer::EMPTY,
        hierarchy: None,
    };
    let by = By::session(&mut client, b"secret");
    send(&mut tpm, &complete, &mut [by]).unwrap();
    assert!(!tpm.objects.is_loaded(sequence_handle.0));
}
