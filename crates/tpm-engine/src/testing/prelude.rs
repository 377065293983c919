//! How a TPM comes into use before a generated sequence: keys, NV Indices and sessions of every type, and values of every class.

use super::Auth;
use super::sequence::{Pool, Runner};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmiEccCurve, TpmiRsaKeyBits, TpmsSchemeEcdaa,
    TpmsSchemeHash, TpmtEccScheme, TpmtKeyedhashScheme, TpmtRsaScheme, TpmtSymDef,
    TpmtSymDefObject,
};
use tpm_wire::attributes::{TpmaNv, TpmaObject};
use tpm_wire::buffers::{
    Tpm2b, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bEncryptedSecret, Tpm2bMaxBuffer,
    Tpm2bMaxNvBuffer, Tpm2bNonce, Tpm2bSensitiveData,
};
use tpm_wire::codec::{Limits, parse_all};
use tpm_wire::commands::{self, Duplicate, EccEncrypt, Quote};
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::nv::{NvDataSize, Tpm2bNvPublic, TpmsNvPublic};
use tpm_wire::object::{
    Tpm2bPublic, TpmsEccParms, TpmsRsaParms, TpmsSensitiveCreate, TpmtPublic, TpmuPublicId,
    TpmuPublicParms,
};
use tpm_wire::pcr::{TpmlDigest, TpmlDigestBranches, TpmlPcrSelection};
use tpm_wire::table::Command;

/// Commands that need the administrator's or the duplication role: a branch of the policy for each.
const ADMINISTRATION: [u32; 8] = [
    commands::Duplicate::INFO.code,
    commands::NvUndefineSpaceSpecial::INFO.code,
    commands::NvChangeAuth::INFO.code,
    commands::Certify::INFO.code,
    commands::ActivateCredential::INFO.code,
    commands::ObjectChangeAuth::INFO.code,
    commands::CertifyX509::INFO.code,
    commands::AcSend::INFO.code,
];

const SHA256: TpmsSchemeHash = TpmsSchemeHash {
    hash_alg: TpmiAlgHash::Sha256,
};
const AES: TpmtSymDefObject = TpmtSymDefObject {
    algorithm: TpmiAlgSymObject::Aes,
    key_bits: 128,
    mode: Some(TpmiAlgSymMode::Cfb),
};
const USED_BY_ALL: u32 = 0x0000_0460;
const FIXED: u32 = 0x12;
const RESTRICTED: u32 = 0x1_0000;
const DECRYPT: u32 = 0x2_0000;
const SIGN: u32 = 0x4_0000;

/// The class of the values by which the branches of the policy are kept.
const BRANCHES: &str = "TpmlDigestBranches";

/// The branches of the policy of the entities of the start.
pub(super) fn branches(
    values: &BTreeMap<&'static str, Vec<Vec<u8>>>,
) -> Option<TpmlDigestBranches> {
    let list = values.get(BRANCHES)?.first()?;
    parse_all(list, &Limits::ALL).ok()
}

fn public(attributes: u32, policy: &Tpm2bDigest, parameters: TpmuPublicParms) -> TpmtPublic {
    let unique = TpmuPublicId::empty(parameters.object_type());
    TpmtPublic {
        name_alg: Some(TpmiAlgHash::Sha256),
        object_attributes: TpmaObject(attributes),
        auth_policy: policy.clone(),
        parameters,
        unique,
    }
}

fn ecc(
    curve_id: TpmiEccCurve,
    symmetric: Option<TpmtSymDefObject>,
    scheme: Option<TpmtEccScheme>,
) -> TpmuPublicParms {
    TpmuPublicParms::Ecc(TpmsEccParms {
        symmetric,
        scheme,
        curve_id,
        kdf: None,
    })
}

fn rsa(scheme: Option<TpmtRsaScheme>) -> TpmuPublicParms {
    let key_bits = TpmiRsaKeyBits(1024);
    TpmuPublicParms::Rsa(TpmsRsaParms {
        symmetric: None,
        scheme,
        key_bits,
        exponent: 0,
    })
}

fn sensitive(data: &[u8]) -> TpmsSensitiveCreate {
    TpmsSensitiveCreate {
        user_auth: Tpm2bAuth::EMPTY,
        data: Tpm2bSensitiveData::new(data.to_vec()).unwrap_or_default(),
    }
}

#[expect(clippy::expect_used, reason = "a start that fails is a failed test")]
fn policy(runner: &mut Runner) -> Tpm2bDigest {
    let session = start_session(runner, TpmSe::Trial);
    let mut list = TpmlDigest::new();
    for code in ADMINISTRATION {
        runner.satisfy_policy(session, code);
        let policy_session = session.into();
        let digest = runner.send_command(&commands::PolicyGetDigest { policy_session });
        list.push(digest.expect("a policy digest").policy_digest);
    }
    let policy_session = session.into();
    runner.send_command(&commands::PolicyRestart {
        session_handle: session.into(),
    });
    let p_hash_list = TpmlDigestBranches(list);
    runner.send_command(&commands::PolicyOr {
        policy_session,
        p_hash_list,
    });
    let digest = runner.send_command(&commands::PolicyGetDigest { policy_session });
    digest.expect("a policy digest").policy_digest
}

/// Starts a session that is neither bound nor salted, if there is room.
pub(super) fn start_session(runner: &mut Runner, session_type: TpmSe) -> TpmHandle {
    let started = runner.send_command(&commands::StartAuthSession {
        tpm_key: None,
        bind: None,
        nonce_caller: Tpm2bNonce::new(&[7; 16]).unwrap_or_default(),
        encrypted_salt: Tpm2bEncryptedSecret::default(),
        session_type,
        symmetric: Some(TpmtSymDef::Block(AES)),
        auth_hash: TpmiAlgHash::Sha256,
    });
    started.map_or(TpmHandle::NULL, |started| started.session_handle.0)
}

/// Creates a primary object and makes it persistent; the handle.
#[expect(clippy::expect_used, reason = "a start that fails is a failed test")]
fn persistent(
    runner: &mut Runner,
    number: u32,
    hierarchy: TpmHandle,
    key: TpmtPublic,
    data: &[u8],
) -> TpmHandle {
    let created = runner.send_command(&commands::CreatePrimary {
        primary_handle: Some(hierarchy.into()),
        in_sensitive: Tpm2b(sensitive(data)),
        in_public: Tpm2bPublic(key),
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    });
    let object_handle = created.expect("a primary object").object_handle;
    let persistent_handle = TpmHandle(0x8100_0000 + number).into();
    runner.send_command(&commands::EvictControl {
        auth: TpmHandle::OWNER.into(),
        object_handle: object_handle.into(),
        persistent_handle,
    });
    runner.send_command(&commands::FlushContext {
        flush_handle: object_handle.into(),
    });
    runner.pool.add_handle(TpmHandle(0x8100_0000 + number));
    TpmHandle(0x8100_0000 + number)
}

fn values(pool: &mut Pool) {
    for (class, values) in VALUES {
        for value in *values {
            pool.add(class, value.to_vec());
        }
    }
    for handle in HANDLES {
        pool.add_handle(TpmHandle(*handle));
    }
}

/// Brings the TPM into use.
#[expect(clippy::expect_used, reason = "a start that fails is a failed test")]
pub(super) fn run(runner: &mut Runner) {
    values(&mut runner.pool);
    let policy = policy(runner);
    let all = USED_BY_ALL;
    let parent = public(
        all | FIXED | RESTRICTED | DECRYPT,
        &policy,
        ecc(TpmiEccCurve::NistP256, Some(AES), None),
    );
    let parent = persistent(runner, 1, TpmHandle::OWNER, parent, &[]);

    let keys = [
        public(all | SIGN, &policy, ecc(TpmiEccCurve::NistP256, None, None)),
        public(
            all | FIXED | RESTRICTED | SIGN,
            &policy,
            ecc(
                TpmiEccCurve::NistP256,
                None,
                Some(TpmtEccScheme::Ecdsa(SHA256)),
            ),
        ),
        public(
            all | DECRYPT,
            &policy,
            ecc(TpmiEccCurve::NistP256, None, None),
        ),
        public(
            all | FIXED | SIGN,
            &policy,
            ecc(
                TpmiEccCurve::BnP256,
                None,
                Some(TpmtEccScheme::Ecdaa(TpmsSchemeEcdaa {
                    hash_alg: TpmiAlgHash::Sha256,
                    count: 0,
                })),
            ),
        ),
        public(all | SIGN | DECRYPT, &policy, rsa(None)),
        public(
            all | SIGN,
            &policy,
            rsa(Some(TpmtRsaScheme::Rsapss(SHA256))),
        ),
        public(
            all | SIGN,
            &policy,
            TpmuPublicParms::KeyedHash(Some(TpmtKeyedhashScheme::Hmac(SHA256))),
        ),
        public(
            all | SIGN | DECRYPT,
            &policy,
            TpmuPublicParms::SymCipher(TpmtSymDefObject { mode: None, ..AES }),
        ),
        public(all & !0x20, &policy, TpmuPublicParms::KeyedHash(None)),
    ];
    let mut made = Vec::new();
    for (number, key) in (2u32..).zip(keys) {
        let data: &[u8] = if number == 10 { b"sealed" } else { &[] };
        made.push(persistent(runner, number, TpmHandle::OWNER, key, data));
    }
    let endorsement = public(
        all | FIXED | RESTRICTED | DECRYPT,
        &policy,
        ecc(TpmiEccCurve::NistP256, Some(AES), None),
    );
    persistent(runner, 11, TpmHandle::ENDORSEMENT, endorsement, &[]);
    // An object that can leave its parent, and its duplicate.
    let movable = public(
        all | SIGN,
        &policy,
        TpmuPublicParms::KeyedHash(Some(TpmtKeyedhashScheme::Hmac(SHA256))),
    );
    let created = runner.send_command(&commands::Create {
        parent_handle: parent.into(),
        in_sensitive: Tpm2b(sensitive(&[])),
        in_public: Tpm2bPublic(movable),
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    });
    let created = created.expect("an object");
    let child = runner.send_command(&commands::Load {
        parent_handle: parent.into(),
        in_private: created.out_private,
        in_public: Tpm2bPublic(created.out_public.0),
    });
    let child = child.expect("a loaded object").object_handle;
    start_session(runner, TpmSe::Hmac);
    let session = start_session(runner, TpmSe::Policy);
    runner.satisfy_policy(session, Duplicate::INFO.code);
    let duplicated = runner.send_command_as(
        &Duplicate {
            object_handle: child.into(),
            new_parent_handle: Some(parent.into()),
            encryption_key_in: Tpm2bData::EMPTY,
            symmetric_alg: None,
        },
        &[Auth::session(session)],
    );
    duplicated.expect("a duplicate");
    indices(runner, &policy);
    // Values that later commands take.
    let sign = made.get(1).copied().unwrap_or(TpmHandle::NULL);
    runner.send_command(&Quote {
        sign_handle: Some(sign.into()),
        qualifying_data: Tpm2bData::EMPTY,
        in_scheme: None,
        pcr_select: TpmlPcrSelection::new(),
    });
    let decrypts = made.get(2).copied().unwrap_or(TpmHandle::NULL);
    runner.send_command(&commands::EcdhKeyGen {
        key_handle: decrypts.into(),
    });
    runner.send_command(&EccEncrypt {
        key_handle: decrypts.into(),
        plain_text: Tpm2bMaxBuffer::new(b"text".to_vec()).unwrap_or_default(),
        in_scheme: None,
    });
    let name = runner.send_command(&commands::ReadPublic {
        object_handle: child.into(),
    });
    runner.send_command(&commands::MakeCredential {
        handle: parent.into(),
        credential: Tpm2bDigest::new(b"credential").unwrap_or_default(),
        object_name: name.expect("a name").name,
    });
    let sequence = runner.send_command(&commands::HashSequenceStart {
        auth: Tpm2bAuth::EMPTY,
        hash_alg: Some(TpmiAlgHash::Sha256),
    });
    runner.send_command(&commands::ContextSave {
        save_handle: TpmHandle::from(sequence.expect("a sequence").sequence_handle).into(),
    });
    runner.send_command(&commands::HashSequenceStart {
        auth: Tpm2bAuth::EMPTY,
        hash_alg: None,
    });
}

/// An Index of every type.
fn indices(runner: &mut Runner, policy: &Tpm2bDigest) {
    let open =
        TpmaNv::OWNERREAD.0 | TpmaNv::OWNERWRITE.0 | TpmaNv::AUTHREAD.0 | TpmaNv::AUTHWRITE.0;
    let open = open | TpmaNv::NO_DA.0 | TpmaNv::READ_STCLEAR.0 | TpmaNv::WRITE_STCLEAR.0;
    let by_platform =
        TpmaNv::PLATFORMCREATE.0 | TpmaNv::POLICY_DELETE.0 | TpmaNv::PPWRITE.0 | TpmaNv::PPREAD.0;
    let kinds: [(u32, u16); 8] = [
        (open, 32),
        (open | 0x10, 8),
        (open | 0x20, 8),
        (open | 0x40, 32),
        (open & !TpmaNv::AUTHWRITE.0 | 0x80, 8),
        (open & !TpmaNv::AUTHWRITE.0 | 0x90, 8),
        (open | TpmaNv::ORDERLY.0, 64),
        (open | by_platform, 34),
    ];
    for (number, (attributes, size)) in (0u32..).zip(kinds) {
        let nv_index = TpmHt::NvIndex.handle(0x50_0000 + number);
        let by = if number == 7 {
            TpmHandle::PLATFORM
        } else {
            TpmHandle::OWNER
        };
        runner.send_command(&commands::NvDefineSpace {
            auth_handle: by.into(),
            auth: Tpm2bAuth::EMPTY,
            public_info: Tpm2bNvPublic(TpmsNvPublic {
                nv_index: nv_index.into(),
                name_alg: TpmiAlgHash::Sha256,
                attributes: TpmaNv(attributes),
                auth_policy: policy.clone(),
                data_size: NvDataSize(size),
            }),
        });
        runner.pool.add_handle(nv_index);
        let data = Tpm2bMaxNvBuffer::new(vec![0; usize::from(size)]).unwrap_or_default();
        runner.send_command(&commands::NvWrite {
            auth_handle: by.into(),
            nv_index: nv_index.into(),
            data,
            offset: 0,
        });
    }
}

/// Handles of the start.
const HANDLES: &[u32] = &[
    0,
    7,
    16,
    16,
    20,
    23,
    0x4000_0001,
    0x4000_000A,
    0x4000_000B,
    0x4000_000C,
    0x4000_0110,
    0x4000_0007,
    0x4000_0140,
    0x4001_0000,
    0x9000_0000,
    0x0150_0009,
    0x8100_0020,
    0x8180_0001,
    0x4000_0001,
    0x4000_000C,
    0x4000_000D,
];

/// Values of the start, by class.
const VALUES: &[(&str, &[&[u8]])] = &[
    (
        "TpmiAlgHash",
        &[&[0, 4], &[0, 12], &[0, 13], &[0, 11], &[0, 0x27]],
    ),
    ("TpmiAlgMacScheme", &[&[0, 4], &[0, 0x3F], &[0, 11]]),
    (
        "TpmiAlgCipherMode",
        &[&[0, 0x40], &[0, 0x41], &[0, 0x42], &[0, 0x44], &[0, 0x43]],
    ),
    ("TpmiEccKeyExchange", &[&[0, 0x1D], &[0, 0x1B], &[0, 0x19]]),
    (
        "TpmiEccCurve",
        &[&[0, 4], &[0, 5], &[0, 0x10], &[0, 0x20], &[0, 1], &[0, 3]],
    ),
    (
        "TpmtSigScheme",
        &[
            &[0, 0x14, 0, 11],
            &[0, 0x16, 0, 11],
            &[0, 0x1A, 0, 11, 0, 1],
            &[0, 0x1A, 0, 11, 0, 0],
            &[0, 0x1C, 0, 11],
            &[0, 0x1B, 0, 11],
            &[0, 5, 0, 11],
            &[0, 0x18, 0, 4],
            &[0, 0x18, 0, 11],
        ],
    ),
    (
        "TpmtRsaDecrypt",
        &[&[0, 0x15], &[0, 0x17, 0, 4], &[0, 0x17, 0, 11]],
    ),
    (
        "TpmtKdfScheme",
        &[
            &[0, 7, 0, 11],
            &[0, 0x21, 0, 11],
            &[0, 0x22, 0, 11],
            &[0, 0x20, 0, 11],
        ],
    ),
    (
        "TpmtSymDef",
        &[
            &[0, 10, 0, 11],
            &[0, 6, 1, 0, 0, 0x43],
            &[0, 6, 0, 128, 0, 0x43],
        ],
    ),
    (
        "TpmtSymDefObject",
        &[
            &[0, 6, 1, 0, 0, 0x43],
            &[0, 6, 0, 128, 0, 0x42],
            &[0, 6, 0, 128, 0, 0x43],
        ],
    ),
    (
        "TpmCap",
        &[
            &[0, 0, 0, 0],
            &[0, 0, 0, 1],
            &[0, 0, 0, 2],
            &[0, 0, 0, 3],
            &[0, 0, 0, 4],
            &[0, 0, 0, 5],
            &[0, 0, 0, 6],
            &[0, 0, 0, 7],
            &[0, 0, 0, 8],
            &[0, 0, 0, 9],
            &[0, 0, 0, 10],
            &[0, 0, 0, 11],
            &[0, 0, 1, 0],
        ],
    ),
    ("TpmSu", &[&[0, 1], &[0, 0]]),
    ("TpmSe", &[&[3], &[1], &[0]]),
    (
        "TpmEo",
        &[
            &[0, 0],
            &[0, 1],
            &[0, 2],
            &[0, 3],
            &[0, 4],
            &[0, 5],
            &[0, 6],
            &[0, 7],
            &[0, 8],
            &[0, 9],
            &[0, 10],
            &[0, 11],
        ],
    ),
    ("TpmAt", &[&[0, 0, 0, 0], &[0, 0, 0, 1], &[0, 0, 0, 2]]),
    ("TpmClockAdjust", &[&[0xFD], &[0], &[3], &[0xFF]]),
    ("TpmaLocality", &[&[1], &[8], &[0x1F], &[0x20], &[0]]),
    (
        "TpmlAlg",
        &[
            &[0, 0, 0, 0],
            &[0, 0, 0, 2, 0, 11, 0, 1],
            &[0, 0, 0, 1, 0, 6],
        ],
    ),
    (
        "TpmlCc",
        &[
            &[0, 0, 0, 1, 0, 0, 1, 0x26],
            &[0, 0, 0, 2, 0, 0, 1, 0x5D, 0, 0, 1, 0x7B],
            &[0, 0, 0, 0],
        ],
    ),
    (
        "TpmlPcrSelection",
        &[
            &[0, 0, 0, 0],
            &[0, 0, 0, 2, 0, 4, 3, 0, 0, 1, 0, 11, 3, 0xFF, 0, 0],
            &[0, 0, 0, 1, 0, 11, 3, 0xFF, 0xFF, 0xFF],
            &[0, 0, 0, 1, 0, 11, 3, 1, 0, 1],
        ],
    ),
    (
        "TpmlDigestValues",
        &[
            &[0, 0, 0, 0],
            &[
                0, 0, 0, 1, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
                19, 20,
            ],
        ],
    ),
    (
        "Tpm2bAuth",
        &[&[0, 6, b's', b'e', b'c', b'r', b'e', b't'], &[0, 0]],
    ),
    (
        "Tpm2bDigest",
        &[&[0, 3, 1, 2, 3], &[0, 8, 0, 0, 0, 0, 0, 0, 0, 1], &[0, 0]],
    ),
    (
        "Tpm2bNonce",
        &[
            &[0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            &[0, 0],
        ],
    ),
    (
        "Tpm2bMaxBuffer",
        &[
            &[0, 0],
            &[0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            &[0, 1, 7],
            &[0, 8, 0, 0, 0, 0, 0, 0, 0, 1],
        ],
    ),
    (
        "Tpm2bIv",
        &[
            &[0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0],
        ],
    ),
    ("Tpm2bTimeout", &[&[0, 0], &[0, 8, 0, 0, 0, 0, 0, 0, 0, 0]]),
    ("Tpm2bSensitive", &[&[0, 0]]),
    (
        "TpmiRhEnables",
        &[
            &[0x40, 0, 0, 1],
            &[0x40, 0, 0, 11],
            &[0x40, 0, 0, 12],
            &[0x40, 0, 0, 13],
        ],
    ),
    (
        "TpmuPublicParms",
        &[
            &[0, 0x25, 0, 6, 0, 128, 0, 0x43],
            &[0, 8, 0, 0x10],
            &[0, 0x23, 0, 0x10, 0, 0x10, 0, 3, 0, 0x10],
        ],
    ),
    ("TpmtTkHashcheck", &[&[0x80, 0x24, 0x40, 0, 0, 7, 0, 0]]),
    ("TpmtTkCreation", &[&[0x80, 0x21, 0x40, 0, 0, 7, 0, 0]]),
    ("TpmtTkVerified", &[&[0x80, 0x22, 0x40, 0, 0, 7, 0, 0]]),
    (
        "TpmtTkAuth",
        &[
            &[0x80, 0x25, 0x40, 0, 0, 7, 0, 0],
            &[0x80, 0x23, 0x40, 0, 0, 7, 0, 0],
        ],
    ),
];
