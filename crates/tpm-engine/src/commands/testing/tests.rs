//! When the self-tests run, and what a wrong answer does.

use super::known_answers::Test;
use crate::commands::object::build as objects;
use crate::commands::signature::build::*;
use crate::testing::{self, TestTpm};
use alloc::vec::Vec;
use tpm_wire::algorithm::*;
use tpm_wire::buffers::*;
use tpm_wire::commands::*;
use tpm_wire::constants::{TpmAlgId, TpmSu};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

fn left(tpm: &TestTpm) -> Vec<TpmAlgId> {
    tpm.power.self_tests.untested().to_vec()
}

/// What a command tests before it uses it.
fn tested_by(prepare: impl FnOnce(&mut TestTpm) -> Box<dyn FnOnce(&mut TestTpm)>) -> Vec<TpmAlgId> {
    let mut tpm = testing::started();
    let command = prepare(&mut tpm);
    let before = left(&tpm);
    command(&mut tpm);
    let after = left(&tpm);
    before
        .into_iter()
        .filter(|algorithm| !after.contains(algorithm))
        .collect()
}

use alloc::boxed::Box;

#[test]
fn startup_tests_all_but_what_takes_long() {
    let tpm = testing::manufactured();
    assert!(left(&tpm).contains(&TpmAlgId::SHA256));
    let tpm = testing::started();
    assert!(
        left(&tpm)
            .iter()
            .all(|algorithm| super::is_slow(*algorithm))
    );
    assert_eq!(left(&tpm).len(), 8);
}

#[test]
fn a_signature_tests_its_scheme_once() {
    for (scheme, tested) in [
        (TpmtSigScheme::Ecdsa(SHA256), TpmAlgId::ECDSA),
        (TpmtSigScheme::Sm2(SHA256), TpmAlgId::SM2),
        (TpmtSigScheme::Ecschnorr(SHA256), TpmAlgId::ECSCHNORR),
    ] {
        let tested_now = tested_by(|tpm| {
            let key_handle = load(tpm, ecc(None, SIGNS));
            Box::new(move |tpm| {
                let sign = Sign {
                    key_handle,
                    digest: digest(),
                    in_scheme: Some(scheme),
                    validation: no_ticket(),
                };
                tpm.run(sign.clone()).unwrap();
                tpm.run(sign).unwrap();
            })
        });
        assert_eq!(tested_now, [tested]);
    }
}

#[test]
fn keys_that_are_made_and_points_that_are_shared_test_the_curves() {
    let made = tested_by(|_| {
        Box::new(|tpm| {
            objects::primary_storage_ecc(tpm);
        })
    });
    assert_eq!(made, [TpmAlgId::ECDH]);
    let shared = tested_by(|tpm| {
        let key_handle = load(tpm, ecc(None, DECRYPTS));
        Box::new(move |tpm| {
            tpm.run(EcdhKeyGen { key_handle }).unwrap();
        })
    });
    assert_eq!(shared, [TpmAlgId::ECDH]);
}

#[test]
fn rsa_tests_the_padding_it_uses() {
    for (in_scheme, tested) in [
        (None, TpmAlgId::RSAES),
        (Some(TpmtRsaDecrypt::Oaep(SHA256)), TpmAlgId::OAEP),
    ] {
        let tested_now = tested_by(|tpm| {
            let key_handle = load(tpm, rsa(None, DECRYPTS));
            Box::new(move |tpm| {
                tpm.run(RsaEncrypt {
                    key_handle,
                    message: Tpm2bPublicKeyRsa::new(b"text".to_vec()).unwrap(),
                    in_scheme,
                    label: Tpm2bData::EMPTY,
                })
                .unwrap();
            })
        });
        assert_eq!(tested_now, [tested]);
    }
}

#[test]
fn a_refused_command_and_random_numbers_test_nothing() {
    let nothing = tested_by(|tpm| {
        let key_handle = load(tpm, ecc(None, DECRYPTS));
        Box::new(move |tpm| {
            tpm.run(GetRandom { bytes_requested: 8 }).unwrap();
            let sign = Sign {
                key_handle,
                digest: digest(),
                in_scheme: Some(TpmtSigScheme::Ecdsa(SHA256)),
                validation: no_ticket(),
            };
            assert_eq!(tpm.run(sign), Err(Rc::KEY.at(Sign::key_handle)));
        })
    });
    assert!(nothing.is_empty());
}

/// Tests of which one is never passed.
const BROKEN: &[(TpmAlgId, Test)] = &[(TpmAlgId::SHA256, |_| true), (TpmAlgId::ECDSA, |_| false)];

#[test]
fn a_wrong_answer_at_the_first_use_is_failure_mode() {
    let mut tpm = testing::manufactured();
    tpm.power.self_tests.tests = BROKEN;
    tpm.init();
    tpm.run(Startup {
        startup_type: TpmSu::Clear,
    })
    .unwrap();
    let key_handle = load(&mut tpm, ecc(None, SIGNS));
    let sign = Sign {
        key_handle,
        digest: digest(),
        in_scheme: Some(TpmtSigScheme::Ecdsa(SHA256)),
        validation: no_ticket(),
    };
    assert_eq!(tpm.run(sign), Err(Rc::FAILURE));
    assert!(tpm.failure().is_some());
    let result = tpm.run(GetTestResult {}).unwrap();
    assert_eq!(result.test_result, Rc::FAILURE.number());
}

#[test]
fn a_wrong_answer_to_a_command_that_tests_is_failure_mode() {
    for full_test in [true, false] {
        let mut tpm = testing::started();
        tpm.power.self_tests.tests = BROKEN;
        tpm.power.self_tests.untested = 3;
        assert_eq!(tpm.run(SelfTest { full_test }), Err(Rc::FAILURE));
        assert!(tpm.failure().is_some());
    }
    let mut tpm = testing::started();
    tpm.power.self_tests.tests = BROKEN;
    let test = IncrementalSelfTest {
        to_test: [TpmAlgId::ECDSA].into_iter().collect(),
    };
    assert_eq!(tpm.run(test), Err(Rc::FAILURE));
    assert!(tpm.failure().is_some());
}

#[test]
fn a_wrong_answer_at_startup_is_failure_mode() {
    const SHA256_BROKEN: &[(TpmAlgId, Test)] = &[(TpmAlgId::SHA256, |_| false)];
    let mut tpm = testing::manufactured();
    tpm.power.self_tests.tests = SHA256_BROKEN;
    tpm.init();
    let startup = Startup {
        startup_type: TpmSu::Clear,
    };
    assert_eq!(tpm.run(startup), Err(Rc::FAILURE));
    assert!(tpm.failure().is_some());
}

#[test]
fn a_tpm_that_goes_on_elsewhere_is_tested_there() {
    let mut tpm = testing::started();
    let key = load(&mut tpm, ecc(None, SIGNS)).0;
    tpm.run(SelfTest { full_test: true }).unwrap();
    let volatile = tpm.volatile_state();
    let mut moved = tpm.reloaded();
    moved.restore_volatile(&volatile).unwrap();
    assert_eq!(left(&moved).len(), 8);
    assert_ne!(key, TpmHandle::NULL);
}
