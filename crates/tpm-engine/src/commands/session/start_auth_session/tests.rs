//! Starting sessions: what they know, and what is refused.

use crate::commands::object::build::{self, vector};
use crate::commands::policy::build as policy;
use crate::profile::Profile;
use crate::session::{Session, bound_entity};
use crate::testing::{self, TestTpm};
use tpm_crypto::hash::HashAlgorithm;
use tpm_crypto::kdf::kdfa;
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgSymMode, TpmtSymDef};
use tpm_wire::attributes::{TpmaNv, TpmaObject};
use tpm_wire::buffers::{Tpm2bAuth, Tpm2bEncryptedSecret, Tpm2bNonce};
use tpm_wire::commands::{StartAuthSession, StartAuthSessionResponse, Startup};
use tpm_wire::constants::{TpmSe, TpmSu};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::rc::Rc;

const NONCE: [u8; 20] = [0x11; 20];

/// An HMAC session, neither bound nor salted.
fn plain() -> StartAuthSession {
    StartAuthSession {
        tpm_key: None,
        bind: None,
        nonce_caller: Tpm2bNonce::new(&NONCE).unwrap(),
        encrypted_salt: Tpm2bEncryptedSecret::EMPTY,
        session_type: TpmSe::Hmac,
        symmetric: None,
        auth_hash: TpmiAlgHash::Sha256,
    }
}

fn salted(key: TpmHandle, salt: &[u8]) -> StartAuthSession {
    StartAuthSession {
        tpm_key: Some(key.into()),
        encrypted_salt: Tpm2bEncryptedSecret::new(salt.to_vec()).unwrap(),
        ..plain()
    }
}

fn bound(entity: TpmHandle) -> StartAuthSession {
    StartAuthSession {
        bind: Some(entity.into()),
        ..plain()
    }
}

fn start(tpm: &mut TestTpm, command: StartAuthSession) -> (StartAuthSessionResponse, Session) {
    let response = tpm.run(command).unwrap();
    let session = tpm.sessions.get(response.session_handle.0).unwrap().clone();
    (response, session)
}

/// The session key that authorization value and salt give.
fn key(response: &StartAuthSessionResponse, secret: &[u8]) -> Tpm2bAuth {
    let nonce = &response.nonce_tpm;
    let key = kdfa(HashAlgorithm::Sha256, secret, b"ATH", nonce, &NONCE, 256);
    Tpm2bAuth::new(&key).unwrap()
}

#[test]
fn each_kind_gets_a_handle_of_its_kind_and_a_nonce_as_long_as_the_callers() {
    for (session_type, kind) in [
        (TpmSe::Hmac, TpmHt::HmacSession),
        (TpmSe::Policy, TpmHt::PolicySession),
        (TpmSe::Trial, TpmHt::PolicySession),
    ] {
        let mut tpm = testing::started();
        let command = StartAuthSession {
            session_type,
            ..plain()
        };
        let (response, session) = start(&mut tpm, command);
        assert_eq!(response.session_handle.0.kind(), Some(kind));
        assert_eq!(response.nonce_tpm.len(), NONCE.len());
        assert_eq!(session.nonce_tpm, response.nonce_tpm);
        assert_eq!(session.kind, session_type);
        assert!(session.key.is_empty() && session.bound_entity.is_none());
        assert!(!session.is_da_bound && !session.is_lockout_bound);
        let digest = &session.policy.digest;
        assert_eq!(
            digest.len(),
            if kind == TpmHt::HmacSession { 0 } else { 32 }
        );
    }
}

#[test]
fn nonces_differ() {
    let mut tpm = testing::started();
    let (first, _) = start(&mut tpm, plain());
    let (second, _) = start(&mut tpm, plain());
    assert_ne!(first.nonce_tpm, second.nonce_tpm);
    assert_ne!(first.session_handle, second.session_handle);
}

#[test]
fn a_salt_makes_the_key_whoever_encrypted_it() {
    let mut tpm = testing::started();
    for (name, key_handle) in [
        ("salt-rsa", build::vector_storage_rsa(&mut tpm)),
        ("salt-ecc", build::vector_storage_ecc(&mut tpm)),
    ] {
        let given = vector(name);
        let (response, session) = start(&mut tpm, salted(key_handle, &given[0]));
        assert_eq!(*session.key, *key(&response, &given[1]), "{name}");
        assert!(session.bound_entity.is_none());
    }
}

#[test]
fn a_bound_session_has_a_key_of_the_authorization_value() {
    let mut tpm = testing::started();
    let root = build::primary_storage_ecc(&mut tpm);
    let object = build::sealed(&mut tpm, root, b"auth", b"data");
    let (response, session) = start(&mut tpm, bound(object));
    assert_eq!(*session.key, *key(&response, b"auth"));
    let expected = bound_entity(&tpm.entity_name(object), b"auth");
    assert_eq!(session.bound_entity, Some(expected));
    assert!(session.is_da_bound && !session.is_lockout_bound);
    // Without an authorization value there is a key all the same, and the root is exempt.
    let (response, session) = start(&mut tpm, bound(root));
    assert_eq!(*session.key, *key(&response, b""));
    assert!(!session.is_da_bound);
    let (_, session) = start(&mut tpm, bound(TpmHandle::LOCKOUT));
    assert!(session.is_da_bound && session.is_lockout_bound);
    let (_, session) = start(&mut tpm, bound(TpmHandle::OWNER));
    assert!(!session.is_da_bound && session.bound_entity.is_some());
}

#[test]
fn authorization_value_and_salt_go_into_the_key_in_this_order() {
    let mut tpm = testing::started();
    let root = build::primary_storage_ecc(&mut tpm);
    let object = build::sealed(&mut tpm, root, b"auth", b"data");
    let key_handle = build::vector_storage_ecc(&mut tpm);
    let given = vector("salt-ecc");
    let command = StartAuthSession {
        bind: Some(object.into()),
        ..salted(key_handle, &given[0])
    };
    let (response, session) = start(&mut tpm, command);
    let secret = [b"auth", &given[1][..]].concat();
    assert_eq!(*session.key, *key(&response, &secret));
}

#[test]
fn a_policy_session_takes_the_key_of_a_bind_but_is_not_bound() {
    let mut tpm = testing::started();
    let root = build::primary_storage_ecc(&mut tpm);
    let object = build::sealed(&mut tpm, root, b"auth", b"data");
    let command = StartAuthSession {
        session_type: TpmSe::Policy,
        ..bound(object)
    };
    let (response, session) = start(&mut tpm, command);
    assert_eq!(*session.key, *key(&response, b"auth"));
    assert!(session.bound_entity.is_none() && session.is_da_bound);
}

#[test]
fn a_nonce_of_less_than_16_bytes_or_more_than_a_digest_is_size_at_parameter_1() {
    let mut tpm = testing::started();
    for size in [0, 15, 33] {
        let command = StartAuthSession {
            nonce_caller: Tpm2bNonce::zeros(size),
            ..plain()
        };
        let refused = tpm.run(command).err();
        assert_eq!(refused, Some(Rc::SIZE.at(StartAuthSession::nonce_caller)));
    }
}

#[test]
fn salt_and_key_come_together_or_it_is_value_at_parameter_2() {
    let mut tpm = testing::started();
    let key = build::vector_storage_ecc(&mut tpm);
    let rsa = build::vector_storage_rsa(&mut tpm);
    let without_key = StartAuthSession {
        tpm_key: None,
        ..salted(key, b"salt")
    };
    for command in [
        without_key,
        salted(key, &[]),
        salted(key, &[0, 1, 1, 0, 1, 1]),
        salted(rsa, &[1; 256]),
        salted(rsa, &[1; 10]),
    ] {
        let refused = tpm.run(command).err();
        assert_eq!(
            refused,
            Some(Rc::VALUE.at(StartAuthSession::encrypted_salt))
        );
    }
}

#[test]
fn a_salt_key_that_cannot_decrypt_is_blamed_on_handle_1() {
    let mut tpm = testing::started();
    let root = build::primary_storage_ecc(&mut tpm);
    let at = |rc: Rc| Some(rc.at(StartAuthSession::tpm_key));
    let (public, _) = build::ecc_generator(TpmaObject::DECRYPT);
    let cases = [
        (build::symmetric_key(&mut tpm, root), Rc::KEY),
        (build::hmac_key(&mut tpm, root), Rc::KEY),
        (build::sequence(&mut tpm), Rc::KEY),
        (
            build::load_external(&mut tpm, public, None).unwrap(),
            Rc::HANDLE,
        ),
        (build::signing_key_ecc(&mut tpm, root), Rc::ATTRIBUTES),
    ];
    for (key, rc) in cases {
        let refused = tpm.run(salted(key, b"salt")).err();
        assert_eq!(refused, at(rc));
    }
}

#[test]
fn an_entity_whose_authorization_value_cannot_be_had_is_handle_at_handle_2() {
    let mut tpm = testing::started();
    let expected = Some(Rc::HANDLE.at(StartAuthSession::bind));
    let (public, _) = build::ecc_generator(TpmaObject::SIGN);
    let public_only = build::load_external(&mut tpm, public, None).unwrap();
    assert_eq!(tpm.run(bound(public_only)).err(), expected);
    for pin in [0x80, 0x90] {
        let mut tpm = testing::started();
        policy::nv_index(&mut tpm, TpmaNv(pin), &[0; 8]);
        assert_eq!(tpm.run(bound(policy::INDEX)).err(), expected);
    }
    let mut tpm = testing::started();
    policy::nv_index(&mut tpm, TpmaNv(0), &[0; 8]);
    assert!(tpm.run(bound(policy::INDEX)).is_ok());
    let sequence = build::sequence(&mut tpm);
    assert!(tpm.run(bound(sequence)).is_ok());
}

#[test]
fn a_block_cipher_not_in_cfb_mode_is_mode_at_parameter_4() {
    let mut tpm = testing::started();
    let mut run = |symmetric| {
        let command = StartAuthSession {
            symmetric: Some(symmetric),
            ..plain()
        };
        tpm.run(command).err()
    };
    let cipher = |mode| {
        TpmtSymDef::Block(tpm_wire::algorithm::TpmtSymDefObject {
            mode,
            ..build::AES_128_CFB
        })
    };
    let expected = Some(Rc::MODE.at(StartAuthSession::symmetric));
    assert_eq!(run(cipher(Some(TpmiAlgSymMode::Ctr))), expected);
    assert_eq!(run(cipher(None)), expected);
    assert_eq!(run(cipher(Some(TpmiAlgSymMode::Cfb))), None);
    assert_eq!(run(TpmtSymDef::Xor(TpmiAlgHash::Sha1)), None);
}

#[test]
fn full_tables_are_session_memory_or_session_handles() {
    for (loaded, active, expected) in [(2, 4, Rc::SESSION_MEMORY), (4, 2, Rc::SESSION_HANDLES)] {
        let mut profile = Profile {
            loaded_sessions: loaded,
            ..Profile::default()
        };
        profile.limits.active_sessions = active;
        let mut tpm = testing::with_profile(profile);
        let startup_type = TpmSu::Clear;
        tpm.run(Startup { startup_type }).unwrap();
        assert!(tpm.run(plain()).is_ok());
        assert!(tpm.run(plain()).is_ok());
        assert_eq!(tpm.run(plain()).err(), Some(expected));
    }
}

#[test]
fn the_last_place_is_kept_for_the_oldest_saved_session_when_the_gap_is_full() {
    let profile = Profile {
        loaded_sessions: 2,
        ..Profile::default()
    };
    let mut tpm = testing::with_profile(profile);
    let startup_type = TpmSu::Clear;
    tpm.run(Startup { startup_type }).unwrap();
    let (first, _) = start(&mut tpm, plain());
    tpm.sessions.save(first.session_handle.0).unwrap();
    assert!(tpm.run(plain()).is_ok());
    tpm.sessions.context_counter += 0xFFFF;
    assert_eq!(tpm.run(plain()).err(), Some(Rc::CONTEXT_GAP));
}

#[test]
fn nonce_then_key_then_salt_then_bind_then_symmetric_algorithm() {
    let mut tpm = testing::started();
    let root = build::primary_storage_ecc(&mut tpm);
    let (public, _) = build::ecc_generator(TpmaObject::SIGN);
    let public_only = build::load_external(&mut tpm, public, None).unwrap();
    let symmetric = build::symmetric_key(&mut tpm, root);
    let mut command = StartAuthSession {
        nonce_caller: Tpm2bNonce::zeros(15),
        tpm_key: Some(symmetric.into()),
        bind: Some(public_only.into()),
        symmetric: Some(TpmtSymDef::Block(tpm_wire::algorithm::TpmtSymDefObject {
            mode: None,
            ..build::AES_128_CFB
        })),
        ..plain()
    };
    let mut refused = |command: &StartAuthSession| tpm.run(command.clone()).err();
    let nonce = Rc::SIZE.at(StartAuthSession::nonce_caller);
    assert_eq!(refused(&command), Some(nonce));
    command.nonce_caller = Tpm2bNonce::zeros(16);
    let kind = Rc::KEY.at(StartAuthSession::tpm_key);
    assert_eq!(refused(&command), Some(kind));
    // That the salt is missing is seen before that the key cannot read it.
    command.tpm_key = Some(public_only.into());
    let salt = Rc::VALUE.at(StartAuthSession::encrypted_salt);
    assert_eq!(refused(&command), Some(salt));
    command.encrypted_salt = Tpm2bEncryptedSecret::new(b"salt".to_vec()).unwrap();
    let public = Rc::HANDLE.at(StartAuthSession::tpm_key);
    assert_eq!(refused(&command), Some(public));
    command.tpm_key = Some(root.into());
    assert_eq!(refused(&command), Some(salt));
    command.tpm_key = None;
    command.encrypted_salt = Tpm2bEncryptedSecret::EMPTY;
    let bind = Rc::HANDLE.at(StartAuthSession::bind);
    assert_eq!(refused(&command), Some(bind));
    command.bind = None;
    let mode = Rc::MODE.at(StartAuthSession::symmetric);
    assert_eq!(refused(&command), Some(mode));
}
