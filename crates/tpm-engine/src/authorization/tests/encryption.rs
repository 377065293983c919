//! Encryption of parameters by sessions (Part 1, 21).

use super::client::{AES, By, Client, HMAC, Start, send};
use super::{OWNER_AUTH, owned, secret};
use crate::testing::{Auth, encode};
use tpm_wire::algorithm::{TpmiAlgHash, TpmtSymDef};
use tpm_wire::attributes::TpmaSession;
use tpm_wire::buffers::Tpm2bNonce;
use tpm_wire::commands::{GetRandom, PcrRead, PolicySecret};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::{Position, Rc};

const DECRYPT: TpmaSession = TpmaSession::DECRYPT;
const ENCRYPT: TpmaSession = TpmaSession::ENCRYPT;
/// Its hash is another than that of the sessions that use it: the mask is made by the session's.
const XOR: Option<TpmtSymDef> = Some(TpmtSymDef::Xor(TpmiAlgHash::Sha512));

fn encrypting(symmetric: Option<TpmtSymDef>) -> Start<'static> {
    Start { symmetric, ..HMAC }
}

/// A command whose first parameter must be right, and whose answer begins with a known buffer.
fn with_nonce(tpm: &mut crate::testing::TestTpm) -> PolicySecret {
    let mut command = secret(tpm, TpmHandle::OWNER);
    command.nonce_tpm = Tpm2bNonce::from(&crate::commands::policy::build::NONCE_TPM);
    command
}

/// The timeout of a policy of 100 seconds, from the start of the session.
fn assert_timeout(answer: &super::client::Answer<tpm_wire::commands::PolicySecretResponse>) {
    assert_eq!(*answer.response.timeout, 100_000u64.to_be_bytes());
}

#[test]
fn the_authorizing_session_encrypts_both_ways() {
    let mut tpm = owned();
    for symmetric in [AES, XOR] {
        for bind in [None, Some((TpmHandle::OWNER, OWNER_AUTH))] {
            let start = Start {
                bind,
                ..encrypting(symmetric)
            };
            let mut client = start.start(&mut tpm);
            let command = with_nonce(&mut tpm);
            let mut by = By::session(&mut client, OWNER_AUTH)
                .with(DECRYPT)
                .with(ENCRYPT);
            if bind.is_some() {
                // Bound or not, the value is part of the key of encryption (Part 1, 21.1).
                by = by.without_auth_in_hmac();
            }
            let answer = send(&mut tpm, &command, &mut [by]).unwrap();
            assert_timeout(&answer);
        }
    }
}

#[test]
fn another_session_encrypts_what_a_password_authorizes() {
    let mut tpm = owned();
    for symmetric in [AES, XOR] {
        let start = Start {
            salted: true,
            ..encrypting(symmetric)
        };
        let mut client = start.start(&mut tpm);
        let command = with_nonce(&mut tpm);
        let mut by = [
            By::password(OWNER_AUTH),
            By::session(&mut client, &[]).with(DECRYPT).with(ENCRYPT),
        ];
        let answer = send(&mut tpm, &command, &mut by).unwrap();
        assert_timeout(&answer);
    }
}

#[test]
fn separate_sessions_encrypt_and_are_tied_to_the_authorization() {
    let mut tpm = owned();
    let mut authorizing = HMAC.start(&mut tpm);
    let mut decrypting = encrypting(XOR).start(&mut tpm);
    let mut encrypting = encrypting(AES).start(&mut tpm);
    for _ in 0..2 {
        let command = with_nonce(&mut tpm);
        let mut by = [
            By::session(&mut authorizing, OWNER_AUTH),
            By::session(&mut decrypting, &[]).with(DECRYPT),
            By::session(&mut encrypting, &[]).with(ENCRYPT),
        ];
        let answer = send(&mut tpm, &command, &mut by).unwrap();
        assert_timeout(&answer);
    }
}

#[test]
fn taking_the_encrypting_session_off_is_noticed() {
    let mut tpm = owned();
    let mut authorizing = HMAC.start(&mut tpm);
    let extra = encrypting(AES).start(&mut tpm);
    let command = with_nonce(&mut tpm);
    // The authorization was made for a command without the second session.
    let auth = authorization_alone(&mut authorizing, &command);
    let mut second = Auth::session(extra.handle);
    second.attributes = TpmaSession::CONTINUE_SESSION | ENCRYPT;
    assert_eq!(
        tpm.run_as(command.clone(), &[auth.clone(), second]),
        Err(Rc::BAD_AUTH.at(Position::session(1)))
    );
    tpm.run_as(command, &[auth]).unwrap();
}

/// The authorization of a command that has no other session.
fn authorization_alone(client: &mut Client, command: &PolicySecret) -> Auth {
    let sha256 = TpmiAlgHash::Sha256;
    let cp_hash = crate::algorithms::hash(sha256, &[&encode(command, &[])[6..]]);
    let parts: [&[u8]; 4] = [&cp_hash, &[9; 16], &client.nonce_tpm, &[1]];
    Auth {
        session: client.handle,
        nonce: alloc::vec![9; 16],
        attributes: TpmaSession::CONTINUE_SESSION,
        hmac: crate::algorithms::hmac(sha256, OWNER_AUTH, &parts).to_vec(),
    }
}

#[test]
fn a_wrong_key_changes_the_parameter() {
    let mut tpm = owned();
    let mut client = encrypting(AES).start(&mut tpm);
    let command = with_nonce(&mut tpm);
    // The client leaves the authorization value out of the key of encryption.
    let by = By::session(&mut client, OWNER_AUTH)
        .with(DECRYPT)
        .with_cipher_auth(&[]);
    assert_eq!(
        send(&mut tpm, &command, &mut [by]).err(),
        Some(Rc::NONCE.at(PolicySecret::nonce_tpm))
    );
}

#[test]
fn a_session_without_cipher_is_symmetric() {
    let mut tpm = owned();
    let mut client = HMAC.start(&mut tpm);
    let command = secret(&mut tpm, TpmHandle::OWNER);
    for attribute in [DECRYPT, ENCRYPT] {
        let by = By::session(&mut client, OWNER_AUTH).with(attribute);
        assert_eq!(
            send(&mut tpm, &command, &mut [by]).err(),
            Some(Rc::SYMMETRIC.at(Position::session(1)))
        );
    }
}

#[test]
fn a_parameter_that_is_no_sized_buffer_is_attributes() {
    let mut tpm = owned();
    let mut client = encrypting(AES).start(&mut tpm);
    let attributes = Some(Rc::ATTRIBUTES.at(Position::session(1)));
    let random = GetRandom { bytes_requested: 8 };
    let by = By::session(&mut client, &[]).with(DECRYPT);
    assert_eq!(send(&mut tpm, &random, &mut [by]).err(), attributes);
    let read = PcrRead {
        pcr_selection_in: Default::default(),
    };
    let by = By::session(&mut client, &[]).with(ENCRYPT);
    assert_eq!(send(&mut tpm, &read, &mut [by]).err(), attributes);
    let by = By::session(&mut client, &[]).with(ENCRYPT);
    let answer = send(&mut tpm, &random, &mut [by]).unwrap();
    assert_eq!(answer.response.random_bytes.len(), 8);
}

#[test]
fn two_sessions_for_one_direction_are_attributes_at_the_second() {
    let mut tpm = owned();
    let mut first = encrypting(AES).start(&mut tpm);
    let mut second = encrypting(AES).start(&mut tpm);
    let command = with_nonce(&mut tpm);
    for attribute in [DECRYPT, ENCRYPT] {
        let mut by = [
            By::session(&mut first, OWNER_AUTH).with(attribute),
            By::session(&mut second, &[]).with(attribute),
        ];
        assert_eq!(
            send(&mut tpm, &command, &mut by).err(),
            Some(Rc::ATTRIBUTES.at(Position::session(2)))
        );
    }
}

/// The bytes of a command with other parameters, authorized by a session without any key.
fn with_parameters(client: &Client, parameters: &[u8]) -> alloc::vec::Vec<u8> {
    let command = PolicySecret {
        auth_handle: tpm_wire::handles::TpmiDhEntity(TpmHandle::ENDORSEMENT),
        policy_session: tpm_wire::handles::TpmiShPolicy(TpmHandle(0x0300_0001)),
        nonce_tpm: Default::default(),
        cp_hash_a: Default::default(),
        policy_ref: Default::default(),
        expiration: 0,
    };
    let mut auth = Auth::session(client.handle);
    auth.attributes = TpmaSession::CONTINUE_SESSION | DECRYPT;
    let mut bytes = encode(&command, &[auth]);
    bytes.truncate(bytes.len() - 10);
    bytes.extend_from_slice(parameters);
    let size = u32::try_from(bytes.len()).unwrap();
    bytes[2..6].copy_from_slice(&size.to_be_bytes());
    bytes
}

#[test]
fn sizes_beyond_the_parameters_are_refused_before_anything_is_decrypted() {
    let mut tpm = owned();
    let client = encrypting(AES).start(&mut tpm);
    let policy = crate::commands::policy::build::policy(&mut tpm);
    assert_eq!(policy.0, TpmHandle(0x0300_0001));
    let at = Position::session(1);
    for (parameters, rc) in [
        (&[][..], Rc::INSUFFICIENT.at(at)),
        (&[0], Rc::INSUFFICIENT.at(at)),
        (&[0, 1], Rc::SIZE.at(at)),
        (&[0xFF, 0xFF, 1, 2], Rc::SIZE.at(at)),
        // An empty buffer is decrypted to itself.
        (&[0, 0], Rc::INSUFFICIENT.at(PolicySecret::cp_hash_a)),
    ] {
        let bytes = with_parameters(&client, parameters);
        let answer = crate::testing::decode::<PolicySecret>(tpm.execute(&bytes));
        assert_eq!(answer, Err(rc));
    }
}
