//! Each rule of a public area, and the code that breaking it gives.

use super::{check_attributes, check_creation, check_schemes};
use crate::commands::object::build::{
    AES_128_CFB, FIXED, MOVABLE, STORAGE, ecc_template, hmac_template, rsa_template,
    sealed_template, symmetric_template, template,
};
use crate::object::{Lineage, Object};
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgKdf, TpmiAlgSymMode, TpmsSchemeEcdaa, TpmsSchemeHash, TpmsSchemeXor,
    TpmtEccScheme, TpmtKdfScheme, TpmtKeyedhashScheme, TpmtRsaScheme,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Small, Tpm2bAuth, Tpm2bDigest, Tpm2bSeed};
use tpm_wire::codec::TpmsEmpty;
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{TpmtPublic, TpmtSensitive, TpmuPublicParms, TpmuSensitiveComposite};
use tpm_wire::rc::Rc;

const OWNER: Lineage<'_> = Lineage::Primary(TpmHandle::OWNER);
const SHA256: TpmsSchemeHash = TpmsSchemeHash {
    hash_alg: TpmiAlgHash::Sha256,
};
const SIGN: TpmaObject = TpmaObject::SIGN;
const DECRYPT: TpmaObject = TpmaObject::DECRYPT;
const RESTRICTED: TpmaObject = TpmaObject::RESTRICTED;
const ORIGIN: TpmaObject = TpmaObject::SENSITIVE_DATA_ORIGIN;

/// A storage key as a parent; what its secrets are does not matter here.
fn parent(attributes: TpmaObject) -> Object {
    let sensitive = TpmtSensitive {
        auth_value: Tpm2bAuth::EMPTY,
        seed_value: Tpm2bSeed::zeros(32),
        sensitive: TpmuSensitiveComposite::Ecc(Small::EMPTY),
    };
    Object::new(ecc_template(attributes | STORAGE), Some(sensitive), OWNER)
}

fn with(mut public: TpmtPublic, attributes: TpmaObject) -> TpmtPublic {
    public.object_attributes = attributes;
    public
}

fn keyed_hash(attributes: TpmaObject, scheme: Option<TpmtKeyedhashScheme>) -> TpmtPublic {
    template(attributes, TpmuPublicParms::KeyedHash(scheme))
}

fn xor(kdf: Option<TpmiAlgKdf>) -> Option<TpmtKeyedhashScheme> {
    Some(TpmtKeyedhashScheme::Xor(TpmsSchemeXor {
        hash_alg: TpmiAlgHash::Sha256,
        kdf,
    }))
}

fn ecc(attributes: TpmaObject, scheme: TpmtEccScheme) -> TpmtPublic {
    let mut public = ecc_template(attributes);
    if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
        parameters.scheme = Some(scheme);
    }
    public
}

fn rsa(attributes: TpmaObject, scheme: TpmtRsaScheme) -> TpmtPublic {
    let mut public = rsa_template(attributes);
    if let TpmuPublicParms::Rsa(parameters) = &mut public.parameters {
        parameters.scheme = Some(scheme);
    }
    public
}

#[test]
fn good_templates_pass() {
    for public in [
        ecc_template(FIXED | STORAGE),
        rsa_template(FIXED | STORAGE),
        ecc_template(FIXED | SIGN),
        ecc_template(FIXED | DECRYPT),
        ecc_template(MOVABLE | SIGN | DECRYPT),
        ecc(FIXED | SIGN | RESTRICTED, TpmtEccScheme::Ecdsa(SHA256)),
        rsa(FIXED | SIGN | RESTRICTED, TpmtRsaScheme::Rsapss(SHA256)),
        hmac_template(),
        symmetric_template(None),
        symmetric_template(Some(TpmiAlgSymMode::Cbc)),
        with(symmetric_template(Some(TpmiAlgSymMode::Cmac)), FIXED | SIGN),
    ] {
        assert_eq!(check_creation(OWNER, &public, false), Ok(()), "{public:?}");
    }
    assert_eq!(check_creation(OWNER, &sealed_template(), true), Ok(()));
}

#[test]
fn the_source_of_the_data_must_be_clear() {
    let root = parent(FIXED);
    let child = Lineage::Child(&root);
    let refused = Err(Rc::ATTRIBUTES);
    assert_eq!(check_creation(child, &sealed_template(), false), refused);
    assert_eq!(check_creation(child, &hmac_template(), true), refused);
    // Data stir the derivation of a primary object.
    assert_eq!(check_creation(OWNER, &hmac_template(), true), Ok(()));
    let data_by_tpm = with(sealed_template(), FIXED);
    assert_eq!(check_creation(child, &data_by_tpm, false), refused);
    let given_key = ecc_template((FIXED | SIGN).without(ORIGIN));
    assert_eq!(check_creation(child, &given_key, true), refused);
}

#[test]
fn a_symmetric_parent_made_of_given_data_can_be_duplicated() {
    let attributes = (FIXED | STORAGE).without(ORIGIN);
    let movable = (MOVABLE | STORAGE).without(ORIGIN);
    for public in [
        with(symmetric_template(Some(TpmiAlgSymMode::Cfb)), attributes),
        keyed_hash(attributes, xor(Some(TpmiAlgKdf::Kdf1Sp800108))),
    ] {
        assert_eq!(check_creation(OWNER, &public, true), Err(Rc::ATTRIBUTES));
        let public = with(public, movable);
        assert_eq!(check_creation(OWNER, &public, true), Ok(()));
    }
}

#[test]
fn attributes_must_not_contradict_each_other() {
    for attributes in [
        // fixedTPM and fixedParent differ under a parent that is fixedTPM.
        (FIXED | SIGN).without(TpmaObject::FIXED_PARENT),
        (FIXED | SIGN).without(TpmaObject::FIXED_TPM),
        // A restricted key signs or decrypts, not both and not neither.
        FIXED | RESTRICTED | SIGN | DECRYPT,
        FIXED | RESTRICTED,
        // Only data do neither.
        FIXED,
        FIXED | SIGN | TpmaObject::ENCRYPTED_DUPLICATION,
        // Limits need a limited hierarchy.
        FIXED | SIGN | TpmaObject::FIRMWARE_LIMITED,
        FIXED | SIGN | TpmaObject::SVN_LIMITED,
    ] {
        let public = ecc_template(attributes);
        let checked = check_attributes(Some(OWNER), &public);
        assert_eq!(checked, Err(Rc::ATTRIBUTES), "{attributes:?}");
    }
}

#[test]
fn limits_are_inherited() {
    let limited = |limit| ecc_template(FIXED | SIGN | limit);
    let firmware = limited(TpmaObject::FIRMWARE_LIMITED);
    let svn = limited(TpmaObject::SVN_LIMITED);
    let primary = |handle| Some(Lineage::Primary(handle));
    assert_eq!(
        check_attributes(primary(TpmHandle::FW_OWNER), &firmware),
        Ok(())
    );
    assert_eq!(
        check_attributes(primary(TpmHandle::SVN_OWNER_BASE), &svn),
        Ok(())
    );
    for (lineage, public) in [
        (primary(TpmHandle::SVN_OWNER_BASE), &firmware),
        (primary(TpmHandle::FW_OWNER), &svn),
        (None, &svn),
    ] {
        assert_eq!(check_attributes(lineage, public), Err(Rc::ATTRIBUTES));
    }
    let root = parent(FIXED);
    let limited_root = parent(FIXED | TpmaObject::FIRMWARE_LIMITED);
    let child = |parent| check_attributes(Some(Lineage::Child(parent)), &firmware);
    assert_eq!(child(&root), Err(Rc::ATTRIBUTES));
    assert_eq!(child(&limited_root), Ok(()));
    let movable = ecc_template(MOVABLE | SIGN | TpmaObject::FIRMWARE_LIMITED);
    let checked = check_attributes(primary(TpmHandle::FW_OWNER), &movable);
    assert_eq!(checked, Err(Rc::ATTRIBUTES));
}

#[test]
fn a_child_follows_a_parent_that_can_be_duplicated() {
    let encrypted = TpmaObject::ENCRYPTED_DUPLICATION;
    let movable = parent(MOVABLE);
    let encrypted_parent = parent(MOVABLE | encrypted);
    let check = |parent, attributes| {
        check_attributes(Some(Lineage::Child(parent)), &ecc_template(attributes))
    };
    assert_eq!(check(&movable, FIXED | SIGN), Err(Rc::ATTRIBUTES));
    let fixed_parent = MOVABLE | SIGN | TpmaObject::FIXED_PARENT;
    assert_eq!(check(&movable, fixed_parent), Ok(()));
    assert_eq!(
        check(&movable, MOVABLE | SIGN | encrypted),
        Err(Rc::ATTRIBUTES)
    );
    assert_eq!(
        check(&encrypted_parent, MOVABLE | SIGN),
        Err(Rc::ATTRIBUTES)
    );
    assert_eq!(check(&encrypted_parent, MOVABLE | SIGN | encrypted), Ok(()));
}

#[test]
fn name_algorithm_and_policy_are_checked_first() {
    let mut public = ecc_template(TpmaObject::NONE);
    public.auth_policy = Tpm2bDigest::zeros(20);
    assert_eq!(check_attributes(Some(OWNER), &public), Err(Rc::SIZE));
    public.name_alg = None;
    assert_eq!(check_attributes(Some(OWNER), &public), Err(Rc::HASH));
}

#[test]
fn a_fixed_storage_key_has_the_algorithms_of_its_parent() {
    let root = parent(FIXED);
    let mut public = ecc_template(FIXED | STORAGE);
    assert_eq!(check_schemes(Some(&root), &public), Ok(()));
    if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
        parameters.symmetric = Some(tpm_wire::algorithm::TpmtSymDefObject {
            key_bits: 256,
            ..AES_128_CFB
        });
    }
    assert_eq!(check_schemes(Some(&root), &public), Err(Rc::SYMMETRIC));
    assert_eq!(check_schemes(None, &public), Ok(()));
    let movable = with(public.clone(), MOVABLE | STORAGE);
    assert_eq!(check_schemes(Some(&root), &movable), Ok(()));
    public.name_alg = Some(TpmiAlgHash::Sha384);
    assert_eq!(check_schemes(Some(&root), &public), Err(Rc::HASH));
}

#[test]
fn symmetric_algorithms_are_for_storage_keys_alone() {
    let mut storage = ecc_template(FIXED | STORAGE);
    let mut signing = ecc_template(FIXED | SIGN);
    for (public, symmetric) in [(&mut storage, None), (&mut signing, Some(AES_128_CFB))] {
        if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
            parameters.symmetric = symmetric;
        }
        assert_eq!(check_schemes(None, public), Err(Rc::SYMMETRIC));
    }
}

#[test]
fn schemes_fit_the_use() {
    let refused = [
        ecc(FIXED | SIGN | DECRYPT, TpmtEccScheme::Ecdsa(SHA256)),
        ecc(FIXED | SIGN, TpmtEccScheme::Ecdh(SHA256)),
        ecc(FIXED | DECRYPT, TpmtEccScheme::Ecdsa(SHA256)),
        ecc(FIXED | STORAGE, TpmtEccScheme::Ecdh(SHA256)),
        ecc_template(FIXED | SIGN | RESTRICTED),
        rsa_template(FIXED | SIGN | RESTRICTED),
        rsa(FIXED | SIGN, TpmtRsaScheme::Oaep(SHA256)),
        rsa(FIXED | DECRYPT, TpmtRsaScheme::Rsassa(SHA256)),
        rsa(FIXED | STORAGE, TpmtRsaScheme::Oaep(SHA256)),
        with(
            symmetric_template(Some(TpmiAlgSymMode::Cmac)),
            FIXED | DECRYPT,
        ),
        keyed_hash(FIXED | SIGN, None),
        keyed_hash(FIXED | SIGN, xor(None)),
        keyed_hash(FIXED | DECRYPT, None),
        keyed_hash(FIXED | DECRYPT, Some(TpmtKeyedhashScheme::Hmac(SHA256))),
        keyed_hash(
            FIXED | SIGN | DECRYPT,
            Some(TpmtKeyedhashScheme::Hmac(SHA256)),
        ),
        keyed_hash(FIXED, Some(TpmtKeyedhashScheme::Hmac(SHA256))),
        keyed_hash(FIXED | STORAGE, xor(Some(TpmiAlgKdf::Mgf1))),
        keyed_hash(FIXED | STORAGE, xor(None)),
    ];
    for public in refused {
        assert_eq!(check_schemes(None, &public), Err(Rc::SCHEME), "{public:?}");
    }
    let taken = [
        ecc(FIXED | DECRYPT, TpmtEccScheme::Ecdh(SHA256)),
        ecc(FIXED | DECRYPT, TpmtEccScheme::Sm2(SHA256)),
        ecc(FIXED | SIGN, TpmtEccScheme::Sm2(SHA256)),
        ecc(
            FIXED | SIGN | RESTRICTED,
            TpmtEccScheme::Ecdaa(TpmsSchemeEcdaa {
                hash_alg: TpmiAlgHash::Sha256,
                count: 0,
            }),
        ),
        rsa(FIXED | DECRYPT, TpmtRsaScheme::Rsaes(TpmsEmpty)),
        keyed_hash(FIXED | SIGN | DECRYPT, None),
        keyed_hash(FIXED | DECRYPT, xor(None)),
        keyed_hash(FIXED | STORAGE, xor(Some(TpmiAlgKdf::Kdf1Sp800108))),
    ];
    for public in taken {
        assert_eq!(check_schemes(None, &public), Ok(()), "{public:?}");
    }
}

#[test]
fn an_ecc_key_has_no_kdf() {
    let mut public = ecc_template(FIXED | DECRYPT);
    if let TpmuPublicParms::Ecc(parameters) = &mut public.parameters {
        parameters.kdf = Some(TpmtKdfScheme::Kdf2(SHA256));
    }
    assert_eq!(check_schemes(None, &public), Err(Rc::KDF));
}
