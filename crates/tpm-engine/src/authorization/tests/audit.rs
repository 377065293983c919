//! Audit sessions, and which of them is exclusive (Part 1, 33).

use super::client::{Audited, By, Client, HMAC, send, send_audited};
use super::{OWNER_AUTH, owned, secret};
use crate::algorithms::hash;
use crate::commands::policy::build::policy;
use crate::testing::{Auth, TestTpm, started};
use alloc::vec;
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaSession;
use tpm_wire::commands::{FlushContext, GetRandom};
use tpm_wire::handles::{TpmHandle, TpmiDhContext};
use tpm_wire::rc::{Position, Rc};

const AUDIT: TpmaSession = TpmaSession::AUDIT;
const EXCLUSIVE: TpmaSession = TpmaSession::AUDIT_EXCLUSIVE;
const RESET: TpmaSession = TpmaSession::AUDIT_RESET;
const RANDOM: GetRandom = GetRandom { bytes_requested: 8 };

fn digest(tpm: &TestTpm, client: &Client) -> Vec<u8> {
    let session = tpm.sessions.get(client.handle).unwrap();
    session.audit_digest.as_ref().unwrap().to_vec()
}

fn extended(before: &[u8], audited: &Audited) -> Vec<u8> {
    let parts: [&[u8]; 3] = [before, &audited.cp_hash, &audited.rp_hash];
    hash(TpmiAlgHash::Sha256, &parts).to_vec()
}

/// Audits a command by a session with more attributes; true if the answer says that it is exclusive.
fn audit(tpm: &mut TestTpm, client: &mut Client, attributes: TpmaSession) -> Result<bool, Rc> {
    let by = By::session(client, &[]).with(AUDIT).with(attributes);
    let answer = send(tpm, &RANDOM, &mut [by])?;
    let attributes = answer.sessions[0].session_attributes;
    assert!(attributes.contains(AUDIT));
    Ok(attributes.contains(EXCLUSIVE))
}

#[test]
fn the_digest_goes_over_command_and_answer() {
    let mut tpm = owned();
    let mut client = HMAC.start(&mut tpm);
    let mut expected = vec![0; 32];
    let sha256 = TpmiAlgHash::Sha256;
    for _ in 0..2 {
        let by = By::session(&mut client, &[]).with(AUDIT);
        let (_, audited) = send_audited(&mut tpm, &RANDOM, &mut [by], sha256).unwrap();
        expected = extended(&expected, &audited);
        assert_eq!(digest(&tpm, &client), expected);
    }
    // The session that authorizes can audit too, also beside another authorization.
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::session(&mut client, OWNER_AUTH).with(AUDIT);
    let (_, audited) = send_audited(&mut tpm, &command, &mut [by], sha256).unwrap();
    expected = extended(&expected, &audited);
    let mut by = [
        By::password(OWNER_AUTH),
        By::session(&mut client, &[]).with(AUDIT),
    ];
    let (_, audited) = send_audited(&mut tpm, &command, &mut by, sha256).unwrap();
    expected = extended(&expected, &audited);
    assert_eq!(digest(&tpm, &client), expected);
}

#[test]
fn a_refused_command_is_not_audited() {
    let mut tpm = owned();
    let mut client = HMAC.start(&mut tpm);
    audit(&mut tpm, &mut client, TpmaSession::NONE).unwrap();
    let before = digest(&tpm, &client);
    let mut command = secret(&mut tpm, TpmHandle::OWNER);
    command.nonce_tpm = crate::algorithms::small(&[1]);
    let by = By::session(&mut client, OWNER_AUTH).with(AUDIT);
    assert!(send(&mut tpm, &command, &mut [by]).is_err());
    assert_eq!(digest(&tpm, &client), before);
}

#[test]
fn the_first_use_makes_the_session_exclusive_until_another_command_comes() {
    let mut tpm = started();
    let mut client = HMAC.start(&mut tpm);
    assert_eq!(audit(&mut tpm, &mut client, TpmaSession::NONE), Ok(true));
    assert_eq!(audit(&mut tpm, &mut client, EXCLUSIVE), Ok(true));
    tpm.run(RANDOM).unwrap();
    assert_eq!(audit(&mut tpm, &mut client, EXCLUSIVE), Err(Rc::EXCLUSIVE));
    assert_eq!(audit(&mut tpm, &mut client, TpmaSession::NONE), Ok(false));
    // A reset begins anew, and then the session is exclusive whatever was asked for.
    let attributes = EXCLUSIVE | RESET;
    assert_eq!(audit(&mut tpm, &mut client, attributes), Ok(true));
}

#[test]
fn a_reset_begins_a_new_digest() {
    let mut tpm = started();
    let mut client = HMAC.start(&mut tpm);
    audit(&mut tpm, &mut client, TpmaSession::NONE).unwrap();
    let by = By::session(&mut client, &[]).with(AUDIT).with(RESET);
    let (_, audited) = send_audited(&mut tpm, &RANDOM, &mut [by], TpmiAlgHash::Sha256).unwrap();
    assert_eq!(digest(&tpm, &client), extended(&[0; 32], &audited));
}

#[test]
fn another_audit_session_takes_the_exclusivity() {
    let mut tpm = started();
    let mut first = HMAC.start(&mut tpm);
    let mut second = HMAC.start(&mut tpm);
    assert_eq!(audit(&mut tpm, &mut first, TpmaSession::NONE), Ok(true));
    assert_eq!(audit(&mut tpm, &mut second, TpmaSession::NONE), Ok(true));
    assert_eq!(audit(&mut tpm, &mut first, TpmaSession::NONE), Ok(false));
    // And then neither has it.
    assert_eq!(audit(&mut tpm, &mut second, TpmaSession::NONE), Ok(false));
}

#[test]
fn commands_that_take_no_sessions_leave_the_exclusivity() {
    let mut tpm = started();
    let mut client = HMAC.start(&mut tpm);
    let other = policy(&mut tpm);
    audit(&mut tpm, &mut client, TpmaSession::NONE).unwrap();
    // Whatever becomes of it, it is not a command that an audit could have seen.
    let _ = tpm.run(FlushContext {
        flush_handle: TpmiDhContext(other.0),
    });
    assert_eq!(audit(&mut tpm, &mut client, EXCLUSIVE), Ok(true));
}

#[test]
fn a_refused_command_leaves_the_exclusivity() {
    let mut tpm = owned();
    let mut client = HMAC.start(&mut tpm);
    audit(&mut tpm, &mut client, TpmaSession::NONE).unwrap();
    let command = secret(&mut tpm, TpmHandle::OWNER);
    tpm.run_as(command, &[Auth::password(b"wrong")])
        .unwrap_err();
    assert_eq!(audit(&mut tpm, &mut client, EXCLUSIVE), Ok(true));
}

#[test]
fn one_session_audits_and_it_is_no_policy_session() {
    let mut tpm = started();
    let mut first = HMAC.start(&mut tpm);
    let mut second = HMAC.start(&mut tpm);
    let mut by = [
        By::session(&mut first, &[]).with(AUDIT),
        By::session(&mut second, &[]).with(AUDIT),
    ];
    assert_eq!(
        send(&mut tpm, &RANDOM, &mut by).err(),
        Some(Rc::ATTRIBUTES.at(Position::session(2)))
    );
    let mut auth = Auth::session(policy(&mut tpm).0);
    auth.attributes = auth.attributes.with(AUDIT);
    assert_eq!(
        tpm.run_as(RANDOM, &[auth]),
        Err(Rc::ATTRIBUTES.at(Position::session(1)))
    );
}

#[test]
fn an_audit_session_is_no_longer_bound() {
    let mut tpm = owned();
    let start = super::client::Start {
        bind: Some((TpmHandle::OWNER, OWNER_AUTH)),
        ..HMAC
    };
    let mut client = start.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    let by = By::session(&mut client, OWNER_AUTH)
        .with(AUDIT)
        .without_auth_in_hmac();
    send(&mut tpm, &command, &mut [by]).unwrap();
    let by = By::session(&mut client, OWNER_AUTH);
    send(&mut tpm, &command, &mut [by]).unwrap();
}
