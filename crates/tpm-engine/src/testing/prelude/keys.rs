//! Persistent keys of every type, an object below the storage key, and NV Indices of every type.

use super::{AES, SHA256};
use crate::testing::sequence::Runner;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgKdf, TpmiEccCurve, TpmiRsaKeyBits, TpmsSchemeEcdaa, TpmsSchemeXor,
    TpmtEccScheme, TpmtKeyedhashScheme, TpmtRsaScheme, TpmtSymDefObject,
};
use tpm_wire::attributes::{TpmaNv, TpmaObject};
use tpm_wire::buffers::{
    Tpm2b, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bMaxNvBuffer, Tpm2bSensitiveData,
};
use tpm_wire::commands::{
    Create, CreatePrimary, CreatePrimaryResponse, EvictControl, FlushContext, Load, NvDefineSpace,
    NvWrite,
};
use tpm_wire::handles::{TpmHandle, TpmHt};
use tpm_wire::nv::{NvDataSize, Tpm2bNvPublic, TpmsNvPublic};
use tpm_wire::object::{
    Tpm2bPublic, TpmsEccParms, TpmsRsaParms, TpmsSensitiveCreate, TpmtPublic, TpmuPublicId,
    TpmuPublicParms,
};
use tpm_wire::pcr::TpmlPcrSelection;

/// The HMAC key that approves policies.
pub(in crate::testing) const APPROVER: TpmHandle = TpmHandle(0x8100_0001);
/// A storage key.
pub(super) const PARENT: TpmHandle = TpmHandle(0x8100_0002);
/// An ECC key that signs with any scheme.
pub(in crate::testing) const SIGNER: TpmHandle = TpmHandle(0x8100_0003);
/// An RSA key that signs and decrypts with any scheme.
pub(super) const RSA: TpmHandle = TpmHandle(0x8100_0004);
/// An ECC key that decrypts and agrees.
pub(in crate::testing) const AGREES: TpmHandle = TpmHandle(0x8100_0005);
/// Another storage key.
pub(super) const NEW_PARENT: TpmHandle = TpmHandle(0x8100_0006);
/// Sealed data with an authorization value that is protected from guessing.
pub(super) const SECRET: TpmHandle = TpmHandle(0x8100_0007);
/// A symmetric key for any mode.
pub(super) const CIPHER: TpmHandle = TpmHandle(0x8100_0008);
/// A key for ECDAA.
pub(in crate::testing) const ECDAA: TpmHandle = TpmHandle(0x8100_0009);
/// A key that signs what the TPM says.
pub(super) const ATTESTER: TpmHandle = TpmHandle(0x8100_000A);
/// A key from which others are derived.
pub(super) const DERIVES: TpmHandle = TpmHandle(0x8100_000B);
/// A cipher that makes MACs.
pub(super) const CMAC: TpmHandle = TpmHandle(0x8100_000C);

/// The Index of ordinary contents.
pub(super) const ORDINARY: TpmHandle = TpmHt::NvIndex.handle(0x50_0000);
/// The counter.
pub(super) const COUNTER: TpmHandle = TpmHt::NvIndex.handle(0x50_0001);
/// The bit field.
pub(super) const BITS: TpmHandle = TpmHt::NvIndex.handle(0x50_0002);
/// The Index that is extended.
pub(super) const EXTENDED: TpmHandle = TpmHt::NvIndex.handle(0x50_0003);
/// The Index of the platform, which a policy deletes.
pub(super) const OF_PLATFORM: TpmHandle = TpmHt::NvIndex.handle(0x50_0007);
/// The Index that is locked.
pub(super) const LOCKED: TpmHandle = TpmHt::NvIndex.handle(0x50_0008);
/// The Index whose contents are a policy.
pub(super) const POLICY: TpmHandle = TpmHt::NvIndex.handle(0x50_0009);

const FREE: TpmaObject = TpmaObject(
    TpmaObject::USER_WITH_AUTH.0 | TpmaObject::SENSITIVE_DATA_ORIGIN.0 | TpmaObject::NO_DA.0,
);
const FIXED: TpmaObject = TpmaObject(TpmaObject::FIXED_TPM.0 | TpmaObject::FIXED_PARENT.0);
const STORAGE: TpmaObject =
    TpmaObject(FREE.0 | FIXED.0 | TpmaObject::RESTRICTED.0 | TpmaObject::DECRYPT.0);

fn public(attributes: TpmaObject, policy: &Tpm2bDigest, parameters: TpmuPublicParms) -> TpmtPublic {
    let unique = TpmuPublicId::empty(parameters.object_type());
    TpmtPublic {
        name_alg: Some(TpmiAlgHash::Sha256),
        object_attributes: attributes,
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
    TpmuPublicParms::Rsa(TpmsRsaParms {
        symmetric: None,
        scheme,
        key_bits: TpmiRsaKeyBits(1024),
        exponent: 0,
    })
}

fn hmac() -> TpmuPublicParms {
    TpmuPublicParms::KeyedHash(Some(TpmtKeyedhashScheme::Hmac(SHA256)))
}

fn sensitive(auth: &[u8], data: &[u8]) -> TpmsSensitiveCreate {
    TpmsSensitiveCreate {
        user_auth: Tpm2bAuth::new(auth).unwrap_or_default(),
        data: Tpm2bSensitiveData::new(data.to_vec()).unwrap_or_default(),
    }
}

/// Creates a primary object and makes it persistent, if the profile has its algorithms and room for it.
fn persistent(
    runner: &mut Runner,
    persistent: TpmHandle,
    hierarchy: TpmHandle,
    key: TpmtPublic,
    sensitive: TpmsSensitiveCreate,
) -> Option<CreatePrimaryResponse> {
    let created = runner.send_command(&CreatePrimary {
        primary_handle: Some(hierarchy.into()),
        in_sensitive: Tpm2b(sensitive),
        in_public: Tpm2bPublic(key),
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    })?;
    let auth = if hierarchy == TpmHandle::PLATFORM {
        hierarchy
    } else {
        TpmHandle::OWNER
    };
    let kept = runner.send_command(&EvictControl {
        auth: auth.into(),
        object_handle: created.object_handle.into(),
        persistent_handle: persistent.into(),
    });
    runner.send_command(&FlushContext {
        flush_handle: created.object_handle.into(),
    });
    kept?;
    runner.known.pool.add_handle(persistent);
    Some(created)
}

/// Makes the key that approves policies.
#[expect(clippy::expect_used, reason = "a start that fails is a failed test")]
pub(super) fn approver(runner: &mut Runner) {
    let key = public(FREE | TpmaObject::SIGN, &Tpm2bDigest::EMPTY, hmac());
    let owner = TpmHandle::OWNER;
    persistent(runner, APPROVER, owner, key, sensitive(b"", b"")).expect("an HMAC key");
}

/// What later commands need to know of the objects.
pub(super) struct Made {
    /// How the signer was created.
    pub(super) signer: CreatePrimaryResponse,
}

/// Makes the other keys.
#[expect(clippy::expect_used, reason = "a start that fails is a failed test")]
pub(super) fn make(runner: &mut Runner, policy: &Tpm2bDigest) -> Made {
    let p256 = TpmiEccCurve::NistP256;
    let (sign, decrypt) = (TpmaObject::SIGN, TpmaObject::DECRYPT);
    let restricted = TpmaObject::RESTRICTED;
    let owner = TpmHandle::OWNER;
    let none = || sensitive(b"", b"");
    let storage = || public(STORAGE, policy, ecc(p256, Some(AES), None));
    persistent(runner, PARENT, owner, storage(), none()).expect("a storage key");
    let key = public(FREE | sign, policy, ecc(p256, None, None));
    let signer = persistent(runner, SIGNER, owner, key, none()).expect("a signing key");
    let key = public(FREE | sign | decrypt, policy, rsa(None));
    persistent(runner, RSA, owner, key, none());
    let key = public(FREE | decrypt, policy, ecc(p256, None, None));
    persistent(runner, AGREES, owner, key, none());
    let key = storage();
    persistent(runner, NEW_PARENT, TpmHandle::ENDORSEMENT, key, none());
    let sealed = TpmaObject::USER_WITH_AUTH | TpmaObject::ADMIN_WITH_POLICY;
    let key = public(sealed, policy, TpmuPublicParms::KeyedHash(None));
    persistent(runner, SECRET, owner, key, sensitive(b"secret", b"sealed"));
    let cipher = |mode| TpmuPublicParms::SymCipher(TpmtSymDefObject { mode, ..AES });
    let key = public(FREE | sign | decrypt, policy, cipher(None));
    persistent(runner, CIPHER, owner, key, none());
    let scheme = TpmtEccScheme::Ecdaa(TpmsSchemeEcdaa {
        hash_alg: TpmiAlgHash::Sha256,
        count: 0,
    });
    let bn = ecc(TpmiEccCurve::BnP256, None, Some(scheme));
    let key = public(FREE | FIXED | sign, policy, bn);
    persistent(runner, ECDAA, owner, key, none());
    let scheme = Some(TpmtEccScheme::Ecdsa(SHA256));
    let key = public(
        FREE | FIXED | restricted | sign,
        policy,
        ecc(p256, None, scheme),
    );
    persistent(runner, ATTESTER, TpmHandle::ENDORSEMENT, key, none());
    let derives = TpmuPublicParms::KeyedHash(Some(TpmtKeyedhashScheme::Xor(TpmsSchemeXor {
        hash_alg: TpmiAlgHash::Sha256,
        kdf: Some(TpmiAlgKdf::Kdf1Sp800108),
    })));
    let key = public(FREE | FIXED | restricted | decrypt, policy, derives);
    persistent(runner, DERIVES, owner, key, none());
    let mode = Some(tpm_wire::algorithm::TpmiAlgSymMode::Cmac);
    let key = public(FREE | sign, policy, cipher(mode));
    persistent(runner, CMAC, owner, key, none());
    let scheme = Some(TpmtRsaScheme::Rsapss(SHA256));
    let pss = public(FREE | sign, policy, rsa(scheme));
    persistent(
        runner,
        TpmHandle(0x8180_0001),
        TpmHandle::PLATFORM,
        pss,
        none(),
    );
    Made { signer }
}

/// Creates a child of the storage key that may leave it, and loads it.
pub(super) fn child(runner: &mut Runner, policy: &Tpm2bDigest) -> Option<TpmHandle> {
    let created = runner.send_command(&Create {
        parent_handle: PARENT.into(),
        in_sensitive: Tpm2b(sensitive(b"", b"")),
        in_public: Tpm2bPublic(public(FREE | TpmaObject::SIGN, policy, hmac())),
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    })?;
    let loaded = runner.send_command(&Load {
        parent_handle: PARENT.into(),
        in_private: created.out_private,
        in_public: Tpm2bPublic(created.out_public.0),
    })?;
    Some(loaded.object_handle)
}

/// An Index of every type.
pub(super) fn indices(runner: &mut Runner, policy: &Tpm2bDigest) {
    let open =
        TpmaNv::OWNERREAD.0 | TpmaNv::OWNERWRITE.0 | TpmaNv::AUTHREAD.0 | TpmaNv::AUTHWRITE.0;
    let open = open | TpmaNv::NO_DA.0 | TpmaNv::READ_STCLEAR.0 | TpmaNv::WRITE_STCLEAR.0;
    let open = open | TpmaNv::POLICYREAD.0 | TpmaNv::POLICYWRITE.0;
    let pin = open & !TpmaNv::AUTHWRITE.0;
    let by_platform =
        TpmaNv::PLATFORMCREATE.0 | TpmaNv::POLICY_DELETE.0 | TpmaNv::PPWRITE.0 | TpmaNv::PPREAD.0;
    let limit = [0, 0, 0, 0, 0, 0, 0, 5];
    let mut digest = [0; 34];
    digest[1] = 0x0B;
    let kinds: [(u32, u16, &[u8]); 11] = [
        (open, 32, &[6; 32]),
        (open | 0x10, 8, &[]),
        (open | 0x20, 8, &[]),
        (open | 0x40, 32, &[]),
        (pin | 0x80, 8, &limit),
        (pin | 0x90, 8, &limit),
        (open | TpmaNv::ORDERLY.0, 64, &[7; 64]),
        (open | by_platform, 34, &[1; 34]),
        (open & !TpmaNv::NO_DA.0 | TpmaNv::GLOBALLOCK.0, 8, &[2; 8]),
        (open, 34, &digest),
        (open | TpmaNv::ORDERLY.0 | 0x10, 8, &[]),
    ];
    for (number, (attributes, size, data)) in (0u32..).zip(kinds) {
        let nv_index = TpmHt::NvIndex.handle(0x50_0000 + number);
        let by = if nv_index == OF_PLATFORM {
            TpmHandle::PLATFORM
        } else {
            TpmHandle::OWNER
        };
        runner.send_command(&NvDefineSpace {
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
        runner.known.pool.add_handle(nv_index);
        if !data.is_empty() {
            runner.send_command(&NvWrite {
                auth_handle: by.into(),
                nv_index: nv_index.into(),
                data: Tpm2bMaxNvBuffer::new(data.to_vec()).unwrap_or_default(),
                offset: 0,
            });
        }
    }
}
