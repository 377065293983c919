//! What can be said of a profile, and what cannot.

use crate::profile::{Profile, ProfileError};
use crate::testing;
use alloc::string::{String, ToString};
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::constants::{TpmAlgId, TpmEccCurve};

/// The algorithms that cannot be missing, and RSA.
const FEW: &str = "hmac,aes,keyedhash,sha256,kdf1-sp800-108,symcipher,cfb,rsa,oaep,mgf1";

fn with(algorithms: &str) -> Result<Profile, ProfileError> {
    let mut profile = Profile::default();
    profile.set_algorithms(algorithms)?;
    Ok(profile)
}

#[test]
fn the_words_of_every_built_in_profile_say_what_it_has() {
    for name in Profile::NAMES {
        let built_in = Profile::by_name(name).unwrap();
        let mut profile = built_in.clone();
        profile.set_algorithms(&built_in.algorithms_text()).unwrap();
        profile.set_commands(&built_in.commands_text()).unwrap();
        assert_eq!(profile, built_in);
        assert_eq!(built_in.check(), Ok(()));
    }
}

#[test]
fn the_lists_of_libtpms_are_those_of_its_profiles() {
    // As `swtpm socket --tpm2 --print-info 0x40` of swtpm 0.11 lists them.
    let mut profile = Profile::by_name("default-v2").unwrap();
    assert_eq!(
        profile.commands_text(),
        "0x11f-0x122,0x124-0x12e,0x130-0x140,0x142-0x159,0x15b-0x15e,0x160-0x165,0x167-0x174,0x176-0x178,\
         0x17a-0x193,0x197,0x199-0x19c"
    );
    let before = profile.clone();
    profile
        .set_algorithms(
            "rsa,rsa-min-size=1024,tdes,tdes-min-size=128,sha1,hmac,aes,aes-min-size=128,mgf1,keyedhash,xor,sha256,\
             sha384,sha512,null,rsassa,rsaes,rsapss,oaep,ecdsa,ecdh,ecdaa,sm2,ecschnorr,ecmqv,kdf1-sp800-56a,kdf2,\
             kdf1-sp800-108,ecc,ecc-min-size=192,ecc-nist,ecc-bn,ecc-sm2-p256,symcipher,camellia,\
             camellia-min-size=128,cmac,ctr,ofb,cbc,cfb,ecb",
        )
        .unwrap();
    assert_eq!(profile, before);
}

#[test]
fn only_what_is_listed_stays() {
    let profile = with(&(String::from(FEW) + ", sha1,rsa-sizes=2048+3072")).unwrap();
    let limits = &profile.limits;
    assert!(limits.has_algorithm(TpmAlgId::SHA1) && !limits.has_algorithm(TpmAlgId::SHA384));
    let sizes = [1024, 2048, 3072, 4096].map(|bits| limits.has_rsa_key_size(bits));
    assert_eq!(sizes, [false, true, true, false]);
    assert!(!limits.has_curve(TpmEccCurve::NIST_P256.0));
    assert_eq!(profile.pcr_banks, [TpmiAlgHash::Sha1, TpmiAlgHash::Sha256]);
    assert!(profile.algorithms_text().contains("rsa-sizes=2048+3072"));
    let wide = String::from(FEW)
        + ",ecc,ecdh,kdf1-sp800-56a,ecc-nist,ecc-bn-p256,ecc-min-size=256,tdes,tdes-min-size=192";
    let profile = with(&wide).unwrap();
    let has = super::curves().filter(|curve| profile.limits.has_curve(curve.0));
    let has: alloc::vec::Vec<u16> = has.map(|curve| curve.0).collect();
    assert_eq!(has, [3, 4, 5, 0x10]);
    assert!(!profile.limits.has_symmetric_key_size(TpmAlgId::TDES, 128));
    assert!(profile.limits.has_symmetric_key_size(TpmAlgId::AES, 128));
    assert_eq!(Profile::from_text(&profile.to_text()), Ok(profile));
}

#[test]
fn an_unknown_word_is_named_with_those_that_can_be() {
    for (words, bad) in [
        ("sha257", "sha257"),
        ("rsa-min-size=", "rsa-min-size="),
        ("sha256-min-size=1", "sha256-min-size=1"),
        ("rsa-min-size=70000", "rsa-min-size=70000"),
        ("rsa-sizes=2048+1", "rsa-sizes=2048+1"),
        ("ecc-sizes=256", "ecc-sizes=256"),
        ("RSA", "RSA"),
        ("error", "error"),
    ] {
        let error = with(&(String::from(FEW) + "," + words)).unwrap_err();
        let ProfileError::Word {
            list,
            word,
            allowed,
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((*list, word.as_str()), ("algorithms", bad));
        for word in ["sha3-256", "ecc-nist-p256", "ecc-bn", "aes-min-size=BITS"] {
            assert!(allowed.split(',').any(|known| known == word), "{allowed}");
        }
        assert!(error.to_string().contains(bad));
    }
    let mut profile = Profile::default();
    for bad in ["0x123", "0x11f-0x125", "x", "0x120-0x11f", "0-0xffffffff"] {
        let error = profile.set_commands(&(String::from("0x143-0x145,0x17a,") + bad));
        assert!(
            matches!(&error, Err(ProfileError::Word { word, .. }) if word == bad),
            "{error:?}"
        );
    }
    assert_eq!(profile, Profile::default());
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (words, text) in [
        ("rsa", "without `hmac`".into()),
        (
            &*(String::from(FEW) + ",ecdsa"),
            String::from("`ecdsa` needs `ecc`"),
        ),
        (
            &*(String::from(FEW) + ",ecc,ecdh"),
            "`ecc` needs `kdf1-sp800-56a`".into(),
        ),
        (
            &*(String::from(FEW) + ",ecc,ecdh,kdf1-sp800-56a"),
            "`ecc` has no key size left".into(),
        ),
        (
            &*(String::from(FEW) + ",ecc-nist"),
            "curves need `ecc`".into(),
        ),
        (
            &*(String::from(FEW) + ",rsa-min-size=4097"),
            "`rsa` has no key size left".into(),
        ),
        (
            &*(String::from(FEW) + ",aes-min-size=192,aes-sizes=128"),
            "`aes` has no key size left".into(),
        ),
    ] {
        let error = with(words).unwrap_err();
        assert!(matches!(error, ProfileError::Together(_)), "{error:?}");
        assert!(error.to_string().contains(&text), "{error}");
    }
    let error = Profile::default().set_commands("0x143-0x145").unwrap_err();
    assert!(error.to_string().contains("0x17a (GetCapability)"));
}

#[test]
fn limits_are_set_by_name_within_what_can_be() {
    let mut profile = Profile::default();
    profile.set_limit("transient-objects", 5).unwrap();
    assert_eq!(profile.limits.transient_objects, 5);
    let error = profile.set_limit("transient-objects", 0).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("`transient-objects` cannot be 0: it is 1 to 1024")
    );
    let error = profile.set_limit("colour", 7).unwrap_err();
    assert!(error.to_string().contains("nv-index"), "{error}");
    for (name, value) in [
        ("loaded-sessions", 65),
        ("persistent-min", 65),
        ("clock-update", 1000),
        ("nv-memory", 10240),
        ("nv-index", 1024),
        ("command-size", 2896),
    ] {
        let mut profile = Profile::default();
        profile.set_limit("nv-buffer", 2048).unwrap();
        profile.set_limit(name, value).unwrap();
        let is_fine = name == "command-size";
        assert_eq!(profile.check().is_ok(), is_fine, "{name}");
    }
}

#[test]
fn a_new_tpm_has_the_pcr_banks_of_its_profile() {
    let mut profile = Profile::default();
    profile.set_pcr_banks("sha3-256,sha256").unwrap();
    assert_eq!(Profile::from_text(&profile.to_text()), Ok(profile.clone()));
    let tpm = testing::with_profile(profile).reloaded();
    let banks = tpm.pcrs.banks.iter();
    let allocated: alloc::vec::Vec<TpmiAlgHash> = banks
        .filter(|bank| bank.allocated.contains(0))
        .map(|bank| bank.hash)
        .collect();
    assert_eq!(allocated, [TpmiAlgHash::Sha256, TpmiAlgHash::Sha3_256]);
    assert_eq!(tpm.pcrs.banks.len(), TpmiAlgHash::ALL.len());
    let mut profile = Profile::by_name("swtpm-0.7").unwrap();
    let error = profile.set_pcr_banks("sha256,sha3-256").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`sha3-256` is not among the PCR banks")
    );
    assert!(
        error.to_string().ends_with("sha1,sha256,sha384,sha512"),
        "{error}"
    );
}
