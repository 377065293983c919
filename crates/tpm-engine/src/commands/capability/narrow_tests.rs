//! What a profile leaves out is told by nobody and refused everywhere.

use super::tests::{get, property};
use crate::commands::object::build::{
    FIXED, STORAGE, ecc_template, primary, rsa_template, sealed_template,
};
use crate::commands::pcr::build::{digest, handle, selection};
use crate::profile::Profile;
use crate::testing::{self, TestTpm};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiEccCurve, TpmsSchemeHash, TpmtKdfScheme,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Tpm2b, Tpm2bAuth, Tpm2bDigest, Tpm2bEncryptedSecret, Tpm2bMaxBuffer, Tpm2bNonce,
};
use tpm_wire::capability::TpmsCapabilityData;
use tpm_wire::commands::{
    EccParameters, GetCapability, GetRandom, Hash, HashSequenceStart, LoadExternal, PcrExtend,
    PcrRead, PolicyCommandCode, SetCommandCodeAuditStatus, SetPrimaryPolicy, StartAuthSession,
    TestParms,
};
use tpm_wire::constants::{TpmCap, TpmPt, TpmSe, TpmSu};
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{Tpm2bSensitive, TpmtPublic, TpmuPublicParms};
use tpm_wire::rc::{Position, Rc};
use tpm_wire::table::Command;

/// A TPM without SHA-1, SHA-512 and the newer hashes, curves other than P-384, RSA above 2048, AES-256, CBC, and without
/// `TPM2_GetRandom`.
fn narrow() -> TestTpm {
    let mut profile = Profile::default();
    profile
        .set_algorithms(
            "rsa,rsa-sizes=1024+2048,hmac,aes,aes-sizes=128,mgf1,keyedhash,xor,sha256,sha384,rsassa,oaep,ecdsa,ecdh,\
             kdf1-sp800-56a,kdf1-sp800-108,ecc,ecc-nist-p384,symcipher,ctr,cfb",
        )
        .unwrap();
    let codes = profile.commands().map(|command| command.code);
    let codes = codes.filter(|code| *code != GetRandom::INFO.code);
    let commands: Vec<String> = codes.map(|code| code.to_string()).collect();
    let commands = commands.join(",");
    profile.set_commands(&commands).unwrap();
    let mut tpm = testing::with_profile(profile);
    tpm.restart(None, TpmSu::Clear);
    tpm
}

#[test]
fn a_command_that_the_profile_lacks_is_not_there() {
    let mut tpm = narrow();
    let refused = tpm.run(GetRandom { bytes_requested: 1 });
    assert_eq!(refused, Err(Rc::COMMAND_CODE));
    assert_eq!(property(&mut tpm, TpmPt::TOTAL_COMMANDS), 122);
    let next = get(&mut tpm, TpmCap::COMMANDS, GetRandom::INFO.code, 1).items;
    assert_eq!(next[2..4], [0x01, 0x7C]);
    // Nor can it be audited or stand in a policy.
    tpm.run(SetCommandCodeAuditStatus {
        auth: TpmHandle::OWNER.into(),
        audit_alg: None,
        set_list: [0x17B].into_iter().collect(),
        clear_list: [].into_iter().collect(),
    })
    .unwrap();
    assert_eq!(get(&mut tpm, TpmCap::AUDIT_COMMANDS, 0, 9).count, 1);
    let policy_session = crate::commands::policy::build::policy(&mut tpm);
    let in_policy = PolicyCommandCode {
        policy_session,
        code: 0x17B,
    };
    assert_eq!(
        tpm.run(in_policy),
        Err(Rc::POLICY_CC.at(PolicyCommandCode::code))
    );
}

#[test]
fn algorithms_that_the_profile_lacks_are_not_told_of() {
    let mut tpm = narrow();
    let answer = tpm
        .run(GetCapability {
            capability: TpmCap::ALGS,
            property: 0,
            property_count: 1000,
        })
        .unwrap();
    let TpmsCapabilityData::Algs(listed) = answer.capability_data else {
        panic!("algorithms were asked for")
    };
    let listed: Vec<u16> = listed.iter().map(|entry| entry.alg.0).collect();
    let expected = [
        0x01, 0x05, 0x06, 0x07, 0x08, 0x0A, 0x0B, 0x0C, 0x14, 0x17, 0x18, 0x19, 0x20, 0x22, 0x23,
        0x25, 0x40, 0x43,
    ];
    assert_eq!(listed, expected);
    assert_eq!(get(&mut tpm, TpmCap::ECC_CURVES, 0, 9).items, [0, 4]);
    assert_eq!(property(&mut tpm, TpmPt::LOADED_CURVES), 1);
    assert_eq!(property(&mut tpm, TpmPt::MAX_DIGEST), 48);
    assert_eq!(get(&mut tpm, TpmCap::PCRS, 0, 9).count, 2);
}

#[test]
fn templates_with_what_the_profile_lacks_are_refused_wherever_they_come() {
    let mut tpm = narrow();
    let rsa = |bits| {
        let mut public = rsa_template(FIXED | STORAGE);
        if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
            parameters.key_bits.0 = bits;
        }
        public
    };
    let ecc = |curve| {
        let mut public = ecc_template(FIXED | STORAGE);
        if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
            parameters.curve_id = curve;
        }
        public
    };
    let mut wide_symmetric = ecc(TpmiEccCurve::NistP384);
    if let TpmuPublicParms::Ecc(parameters) = &mut wide_symmetric.parameters {
        parameters.symmetric.as_mut().unwrap().key_bits = 256;
    }
    let mut cbc = ecc(TpmiEccCurve::NistP384);
    if let TpmuPublicParms::Ecc(parameters) = &mut cbc.parameters {
        parameters.symmetric.as_mut().unwrap().mode = Some(TpmiAlgSymMode::Cbc);
    }
    let mut sha1 = sealed_template();
    sha1.name_alg = Some(TpmiAlgHash::Sha1);
    let cases: [(TpmtPublic, Rc); 6] = [
        (rsa(3072), Rc::VALUE),
        (rsa(4096), Rc::VALUE),
        (ecc(TpmiEccCurve::NistP256), Rc::CURVE),
        (wide_symmetric, Rc::VALUE),
        (cbc, Rc::MODE),
        (sha1, Rc::HASH),
    ];
    for (public, rc) in cases {
        let refused = primary(&mut tpm, TpmHandle::OWNER, public.clone()).err();
        assert_eq!(refused, Some(rc.at(Position::parameter(2))), "{public:?}");
        let external = LoadExternal {
            in_private: Tpm2bSensitive(None),
            in_public: Tpm2b(public.clone()),
            hierarchy: None,
        };
        let refused = tpm.run(external).err();
        assert_eq!(refused, Some(rc.at(LoadExternal::in_public)));
        if rc != Rc::HASH {
            let parameters = public.parameters;
            let refused = tpm.run(TestParms { parameters }).err();
            assert_eq!(refused, Some(rc.at(TestParms::parameters)));
        }
    }
    for public in [rsa(2048), ecc(TpmiEccCurve::NistP384)] {
        assert!(primary(&mut tpm, TpmHandle::OWNER, public).is_ok());
    }
}

#[test]
fn hashes_and_curves_that_the_profile_lacks_are_refused_as_arguments() {
    let mut tpm = narrow();
    let sha1 = TpmiAlgHash::Sha1;
    let hash = |position: Position| Some(Rc::HASH.at(position));
    let command = Hash {
        data: Tpm2bMaxBuffer::EMPTY,
        hash_alg: sha1,
        hierarchy: None,
    };
    assert_eq!(tpm.run(command).err(), hash(Hash::hash_alg));
    let command = HashSequenceStart {
        auth: Tpm2bAuth::EMPTY,
        hash_alg: Some(sha1),
    };
    assert_eq!(tpm.run(command).err(), hash(HashSequenceStart::hash_alg));
    let command = StartAuthSession {
        tpm_key: None,
        bind: None,
        nonce_caller: Tpm2bNonce::zeros(16),
        encrypted_salt: Tpm2bEncryptedSecret::EMPTY,
        session_type: TpmSe::Hmac,
        symmetric: None,
        auth_hash: sha1,
    };
    assert_eq!(tpm.run(command).err(), hash(StartAuthSession::auth_hash));
    let command = SetPrimaryPolicy {
        auth_handle: TpmHandle::OWNER.into(),
        auth_policy: Tpm2bDigest::zeros(20),
        hash_alg: Some(sha1),
    };
    assert_eq!(tpm.run(command).err(), hash(SetPrimaryPolicy::hash_alg));
    let command = PcrExtend {
        pcr_handle: Some(handle(0)),
        digests: [digest(sha1, 1)].into_iter().collect(),
    };
    assert_eq!(tpm.run(command).err(), hash(PcrExtend::digests));
    let command = PcrRead {
        pcr_selection_in: selection(&[(sha1, &[0])]),
    };
    assert_eq!(tpm.run(command).err(), hash(PcrRead::pcr_selection_in));
    let curve_id = TpmiEccCurve::NistP256;
    let refused = tpm.run(EccParameters { curve_id }).err();
    assert_eq!(refused, Some(Rc::CURVE.at(EccParameters::curve_id)));
    let mut public = ecc_template(FIXED | TpmaObject::SIGN);
    if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
        parameters.curve_id = TpmiEccCurve::NistP384;
        parameters.kdf = Some(TpmtKdfScheme::Kdf2(TpmsSchemeHash {
            hash_alg: TpmiAlgHash::Sha256,
        }));
    }
    let parameters = public.parameters;
    let refused = tpm.run(TestParms { parameters }).err();
    assert_eq!(refused, Some(Rc::KDF.at(TestParms::parameters)));
}
