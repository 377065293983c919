//! Keys with fixed values, put straight into a slot, and what OpenSSL made with them.

use crate::keys;
use crate::object::{Object, RsaKeyCache};
use crate::testing::TestTpm;
use alloc::vec::Vec;
use tpm_crypto::ecc::PrivateKey;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmiEccCurve, TpmiRsaKeyBits, TpmsSchemeEcdaa,
    TpmsSchemeHash, TpmtEccScheme, TpmtKeyedhashScheme, TpmtRsaScheme, TpmtSigScheme,
    TpmtSymDefObject,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{
    Tpm2bAuth, Tpm2bDigest, Tpm2bEccPrivate, Tpm2bPrivateKeyRsa, Tpm2bPublicKeyRsa, Tpm2bSeed,
    Tpm2bSensitiveData, Tpm2bSymKey,
};
use tpm_wire::commands::{GetRandom, Shutdown};
use tpm_wire::constants::{TpmSt, TpmSu};
use tpm_wire::handles::{TpmHandle, TpmiDhObject};
use tpm_wire::object::{
    TpmsEccParms, TpmsRsaParms, TpmtPublic, TpmtSensitive, TpmuPublicId, TpmuPublicParms,
    TpmuSensitiveComposite,
};
use tpm_wire::ticket::TpmtTkHashcheck;

/// Attributes of a key that signs what its user wishes.
pub(crate) const SIGNS: TpmaObject = TpmaObject(0x0004_0440);
/// Attributes of a key that decrypts what its user wishes.
pub(crate) const DECRYPTS: TpmaObject = TpmaObject(0x0002_0440);
/// Attributes of a key that signs only what the TPM made.
pub(crate) const ATTESTS: TpmaObject = TpmaObject(0x0005_0440);
/// Attributes of a parent.
pub(crate) const STORES: TpmaObject = TpmaObject(0x0003_0440);

/// A scheme's SHA-256.
pub(crate) const SHA256: TpmsSchemeHash = TpmsSchemeHash {
    hash_alg: TpmiAlgHash::Sha256,
};

const P256_SCALAR: &str = "d4e0a52c76cc73b88f7d96a08c00b22a12d77a07b013f2ded8d046392ecf31c0";
const RSA_MODULUS: &str = "e71e0023d78098aab555dd77a84c5e55c3d62eec69183626c7dcc17ac7f9d840adbe57eb8564cebebedbe322196b20d45dda416ef751467a3def0bf7ee8c8ec1d02ed0551a6eaf4581ee32150b33f97b18060f700ced75b3f2a85ff08469984eda88d6a11daeebb7d9cd91255247f9f42a0a685753cf6a760ffe8eef926f152a4bce6fcf786e02457d24d4ce9276aa37abc48242755cafa320ffd5bdc69e603bf9865b99dbaa3832ad130978eaa0910cf96a060f3edac40986b37fb386cbacb36003074b4462d0233aada673bb04ea225b401dc737464dfca009eaded7b1afc1545ae2d3a345e77cccd678a8538d6a109da7812bb4bcf01b3aa48de72d609d1d";
const RSA_PRIME: &str = "fd60417ab59cabc1d410fdba564c78b61d6ae49cf2b27d98a0aa23ce2cb96988d50a4ae093044906a472b21af1d8635609e9db42096f0783d101d865fb2030776508ab994f1c8cd9994dd46f8774311adb5f8bb39fc0528804e4cc75950b089d8137bee78558998f60caf730e2ae2c85a29f68d9125dc8f58c73df6f83f0ff33";
const HMAC_KEY: &str = "f9ccd92bb6af4cb45e43113867e61dab39a4e7a2a0a88980a940250637773199";
const AES_KEY: &str = "9899f1fec6613468ccb72b9a4d6ac3fa";

/// SHA-256 of "message".
pub(crate) const DIGEST: &str = "ab530a13e45914982b79f9b7e3fba994cfd1f3fb22f71cea1afbf02b460c6d1d";

/// Bytes from hexadecimal digits.
pub(crate) fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap()
}

/// [`DIGEST`] as a parameter.
pub(crate) fn digest() -> Tpm2bDigest {
    Tpm2bDigest::new(&bytes(DIGEST)).unwrap()
}

/// A ticket that says nothing.
pub(crate) fn no_ticket() -> TpmtTkHashcheck {
    TpmtTkHashcheck {
        tag: TpmSt::HASHCHECK,
        hierarchy: None,
        digest: Tpm2bDigest::EMPTY,
    }
}

fn object(
    parameters: TpmuPublicParms,
    unique: TpmuPublicId,
    secret: TpmuSensitiveComposite,
    object_attributes: TpmaObject,
) -> Object {
    let public = TpmtPublic {
        name_alg: Some(TpmiAlgHash::Sha256),
        object_attributes,
        auth_policy: Tpm2bDigest::EMPTY,
        parameters,
        unique,
    };
    let name = Object::name_of(&public);
    let parent = TpmHandle::OWNER.0.to_be_bytes();
    let qualified_name = Object::qualified_name_of(public.name_alg, &parent, &name);
    Object {
        public,
        sensitive: Some(TpmtSensitive {
            auth_value: Tpm2bAuth::EMPTY,
            seed_value: Tpm2bSeed::EMPTY,
            sensitive: secret,
        }),
        name,
        qualified_name,
        hierarchy: TpmHandle::OWNER,
        external: false,
        primary: false,
        st_clear: false,
        rsa: RsaKeyCache::default(),
    }
}

/// A key on P-256.
pub(crate) fn ecc(scheme: Option<TpmtEccScheme>, attributes: TpmaObject) -> Object {
    ecc_on(
        TpmiEccCurve::NistP256,
        &bytes(P256_SCALAR),
        scheme,
        attributes,
    )
}

/// A key on any curve.
pub(crate) fn ecc_on(
    curve_id: TpmiEccCurve,
    scalar: &[u8],
    scheme: Option<TpmtEccScheme>,
    attributes: TpmaObject,
) -> Object {
    let private = PrivateKey::new(keys::curve(curve_id), scalar).unwrap();
    let parameters = TpmsEccParms {
        symmetric: None,
        scheme,
        curve_id,
        kdf: None,
    };
    object(
        TpmuPublicParms::Ecc(parameters),
        TpmuPublicId::Ecc(keys::wire_point(&private.public())),
        TpmuSensitiveComposite::Ecc(Tpm2bEccPrivate::new(private.as_bytes()).unwrap()),
        attributes,
    )
}

/// An RSA key of 2048 bits.
pub(crate) fn rsa(scheme: Option<TpmtRsaScheme>, attributes: TpmaObject) -> Object {
    let parameters = TpmsRsaParms {
        symmetric: None,
        scheme,
        key_bits: TpmiRsaKeyBits(2048),
        exponent: 0,
    };
    object(
        TpmuPublicParms::Rsa(parameters),
        TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(bytes(RSA_MODULUS)).unwrap()),
        TpmuSensitiveComposite::Rsa(Tpm2bPrivateKeyRsa::new(bytes(RSA_PRIME)).unwrap()),
        attributes,
    )
}

/// A keyed hash object.
pub(crate) fn hmac(scheme: Option<TpmtKeyedhashScheme>, attributes: TpmaObject) -> Object {
    object(
        TpmuPublicParms::KeyedHash(scheme),
        TpmuPublicId::KeyedHash(Tpm2bDigest::zeros(32)),
        TpmuSensitiveComposite::Bits(Tpm2bSensitiveData::new(bytes(HMAC_KEY)).unwrap()),
        attributes,
    )
}

/// An AES key of 128 bits.
pub(crate) fn aes(mode: Option<TpmiAlgSymMode>, attributes: TpmaObject) -> Object {
    let cipher = TpmtSymDefObject {
        algorithm: TpmiAlgSymObject::Aes,
        key_bits: 128,
        mode,
    };
    object(
        TpmuPublicParms::SymCipher(cipher),
        TpmuPublicId::Sym(Tpm2bDigest::zeros(32)),
        TpmuSensitiveComposite::Sym(Tpm2bSymKey::new(&bytes(AES_KEY)).unwrap()),
        attributes,
    )
}

/// Loads a key.
pub(crate) fn load(tpm: &mut TestTpm, key: Object) -> TpmiDhObject {
    TpmiDhObject(tpm.objects.load(key).unwrap())
}

/// An anonymous scheme with the count of a commit.
pub(crate) fn ecdaa(count: u16) -> TpmtSigScheme {
    TpmtSigScheme::Ecdaa(TpmsSchemeEcdaa {
        hash_alg: TpmiAlgHash::Sha256,
        count,
    })
}

/// The scheme of a key that signs anonymously.
pub(crate) const ECDAA_KEY: TpmtEccScheme = TpmtEccScheme::Ecdaa(TpmsSchemeEcdaa {
    hash_alg: TpmiAlgHash::Sha256,
    count: 0,
});

/// `TPM2_Shutdown(STATE)`, and a command after it that changes nothing.
pub(crate) fn shut_down(tpm: &mut TestTpm) {
    let shutdown_type = TpmSu::State;
    tpm.run(Shutdown { shutdown_type }).unwrap();
    tpm.run(GetRandom { bytes_requested: 0 }).unwrap();
    assert!(tpm.power.is_orderly());
}
