//! Passwords, and the authorization area as such (Part 3, 5.5).

use super::client::{By, CONTINUE, send};
use super::{OWNER_AUTH, owned, secret};
use crate::algorithms::small;
use crate::testing::{Auth, decode, encode, started};
use alloc::vec;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::commands::{FlushContext, GetRandom, PolicySecret};
use tpm_wire::handles::{TpmHandle, TpmHt, TpmiDhContext};
use tpm_wire::rc::{Position, Rc};

#[test]
fn the_right_password_is_taken_and_trailing_zeros_do_not_count() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    send(&mut tpm, &command, &mut [By::password(OWNER_AUTH)]).unwrap();
    let padded = [OWNER_AUTH, &[0, 0]].concat();
    send(&mut tpm, &command, &mut [By::password(&padded)]).unwrap();
    tpm.hierarchies.owner.auth = small(&padded);
    send(&mut tpm, &command, &mut [By::password(OWNER_AUTH)]).unwrap();
}

#[test]
fn a_wrong_password_is_bad_auth_at_its_session() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let refused = Err(Rc::BAD_AUTH.at(Position::session(1)));
    for wrong in [&b""[..], b"owner's secre", b"owner's secret!"] {
        let answer = tpm.run_as(command.clone(), &[Auth::password(wrong)]);
        assert_eq!(answer, refused);
    }
}

#[test]
fn continue_session_is_set_in_the_answer_even_if_it_was_not() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::password(OWNER_AUTH).without(CONTINUE);
    let answer = send(&mut tpm, &command, &mut [by]).unwrap();
    assert_eq!(answer.sessions[0].session_attributes, CONTINUE);
}

#[test]
fn any_other_attribute_is_attributes_and_then_a_nonce_is_nonce() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let session_1 = Position::session(1);
    for attribute in [
        TpmaSession::AUDIT,
        TpmaSession::AUDIT_EXCLUSIVE,
        TpmaSession::AUDIT_RESET,
        TpmaSession::DECRYPT,
        TpmaSession::ENCRYPT,
    ] {
        let mut auth = Auth::password(OWNER_AUTH);
        auth.attributes = CONTINUE | attribute;
        auth.nonce = vec![1];
        assert_eq!(
            tpm.run_as(command.clone(), &[auth]),
            Err(Rc::ATTRIBUTES.at(session_1))
        );
    }
    let mut auth = Auth::password(OWNER_AUTH);
    auth.nonce = vec![1];
    assert_eq!(
        tpm.run_as(command.clone(), &[auth]),
        Err(Rc::NONCE.at(session_1))
    );
    let mut auth = Auth::password(OWNER_AUTH);
    auth.attributes = TpmaSession(0x08);
    assert_eq!(
        tpm.run_as(command, &[auth]),
        Err(Rc::RESERVED_BITS.at(session_1))
    );
}

#[test]
fn a_password_that_authorizes_nothing_is_handle_at_its_session() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let passwords = [Auth::password(OWNER_AUTH), Auth::password(b"")];
    assert_eq!(
        tpm.run_as(command, &passwords),
        Err(Rc::HANDLE.at(Position::session(2)))
    );
    let random = GetRandom { bytes_requested: 1 };
    assert_eq!(
        tpm.run_as(random, &[Auth::password(b"")]),
        Err(Rc::HANDLE.at(Position::session(1)))
    );
}

#[test]
fn too_few_authorizations_are_auth_missing() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    assert_eq!(tpm.run_as(command, &[]), Err(Rc::AUTH_MISSING));
}

#[test]
fn four_authorizations_are_size_at_the_fourth() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    assert_eq!(
        tpm.run_as(command, &vec![Auth::password(b""); 4]),
        Err(Rc::SIZE.at(Position::session(4)))
    );
}

#[test]
fn a_handle_that_cannot_authorize_is_value_at_its_session() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    for handle in [TpmHandle::OWNER, TpmHt::HmacSession.handle(64)] {
        assert_eq!(
            tpm.run_as(command.clone(), &[Auth::session(handle)]),
            Err(Rc::VALUE.at(Position::session(1)))
        );
    }
}

/// A command with an authorization area of any size that it claims.
fn with_area_size(command: &PolicySecret, size: u32) -> alloc::vec::Vec<u8> {
    let mut bytes = encode(command, &[Auth::password(OWNER_AUTH)]);
    bytes[18..22].copy_from_slice(&size.to_be_bytes());
    bytes
}

#[test]
fn an_area_that_is_too_small_or_too_large_is_size() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    for size in [0, 8, 1000, u32::MAX] {
        let answer = decode::<PolicySecret>(tpm.execute(&with_area_size(&command, size)));
        assert_eq!(answer, Err(Rc::SIZE));
    }
}

#[test]
fn an_area_that_is_cut_is_insufficient_at_the_session() {
    let mut tpm = owned();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let answer = decode::<PolicySecret>(tpm.execute(&with_area_size(&command, 9)));
    assert_eq!(answer, Err(Rc::INSUFFICIENT.at(Position::session(1))));
    // One whole authorization and three bytes of a second.
    let whole = u32::try_from(9 + OWNER_AUTH.len()).unwrap();
    let answer = decode::<PolicySecret>(tpm.execute(&with_area_size(&command, whole + 3)));
    assert_eq!(answer, Err(Rc::INSUFFICIENT.at(Position::session(2))));
}

#[test]
fn commands_that_take_no_sessions_are_auth_context() {
    let mut tpm = started();
    let command = FlushContext {
        flush_handle: TpmiDhContext(TpmHt::Transient.handle(0)),
    };
    assert_eq!(
        tpm.run_as(command, &[Auth::password(b"")]),
        Err(Rc::AUTH_CONTEXT)
    );
}
