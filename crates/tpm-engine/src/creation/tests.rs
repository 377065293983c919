//! What comes out of fixed seeds must never change.

use super::{KdfStream, RsaMaking, make, make_primary};
use crate::commands::object::build;
use crate::hierarchy::Derivation;
use crate::object::Object;
use alloc::string::String;
use rand_core::Rng;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::kdf::kdfa;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmsEccPoint, TpmtSymDefObject,
};
use tpm_wire::attributes::TpmaObject;
use tpm_wire::buffers::{Small, Tpm2bDigest, Tpm2bPublicKeyRsa, Tpm2bSeed};
use tpm_wire::object::{TpmsDerive, TpmtPublic, TpmuPublicId, TpmuPublicParms};
use tpm_wire::rc::Rc;

const SEED: [u8; 64] = [0x5A; 64];

/// Policy of the EK templates: `TPM2_PolicySecret` of the endorsement hierarchy.
const EK_POLICY: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";

/// Templates L-1 and L-2 of the TCG EK credential profile.
fn ek(mut public: TpmtPublic) -> TpmtPublic {
    public.object_attributes = TpmaObject(0x0003_00B2);
    public.auth_policy = Tpm2bDigest::new(&hex::decode(EK_POLICY).unwrap()).unwrap();
    public.unique = match public.unique {
        TpmuPublicId::Rsa(_) => {
            TpmuPublicId::Rsa(Tpm2bPublicKeyRsa::new(alloc::vec![0; 256]).unwrap())
        }
        _ => TpmuPublicId::Ecc(TpmsEccPoint {
            x: Small::zeros(32),
            y: Small::zeros(32),
        }),
    };
    public
}

/// The template of the storage root key in the TCG provisioning guidance.
fn srk(mut public: TpmtPublic) -> TpmtPublic {
    public.object_attributes = TpmaObject(0x0003_0472);
    public
}

fn name(public: TpmtPublic, stirring: Option<&[Tpm2bSeed; 2]>) -> (String, String) {
    name_by(Derivation::Own, public, stirring)
}

fn name_by(
    derivation: Derivation,
    public: TpmtPublic,
    stirring: Option<&[Tpm2bSeed; 2]>,
) -> (String, String) {
    let create = build::sensitive(&[], &[]);
    let mut never = || false;
    let rsa = RsaMaking::portable(&mut never);
    let made = make_primary(&SEED, derivation, stirring, public, &create, rsa);
    let (public, sensitive) = made.unwrap();
    let seed = hex::encode(&*sensitive.seed_value);
    (hex::encode(&*Object::name_of(&public)), seed)
}

/// Name and seed value are those that they were when this was written.
fn same(made: &(String, String), name: &str, seed: &str) {
    assert_eq!(made.0, name);
    assert_eq!(made.1, seed);
}

#[test]
fn storage_root_keys_of_one_seed_never_change() {
    let rsa = name(srk(build::rsa_template(build::STORAGE)), None);
    same(
        &rsa,
        "000b3f9e6c640d88e3d7ffa366f82183d0eb080eb7ad0dc19ccb90eba70ffa97f489",
        "9c01d260049d24154b4b747501a84d77deea86546599ebe507fdc065431dbc19",
    );
    let ecc = name(srk(build::ecc_template(build::STORAGE)), None);
    same(
        &ecc,
        "000bcf2ac8c42ca2b6c6c1c537a885047481bdf0e30bec7c480082feb6c4cd3f23e8",
        "713dd0229c90c290389d6ac0f974e454942aff16aef52f04484815fa4befb96d",
    );
}

#[test]
fn endorsement_keys_of_one_seed_never_change_and_their_seed_hangs_on_the_proofs() {
    let proofs = [[1; 64], [2; 64]].map(|proof| Tpm2bSeed::from(&proof));
    let rsa = name(ek(build::rsa_template(build::STORAGE)), Some(&proofs));
    same(
        &rsa,
        "000bc0026acc3f6275187fb0980eaa06d1a37897cf8c7d2341ef7ee7e6da8c7dc760",
        "dd1bfcbef22d7a89bc58f0a7939f09275e198d421d31dc0886d53c33002a96db",
    );
    let ecc = name(ek(build::ecc_template(build::STORAGE)), Some(&proofs));
    same(
        &ecc,
        "000b4f69148e8d97d23b6f683971dca6e998876c717a39361c4696d3f0c90fde52a4",
        "d327b5b5222acdefa3e39f1ed613cfa754b4b17f5d47a50e0b3cdccec657be16",
    );
    let others = [[1; 64], [3; 64]].map(|proof| Tpm2bSeed::from(&proof));
    let other = name(ek(build::ecc_template(build::STORAGE)), Some(&others));
    assert_eq!(other.0, ecc.0);
    assert_ne!(other.1, ecc.1);
}

/// That these are libtpms's keys is shown in `tests/import.rs` of the binary, which asks swtpm for both.
#[test]
fn keys_of_seeds_of_libtpms_never_change() {
    let proofs = [[1; 64], [2; 64]].map(|proof| Tpm2bSeed::from(&proof));
    let rsa = || ek(build::rsa_template(build::STORAGE));
    let wide = name_by(Derivation::LibtpmsWide, rsa(), Some(&proofs));
    same(
        &wide,
        "000b7201991994bec4380b43e01db74f3ce31601cadfac21e7a23f4b620fce8e7648",
        "80443f4970f947449c000f53de27c9459ebd3fc8cd832f6efbb58711731c8fb8",
    );
    let narrow = name_by(Derivation::LibtpmsNarrow, rsa(), Some(&proofs));
    same(
        &narrow,
        "000b7bc1e8215256875e7a1c4cf0fdcdff0a4c5a937d95bd2930f8355fd96244645c",
        "8b1215a04d3865ba5cfe6ba72481713a0d8d95a845ef378c3302f425efb24280",
    );
    for derivation in [Derivation::LibtpmsWide, Derivation::LibtpmsNarrow] {
        let ecc = name_by(derivation, srk(build::ecc_template(build::STORAGE)), None);
        same(
            &ecc,
            "000b24b63ea273635f37ed5b91fb3484e0e62615c2451fef691e118cece314b184a5",
            "764b6abad479417c82ec39298beba2b7256c08284bf3d8101fd0e4e4b4c57046",
        );
        let hmac = name_by(derivation, build::hmac_template(), None);
        same(
            &hmac,
            "000b10310f133e3adf85a89d430b19340a0f6e76ecb26cb7fe8f18fdd312fc615e46",
            "691ed61603c245b604c6fcaac6fea21dc4d19be8b5ab9375cf6a5fb51b638223",
        );
    }
}

#[test]
fn symmetric_primary_objects_of_one_seed_never_change() {
    let hmac = name(build::hmac_template(), None);
    same(
        &hmac,
        "000be889fb30e936e03e4ed0875647c6dcfb4a17cf889f348e1797b95992a04bf93d",
        "4b8ff0312eaed3aa9587797825a5307fdaa9cadd495205f4810d3b6731b2d031",
    );
    let aes = name(build::symmetric_template(None), None);
    same(
        &aes,
        "000b28b4da09b9fc6ec627cd37659daefccb18a436e5735c27acbb2f77a9f64fb75a",
        "449bfca979384f39fe099e95b266dd0d4a9653936d5ee9e4e0f49bf4177b54a0",
    );
    let mut tdes = build::symmetric_template(None);
    tdes.parameters = TpmuPublicParms::SymCipher(TDES);
    let tdes = name(tdes, None);
    same(
        &tdes,
        "000b7f1717f386754dd504c442cb4bcf479e26155f38905660d5cf6cc32f21505047",
        "b8eb39baf2dd94dab18e13e8408d67e8a428738f09ebeca6187fd20452cb6ab7",
    );
}

const TDES: TpmtSymDefObject = TpmtSymDefObject {
    algorithm: TpmiAlgSymObject::Tdes,
    key_bits: 192,
    mode: Some(TpmiAlgSymMode::Cfb),
};

#[test]
fn template_and_given_data_change_the_key() {
    let plain = name(srk(build::ecc_template(build::STORAGE)), None);
    let mut public = srk(build::ecc_template(build::STORAGE));
    let create = build::sensitive(&[], b"x");
    let (other, _) = make_primary(
        &SEED,
        Derivation::Own,
        None,
        public.clone(),
        &create,
        RsaMaking::portable(&mut || false),
    )
    .unwrap();
    assert_ne!(hex::encode(&*Object::name_of(&other)), plain.0);
    public.unique = TpmuPublicId::Ecc(TpmsEccPoint {
        x: Small::zeros(1),
        y: Small::zeros(0),
    });
    assert_ne!(name(public, None).0, plain.0);
}

#[test]
fn a_derivation_uses_its_stream_up_from_the_start() {
    let derive = TpmsDerive {
        label: Small::new(b"label\0").unwrap(),
        context: Small::new(b"context").unwrap(),
    };
    let expected = kdfa(
        tpm_crypto::hash::HashAlgorithm::Sha256,
        b"secret",
        b"label",
        b"context",
        &[],
        8192,
    );
    let mut stream = KdfStream::new(TpmiAlgHash::Sha256, b"secret", &derive);
    let mut bytes = [0; 5];
    stream.fill_bytes(&mut bytes);
    assert_eq!(bytes, expected[..5]);
    assert_eq!(stream.next_u32().to_be_bytes(), expected[5..9]);
    assert_eq!(stream.next_u64().to_be_bytes(), expected[9..17]);
}

#[test]
fn a_storage_key_keeps_its_seed_and_a_signing_key_does_not() {
    let mut random = Drbg::new(&[1; 48], &[]);
    let create = build::sensitive(b"auth", &[]);
    let mut seed_size = |attributes| {
        let public = build::ecc_template(build::FIXED | attributes);
        let made = make(
            public,
            &create,
            &mut random,
            |_| {},
            RsaMaking::portable(&mut || false),
        )
        .unwrap();
        assert_eq!(&*made.1.auth_value, b"auth");
        made.1.seed_value.len()
    };
    assert_eq!(seed_size(build::STORAGE), 32);
    assert_eq!(seed_size(TpmaObject::SIGN), 0);
    assert_eq!(seed_size(TpmaObject::SIGN | TpmaObject::RESTRICTED), 0);
}

#[test]
fn weak_triple_des_keys_are_refused() {
    let mut public = build::symmetric_template(None);
    public.object_attributes = public
        .object_attributes
        .without(TpmaObject::SENSITIVE_DATA_ORIGIN);
    public.parameters = TpmuPublicParms::SymCipher(TDES);
    let create = build::sensitive(&[], &[1; 24]);
    let mut random = Drbg::new(&[1; 48], &[]);
    let made = make(
        public,
        &create,
        &mut random,
        |_| {},
        RsaMaking::portable(&mut || false),
    );
    assert_eq!(made.err(), Some(Rc::KEY));
}
