//! Keys and sealed data for the tests of this and other chapters.

use crate::object::{Lineage, Object, Sequence, SequenceState, Slot};
use crate::protection::Protector;
use crate::testing::{Auth, TestTpm};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::ecc;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmiEccCurve, TpmiRsaKeyBits, TpmsEccPoint,
    TpmsSchemeHash, TpmtEccScheme, TpmtKdfScheme, TpmtKeyedhashScheme, TpmtSymDefObject,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Small, Tpm2b, Tpm2bAuth, Tpm2bData, Tpm2bDigest, Tpm2bPrivate, Tpm2bPrivateKeyRsa,
    Tpm2bPublicKeyRsa, Tpm2bSeed, Tpm2bSensitiveData,
};
use tpm_wire::commands::{
    Create, CreatePrimary, CreatePrimaryResponse, CreateResponse, Load, LoadExternal,
};
use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
use tpm_wire::object::{
    Tpm2bPublic, Tpm2bSensitive, TpmsEccParms, TpmsRsaParms, TpmsSensitiveCreate, TpmtPublic,
    TpmtSensitive, TpmuPublicId, TpmuPublicParms, TpmuSensitiveComposite,
};
use tpm_wire::pcr::TpmlPcrSelection;
use tpm_wire::rc::Rc;
use zeroize::Zeroizing;

/// Modulus of a fixed RSA key of 2048 bits.
pub(crate) const RSA_MODULUS: &str = "aa88e79bc3e5855741dd9f153d5027da5df5ed998b8fb77b1f42e6f9f8262ea2f7eca6af8ea2a83eef81456f973814bd\
        3e69e6b74573058fa0a037e462bde78c53c0079d3f706713559100554b25c6df169a30646f8678af8704dc569da39d58\
        e18ac9bb0980533dc3508f6f7179c52bf851bc46941ab75daac38531ea79a5054e464cc32a64f18ec64f548f2d253a58\
        72bcc1b0ce9f8965ff31c9819d44cb8fcd07053546e0587901447749e5c6b7a70d192af49f754cc64be316dad8bed01d\
        cdc01e670c95712a737b11aa6fcff0154e78f28edc8df6acd9da864fe1794618f4a42d4745897d2688269a9f64722db4\
        eef003c4d433d485de9f272fd62c034f";

/// A prime factor of it.
pub(crate) const RSA_PRIME: &str = "e5a0e69f5ba4e8fe344ef93e3966a065caf8c4bd51ee82f8cab55dfc98c71c3ef7d461d6d9ebac85c8c82a9485b6ab91\
        8c4ce47eba83435b322fc77fb070041bb1ca0a9f2eb0f56c2ca918371e864281b7410e6fec3ac9d0874d5c89b71689d3\
        1538684f6631c95617263e6b4286d6403a8feb8e0b62d423ff8ddcd75681baf1";

/// AES of 128 bits in CFB mode, as storage keys have it.
pub(crate) const AES_128_CFB: TpmtSymDefObject = TpmtSymDefObject {
    algorithm: TpmiAlgSymObject::Aes,
    key_bits: 128,
    mode: Some(TpmiAlgSymMode::Cfb),
};

/// Attributes of an object that never leaves its parent, used by its authorization value and made by the TPM.
pub(crate) const FIXED: TpmaObject = TpmaObject(
    TpmaObject::FIXED_TPM.0
        | TpmaObject::FIXED_PARENT.0
        | TpmaObject::USER_WITH_AUTH.0
        | TpmaObject::SENSITIVE_DATA_ORIGIN.0,
);

/// Attributes of a key that can be duplicated, used by its authorization value and made by the TPM.
pub(crate) const MOVABLE: TpmaObject =
    TpmaObject(TpmaObject::USER_WITH_AUTH.0 | TpmaObject::SENSITIVE_DATA_ORIGIN.0);

/// Attributes that make a storage key.
pub(crate) const STORAGE: TpmaObject = TpmaObject(TpmaObject::RESTRICTED.0 | TpmaObject::DECRYPT.0);

/// A template of any type, with SHA-256 and an empty policy.
pub(crate) fn template(attributes: TpmaObject, parameters: TpmuPublicParms) -> TpmtPublic {
    let unique = TpmuPublicId::empty(parameters.object_type());
    TpmtPublic {
        name_alg: Some(TpmiAlgHash::Sha256),
        object_attributes: attributes,
        auth_policy: Tpm2bDigest::EMPTY,
        parameters,
        unique,
    }
}

/// A P-256 key without scheme; a storage key if `attributes` say so.
pub(crate) fn ecc_template(attributes: TpmaObject) -> TpmtPublic {
    let parameters = TpmsEccParms {
        symmetric: attributes.contains(STORAGE).then_some(AES_128_CFB),
        scheme: None,
        curve_id: TpmiEccCurve::NistP256,
        kdf: None,
    };
    template(attributes, TpmuPublicParms::Ecc(parameters))
}

/// An RSA key of 2048 bits without scheme; a storage key if `attributes` say so.
pub(crate) fn rsa_template(attributes: TpmaObject) -> TpmtPublic {
    let parameters = TpmsRsaParms {
        symmetric: attributes.contains(STORAGE).then_some(AES_128_CFB),
        scheme: None,
        key_bits: TpmiRsaKeyBits(2048),
        exponent: 0,
    };
    template(attributes, TpmuPublicParms::Rsa(parameters))
}

/// Sealed data.
pub(crate) fn sealed_template() -> TpmtPublic {
    let attributes = FIXED.without(TpmaObject::SENSITIVE_DATA_ORIGIN);
    template(attributes, TpmuPublicParms::KeyedHash(None))
}

/// An HMAC key with SHA-256.
pub(crate) fn hmac_template() -> TpmtPublic {
    let scheme = TpmtKeyedhashScheme::Hmac(TpmsSchemeHash {
        hash_alg: TpmiAlgHash::Sha256,
    });
    template(
        FIXED | TpmaObject::SIGN,
        TpmuPublicParms::KeyedHash(Some(scheme)),
    )
}

/// An AES key that encrypts and decrypts in the mode given, or in any.
pub(crate) fn symmetric_template(mode: Option<TpmiAlgSymMode>) -> TpmtPublic {
    let cipher = TpmtSymDefObject {
        mode,
        ..AES_128_CFB
    };
    template(
        FIXED | TpmaObject::SIGN | TpmaObject::DECRYPT,
        TpmuPublicParms::SymCipher(cipher),
    )
}

/// Authorization value and data of an object to create.
pub(crate) fn sensitive(auth: &[u8], data: &[u8]) -> TpmsSensitiveCreate {
    TpmsSensitiveCreate {
        user_auth: Tpm2bAuth::new(auth).unwrap(),
        data: Tpm2bSensitiveData::new(data.to_vec()).unwrap(),
    }
}

/// Creates a primary object with an empty authorization value.
pub(crate) fn primary(
    tpm: &mut TestTpm,
    hierarchy: TpmHandle,
    public: TpmtPublic,
) -> Result<CreatePrimaryResponse, Rc> {
    tpm.run(CreatePrimary {
        primary_handle: (hierarchy != TpmHandle::NULL).then_some(TpmiRhHierarchy(hierarchy)),
        in_sensitive: Tpm2b(sensitive(&[], &[])),
        in_public: Tpm2bPublic(public),
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    })
}

/// A storage key in the owner hierarchy: P-256, AES-128.
pub(crate) fn primary_storage_ecc(tpm: &mut TestTpm) -> TpmHandle {
    let public = ecc_template(FIXED | STORAGE | TpmaObject::NO_DA);
    primary(tpm, TpmHandle::OWNER, public)
        .unwrap()
        .object_handle
}

/// A storage key in the owner hierarchy: RSA of 2048 bits, AES-128. Its creation takes a second.
pub(crate) fn primary_rsa(tpm: &mut TestTpm) -> TpmHandle {
    let public = rsa_template(FIXED | STORAGE | TpmaObject::NO_DA);
    primary(tpm, TpmHandle::OWNER, public)
        .unwrap()
        .object_handle
}

/// Creates an object under a parent that an empty authorization value opens.
pub(crate) fn create(
    tpm: &mut TestTpm,
    parent: TpmHandle,
    public: TpmtPublic,
    create: TpmsSensitiveCreate,
) -> Result<CreateResponse, Rc> {
    tpm.run(Create {
        parent_handle: parent.into(),
        in_sensitive: Tpm2b(create),
        in_public: Tpm2bPublic(public),
        outside_info: Tpm2bData::EMPTY,
        creation_pcr: TpmlPcrSelection::new(),
    })
}

/// Loads what was created.
pub(crate) fn load(
    tpm: &mut TestTpm,
    parent: TpmHandle,
    created: &CreateResponse,
) -> Result<TpmHandle, Rc> {
    let response = tpm.run(Load {
        parent_handle: parent.into(),
        in_private: created.out_private.clone(),
        in_public: Tpm2bPublic(created.out_public.0.clone()),
    })?;
    Ok(response.object_handle)
}

/// Creates and loads an object.
pub(crate) fn child(
    tpm: &mut TestTpm,
    parent: TpmHandle,
    public: TpmtPublic,
    sensitive: TpmsSensitiveCreate,
) -> TpmHandle {
    let created = create(tpm, parent, public, sensitive).unwrap();
    load(tpm, parent, &created).unwrap()
}

/// A P-256 signing key without scheme, its authorization value empty.
pub(crate) fn signing_key_ecc(tpm: &mut TestTpm, parent: TpmHandle) -> TpmHandle {
    let public = ecc_template(FIXED | TpmaObject::SIGN);
    child(tpm, parent, public, sensitive(&[], &[]))
}

/// Sealed data.
pub(crate) fn sealed(tpm: &mut TestTpm, parent: TpmHandle, auth: &[u8], data: &[u8]) -> TpmHandle {
    child(tpm, parent, sealed_template(), sensitive(auth, data))
}

/// An HMAC key that the TPM made, its authorization value empty.
pub(crate) fn hmac_key(tpm: &mut TestTpm, parent: TpmHandle) -> TpmHandle {
    child(tpm, parent, hmac_template(), sensitive(&[], &[]))
}

/// An AES-128 key for any mode, its authorization value empty.
pub(crate) fn symmetric_key(tpm: &mut TestTpm, parent: TpmHandle) -> TpmHandle {
    child(tpm, parent, symmetric_template(None), sensitive(&[], &[]))
}

/// The sensitive area of an external object, without authorization value.
pub(crate) fn external_sensitive(sensitive: TpmuSensitiveComposite, seed: &[u8]) -> TpmtSensitive {
    TpmtSensitive {
        auth_value: Tpm2bAuth::EMPTY,
        seed_value: Tpm2bSeed::new(seed).unwrap(),
        sensitive,
    }
}

/// Loads an external object into the NULL hierarchy if it has a sensitive area, otherwise into the owner's.
pub(crate) fn load_external(
    tpm: &mut TestTpm,
    public: TpmtPublic,
    sensitive: Option<TpmtSensitive>,
) -> Result<TpmHandle, Rc> {
    let hierarchy = match sensitive {
        Some(_) => None,
        None => Some(TpmiRhHierarchy(TpmHandle::OWNER)),
    };
    let response = tpm.run(LoadExternal {
        in_private: Tpm2bSensitive(sensitive),
        in_public: Tpm2b(public),
        hierarchy,
    })?;
    Ok(response.object_handle)
}

/// The public area of the fixed RSA key, without scheme.
pub(crate) fn rsa_public(attributes: TpmaObject) -> TpmtPublic {
    let modulus = hex::decode(RSA_MODULUS).unwrap();
    let mut public = rsa_template(attributes);
    public.unique = TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(modulus).unwrap());
    public
}

/// The sensitive area of the fixed RSA key.
pub(crate) fn rsa_sensitive() -> TpmtSensitive {
    let prime = Tpm2bPrivateKeyRsa::new(hex::decode(RSA_PRIME).unwrap()).unwrap();
    external_sensitive(TpmuSensitiveComposite::Rsa(prime), &[])
}

/// The fixed RSA key as an external object that signs and decrypts, without scheme.
pub(crate) fn rsa_key(tpm: &mut TestTpm) -> TpmHandle {
    let public = rsa_public(TpmaObject::USER_WITH_AUTH | TpmaObject::SIGN | TpmaObject::DECRYPT);
    load_external(tpm, public, Some(rsa_sensitive())).unwrap()
}

/// The scalar 1 of P-256 and its point, the generator: a key whose parts are known.
pub(crate) fn ecc_generator(attributes: TpmaObject) -> (TpmtPublic, TpmtSensitive) {
    let coordinate = |text| Small::new(&hex::decode(text).unwrap()).unwrap();
    let mut public = ecc_template(attributes);
    public.unique = TpmuPublicId::Ecc(TpmsEccPoint {
        x: coordinate("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
        y: coordinate("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
    });
    let mut scalar = vec![0; 31];
    scalar.push(1);
    let sensitive = TpmuSensitiveComposite::Ecc(Small::new(&scalar).unwrap());
    (public, external_sensitive(sensitive, &[]))
}

/// Passwords, in the order of the handles.
pub(crate) fn passwords(values: &[&[u8]]) -> Vec<Auth> {
    values.iter().map(|value| Auth::password(value)).collect()
}

/// The hexadecimal values behind a name in `testdata/other-tpm.txt`.
pub(crate) fn vector(name: &str) -> Vec<Vec<u8>> {
    include_str!("../../../testdata/other-tpm.txt")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap()
        .split(' ')
        .map(|value| hex::decode(value.trim_matches('-')).unwrap())
        .collect()
}

/// Puts an object with known parts into a slot, as no command would.
pub(crate) fn put(
    tpm: &mut TestTpm,
    public: TpmtPublic,
    sensitive: Option<TpmtSensitive>,
) -> TpmHandle {
    let lineage = Lineage::Primary(TpmHandle::OWNER);
    let object = Object::new(public, sensitive, lineage);
    tpm.objects.load(object).unwrap()
}

/// The P-256 storage key of `testdata/other-tpm.txt`.
pub(crate) fn vector_storage_ecc(tpm: &mut TestTpm) -> TpmHandle {
    let scalar = vector("storage-ecc").remove(0);
    let key = ecc::PrivateKey::new(ecc::Curve::NistP256, &scalar).unwrap();
    let mut public = ecc_template(FIXED | STORAGE);
    public.unique = TpmuPublicId::Ecc(crate::keys::wire_point(&key.public()));
    let sensitive = TpmuSensitiveComposite::Ecc(Small::new(&scalar).unwrap());
    let sensitive = external_sensitive(sensitive, &[3; 32]);
    put(tpm, public, Some(sensitive))
}

/// The RSA storage key of `testdata/other-tpm.txt`: the fixed key.
pub(crate) fn vector_storage_rsa(tpm: &mut TestTpm) -> TpmHandle {
    let mut sensitive = rsa_sensitive();
    sensitive.seed_value = Tpm2bSeed::new(&[4; 32]).unwrap();
    put(tpm, rsa_public(FIXED | STORAGE), Some(sensitive))
}

/// A hash sequence: an object without public area.
pub(crate) fn sequence(tpm: &mut TestTpm) -> TpmHandle {
    let state = SequenceState::Event(Vec::new());
    let auth = Tpm2bAuth::EMPTY;
    let sequence = Slot::Sequence(Box::new(Sequence { auth, state }));
    tpm.objects.insert(sequence).unwrap()
}

/// Fills all slots but `free`.
pub(crate) fn fill_slots(tpm: &mut TestTpm, free: usize) {
    while tpm.objects.free() > free {
        sequence(tpm);
    }
}

/// The template of an ECC key with a KDF, which no key may have.
pub(crate) fn with_kdf(mut public: TpmtPublic) -> TpmtPublic {
    if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
        parameters.kdf = Some(TpmtKdfScheme::Kdf2(SHA256));
    }
    public
}

/// The template of an ECC key with a scheme that signs.
pub(crate) fn with_scheme(mut public: TpmtPublic) -> TpmtPublic {
    if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
        parameters.scheme = Some(TpmtEccScheme::Ecdsa(SHA256));
    }
    public
}

/// The template of an ECC key with AES in CFB mode of so many bits, or without a cipher.
pub(crate) fn with_symmetric(mut public: TpmtPublic, key_bits: Option<u16>) -> TpmtPublic {
    if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
        parameters.symmetric = key_bits.map(|key_bits| TpmtSymDefObject {
            key_bits,
            ..AES_128_CFB
        });
    }
    public
}

/// The template of an RSA signing key of so many bits.
pub(crate) fn with_key_bits(bits: u16) -> TpmtPublic {
    let mut public = rsa_template(FIXED | TpmaObject::SIGN);
    if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
        parameters.key_bits = TpmiRsaKeyBits(bits);
    }
    public
}

/// The template of a triple DES key with two keys, for any mode.
pub(crate) fn with_tdes() -> TpmtPublic {
    let mut public = symmetric_template(None);
    if let TpmuPublicParms::SymCipher(cipher) = &mut public.parameters {
        (cipher.algorithm, cipher.key_bits) = (TpmiAlgSymObject::Tdes, 128);
    }
    public
}

/// An RSA storage key of 1024 bits with this Name algorithm, of which the public area alone is loaded.
pub(crate) fn short_storage_rsa(tpm: &mut TestTpm, name_alg: TpmiAlgHash) -> TpmHandle {
    let mut public = with_key_bits(1024);
    public.object_attributes = FIXED | STORAGE;
    public.name_alg = Some(name_alg);
    if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
        parameters.symmetric = Some(AES_128_CFB);
    }
    let modulus = Tpm2bPublicKeyRsa::new(vec![0xFF; 128]).unwrap();
    public.unique = TpmuPublicId::Rsa(modulus);
    load_external(tpm, public, None).unwrap()
}

/// Makes the private area of an object as whoever knows the seed of its parent can.
pub(crate) fn forge(
    tpm: &TestTpm,
    parent: TpmHandle,
    public: &TpmtPublic,
    sensitive: &TpmtSensitive,
) -> Tpm2bPrivate {
    let parent = Protector::parent(tpm.objects.get(parent).unwrap()).unwrap();
    let mut random = Drbg::new(&[5; 32], &[]);
    parent
        .wrap_private(
            &Object::name_of(public),
            public.name_alg,
            sensitive,
            &mut random,
        )
        .unwrap()
}

/// A wrap whose integrity is right and whose encrypted part are these bytes, at most one block.
pub(crate) fn forge_encrypted(protector: &Protector<'_>, name: &[u8], bytes: &[u8]) -> Vec<u8> {
    let wrap = |data: Vec<u8>| protector.wrap(name, None, Zeroizing::new(data)).unwrap();
    let zeros = wrap(vec![0; bytes.len()]);
    let stream = &zeros[zeros.len() - bytes.len()..];
    wrap(stream.iter().zip(bytes).map(|(a, b)| a ^ b).collect())
}

const SHA256: TpmsSchemeHash = TpmsSchemeHash {
    hash_alg: TpmiAlgHash::Sha256,
};
