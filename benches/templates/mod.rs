//! Objects and NV Indices that the benches make.

use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmiEccCurve, TpmiRsaKeyBits, TpmsEccPoint,
    TpmsSchemeEcdaa, TpmsSchemeHash, TpmtEccScheme, TpmtRsaScheme, TpmtSymDefObject,
};
use tpm_wire::attributes::{TpmaNv, TpmaObject};
use tpm_wire::buffers::{
    Small, Tpm2b, Tpm2bData, Tpm2bDigest, Tpm2bPublicKeyRsa, Tpm2bSensitiveData,
};
use tpm_wire::commands::{Create, CreatePrimary, NvDefineSpace};
use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiRhHierarchy, TpmiRhNvIndex, TpmiRhProvision};
use tpm_wire::nv::{NvDataSize, Tpm2bNvPublic, TpmNt, TpmsNvPublic};
use tpm_wire::object::{
    Tpm2bPublic, Tpm2bSensitiveCreate, TpmsEccParms, TpmsRsaParms, TpmsSensitiveCreate, TpmtPublic,
    TpmuPublicId, TpmuPublicParms,
};
use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};

/// An ordinary Index.
pub(crate) const DATA: TpmHandle = TpmHandle(0x0150_0001);
/// A counter.
pub(crate) const COUNTER: TpmHandle = TpmHandle(0x0150_0002);

const SHA256: TpmsSchemeHash = TpmsSchemeHash {
    hash_alg: TpmiAlgHash::Sha256,
};
const AES_128_CFB: TpmtSymDefObject = TpmtSymDefObject {
    algorithm: TpmiAlgSymObject::Aes,
    key_bits: 128,
    mode: Some(TpmiAlgSymMode::Cfb),
};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It signs.
    Sign,
    /// It decrypts, or agrees on keys.
    Decrypt,
    /// It is the parent of others.
    Parent,
}

impl Use {
    fn attributes(self) -> TpmaObject {
        let common = TpmaObject::FIXED_TPM
            | TpmaObject::FIXED_PARENT
            | TpmaObject::SENSITIVE_DATA_ORIGIN
            | TpmaObject::USER_WITH_AUTH;
        match self {
            Self::Sign => common | TpmaObject::SIGN,
            Self::Decrypt => common | TpmaObject::DECRYPT,
            Self::Parent => common | TpmaObject::DECRYPT | TpmaObject::RESTRICTED,
        }
    }
}

fn public(
    object_attributes: TpmaObject,
    parameters: TpmuPublicParms,
    unique: TpmuPublicId,
) -> Tpm2bPublic {
    Tpm2bPublic(TpmtPublic {
        name_alg: Some(TpmiAlgHash::Sha256),
        object_attributes,
        auth_policy: Tpm2bDigest::EMPTY,
        parameters,
        unique,
    })
}

fn ecc_with(curve_id: TpmiEccCurve, purpose: Use, scheme: Option<TpmtEccScheme>) -> Tpm2bPublic {
    let symmetric = (purpose == Use::Parent).then_some(AES_128_CFB);
    let parameters = TpmuPublicParms::Ecc(TpmsEccParms {
        symmetric,
        scheme,
        curve_id,
        kdf: None,
    });
    let unique = TpmuPublicId::Ecc(TpmsEccPoint {
        x: Small::EMPTY,
        y: Small::EMPTY,
    });
    public(purpose.attributes(), parameters, unique)
}

/// An ECC key; one that signs does it by ECDSA with SHA-256.
pub(crate) fn ecc(curve: TpmiEccCurve, purpose: Use) -> Tpm2bPublic {
    ecc_with(
        curve,
        purpose,
        (purpose == Use::Sign).then_some(TpmtEccScheme::Ecdsa(SHA256)),
    )
}

/// A key that signs by ECDAA.
pub(crate) fn ecdaa(curve: TpmiEccCurve) -> Tpm2bPublic {
    let scheme = TpmsSchemeEcdaa {
        hash_alg: TpmiAlgHash::Sha256,
        count: 0,
    };
    ecc_with(curve, Use::Sign, Some(TpmtEccScheme::Ecdaa(scheme)))
}

/// An RSA-2048 key; RSASSA or OAEP with SHA-256.
pub(crate) fn rsa(purpose: Use) -> Tpm2bPublic {
    let parameters = TpmuPublicParms::Rsa(TpmsRsaParms {
        symmetric: (purpose == Use::Parent).then_some(AES_128_CFB),
        scheme: match purpose {
            Use::Sign => Some(TpmtRsaScheme::Rsassa(SHA256)),
            Use::Decrypt => Some(TpmtRsaScheme::Oaep(SHA256)),
            Use::Parent => None,
        },
        key_bits: TpmiRsaKeyBits(2048),
        exponent: 0,
    });
    public(
        purpose.attributes(),
        parameters,
        TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::EMPTY),
    )
}

/// An AES-128 key in CFB mode, for data.
pub(crate) fn aes() -> Tpm2bPublic {
    public(
        Use::Decrypt.attributes() | TpmaObject::SIGN,
        TpmuPublicParms::SymCipher(AES_128_CFB),
        TpmuPublicId::Sym(Tpm2bDigest::EMPTY),
    )
}

/// Sealed data.
pub(crate) fn sealed() -> Tpm2bPublic {
    public(
        TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT | TpmaObject::USER_WITH_AUTH,
        TpmuPublicParms::KeyedHash(None),
        TpmuPublicId::KeyedHash(Tpm2bDigest::EMPTY),
    )
}

fn sensitive(data: &[u8]) -> Tpm2bSensitiveCreate {
    Tpm2b(TpmsSensitiveCreate {
        user_auth: Small::EMPTY,
        data: Tpm2bSensitiveData::new(data.to_vec()).unwrap_or(Tpm2bSensitiveData::EMPTY),
    })
}

/// Makes a primary key of the owner.
pub(crate) fn primary(in_public: Tpm2bPublic) -> CreatePrimary {
    CreatePrimary {
        primary_handle: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
        in_sensitive: sensitive(&[]),
        in_public,
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    }
}

/// Makes a child; `data` is what is sealed.
pub(crate) fn child(parent: TpmHandle, in_public: Tpm2bPublic, data: &[u8]) -> Create {
    Create {
        parent_handle: TpmiDhObject(parent),
        in_sensitive: sensitive(data),
        in_public,
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    }
}

/// Defines an Index without authorization.
pub(crate) fn define(nv_index: TpmHandle, nv_type: TpmNt, size: u16) -> NvDefineSpace {
    let attributes = (TpmaNv::AUTHREAD | TpmaNv::AUTHWRITE | TpmaNv::NO_DA).with_type(nv_type);
    NvDefineSpace {
        auth_handle: TpmiRhProvision(TpmHandle::OWNER),
        auth: Small::EMPTY,
        public_info: Tpm2bNvPublic(TpmsNvPublic {
            nv_index: TpmiRhNvIndex(nv_index),
            name_alg: TpmiAlgHash::Sha256,
            attributes,
            auth_policy: Tpm2bDigest::EMPTY,
            data_size: NvDataSize(size),
        }),
    }
}

/// These PCRs of the SHA-256 bank.
pub(crate) fn pcrs(numbers: &[u32]) -> TpmlPcrSelection {
    let bank = TpmsPcrSelection {
        hash: TpmiAlgHash::Sha256,
        pcr_select: TpmsPcrSelect::of(numbers),
    };
    [bank].into_iter().collect()
}
