use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use ::rsa::traits::{PublicKeyParts, SignatureScheme};
use ::rsa::{BoxedUint, Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign, Pss, RsaPrivateKey, RsaPublicKey};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::engine::Modexp;
use super::limbs::Limbs;
use super::testing::{CounterRng, Lanes};
use super::*;
use crate::hash::{HashAlgorithm, hash};

/// A key that OpenSSL made.
const N: &str = concat!(
    "992b8d03665c59ef240a5d7dbd9016bb2cc908f9c055fc8135e06a1b38081447761afb1809291499b968572e54cac741",
    "42d73dea0e9c9d447ed47f30db8fdafd59d67540c9c65e671026b562d4ef7bc14ba3b041a4885772b378ba47931ccf64",
    "c15ce1b9fa39a6a3867e3fbc59310a3a2ff8acf42b3de12fbe3a556500fbbfade3e4e047596d8dd7376389aa4166d42a",
    "cf8e573db576d36fd49f1b3284dcbfcf0f0cb315e00b979c6102363dcb0f7ca26c90c0ec0eb52cc3be55caf405970de7",
    "98a69b230b1b5e8d549c52c67342cd91aa2ff2a71356a0cb42ae97add2677164b1c27cc962dcf35aa04cd09937a5ed35",
    "a63f69dcd23b802df39dd0410f5ba331",
);
const P: &str = concat!(
    "cf46f384d60a15f0f3331b5c08e111acb32053f160f1d54f0f57fcbdf82e580a73de6d679f894da65f63d2fd4097c167",
    "9115d7991695c84d2c87b04d90c4a233e66d22ab5bb1425c1e833ceb179f93ce441bfa098be47c0245181e4e385396c1",
    "9f30d01c197f27ed3068dccc85c37a151ea1fd37d0c74036da2aaef8b4c0d7f5",
);

/// SHA-256 of OpenSSL's RSASSA-PKCS1-v1_5 signatures of FOX by that key.
const SIGNATURES: [(HashAlgorithm, &str); 7] = [
    (
        HashAlgorithm::Sha1,
        "5c25bea8a3df3ba329cb4eba889b66548c7d755aca484b560e52765fd58599e0",
    ),
    (
        HashAlgorithm::Sha256,
        "4907b4402eb07cba9a786601ab4589265aef6d2e9bb37761fb1f5a0fa24db223",
    ),
    (
        HashAlgorithm::Sha384,
        "274860bf221e6f30f24862afcadc8e37a249c0c0e1e9b696c93273f6263dc0be",
    ),
    (
        HashAlgorithm::Sha512,
        "f23982df3bb8e09f40a9be15a0f743c6f7361bea3fa6df2364d0124afaab0ae6",
    ),
    (
        HashAlgorithm::Sha3_256,
        "d403348019013419f6178053462d73f25a2a905346021964b19aedae9e583357",
    ),
    (
        HashAlgorithm::Sha3_384,
        "051c7577c7c25b89c9a55155102eb7236cf7ef4d8480e62e212bba712bc9abcb",
    ),
    (
        HashAlgorithm::Sha3_512,
        "76bb70836ff80bfd04ad68bda0ced33787e0b431f26818bcdba38a4beec3e96b",
    ),
];
const FOX: &[u8] = b"The quick brown fox";

fn rng() -> CounterRng {
    CounterRng::new(b"rsa tests")
}

fn n() -> Vec<u8> {
    hex::decode(N).unwrap()
}

fn p() -> Vec<u8> {
    hex::decode(P).unwrap()
}

fn key() -> PrivateKey {
    PrivateKey::from_prime(&n(), 65537, &p()).unwrap()
}

fn small_key(bits: usize) -> PrivateKey {
    generate(bits, 65537, &mut rng(), &mut || false).unwrap()
}

/// The same key in the other implementation.
fn oracle(key: &PrivateKey) -> RsaPrivateKey {
    let number = |bytes: &[u8]| BoxedUint::from_be_slice_vartime(bytes);
    RsaPrivateKey::from_p_q(
        number(&key.prime()),
        number(&key.other_prime()),
        BoxedUint::from(u64::from(key.public().exponent())),
    )
    .unwrap()
}

#[test]
fn both_primes_are_found_from_one() {
    let key = key();
    assert_eq!(*key.prime(), p());
    let oracle = oracle(&key);
    assert_eq!(*oracle.n_bytes(), *n());
    let other = PrivateKey::from_prime(&n(), 65537, &key.other_prime()).unwrap();
    assert_eq!(*other.other_prime(), p());
}

#[test]
fn signatures_are_those_of_openssl() {
    let mut key = key();
    for (algorithm, expected) in SIGNATURES {
        let digest = hash(algorithm, &[FOX]);
        let signature = pkcs1::sign(&mut key, algorithm, &digest, &mut rng()).unwrap();
        assert_eq!(
            hex::encode(hash(HashAlgorithm::Sha256, &[&signature])),
            expected,
            "{algorithm:?}"
        );
        pkcs1::verify(key.public(), algorithm, &digest, &signature).unwrap();
    }
}

#[test]
fn digest_info_prefixes_are_those_of_the_standards() {
    let prefix = |algorithm: HashAlgorithm| {
        let digest = vec![0xee; algorithm.digest_size()];
        let encoded = pkcs1::encode(algorithm, &digest, 256).unwrap();
        let start = 3 + encoded[2..].iter().position(|&byte| byte == 0).unwrap();
        hex::encode(&encoded[start..256 - digest.len()])
    };
    assert_eq!(
        prefix(HashAlgorithm::Sha1),
        "3021300906052b0e03021a05000414"
    );
    assert_eq!(
        prefix(HashAlgorithm::Sha256),
        "3031300d060960864801650304020105000420"
    );
    assert_eq!(
        prefix(HashAlgorithm::Sha384),
        "3041300d060960864801650304020205000430"
    );
    assert_eq!(
        prefix(HashAlgorithm::Sha512),
        "3051300d060960864801650304020305000440"
    );
    assert_eq!(
        prefix(HashAlgorithm::Sha3_256),
        "3031300d060960864801650304020805000420"
    );
    assert_eq!(
        prefix(HashAlgorithm::Sm3_256),
        "3030300c06082a811ccf550183110500 0420".replace(' ', "")
    );
}

#[test]
fn every_hash_signs_with_both_paddings() {
    let mut key = key();
    for algorithm in HashAlgorithm::ALL {
        let digest = hash(algorithm, &[FOX]);
        let mut wrong = digest.to_vec();
        wrong[0] ^= 1;
        let signature = pkcs1::sign(&mut key, algorithm, &digest, &mut rng()).unwrap();
        pkcs1::verify(key.public(), algorithm, &digest, &signature).unwrap();
        assert_eq!(
            pkcs1::verify(key.public(), algorithm, &wrong, &signature),
            Err(RsaError::Signature)
        );
        let signature = pss::sign(&mut key, algorithm, &digest, &mut rng()).unwrap();
        pss::verify(key.public(), algorithm, &digest, &signature).unwrap();
        assert_eq!(
            pss::verify(key.public(), algorithm, &wrong, &signature),
            Err(RsaError::Signature)
        );
    }
}

#[test]
fn pkcs1_signatures_agree_with_the_other_implementation() {
    for bits in [1024, 2048] {
        let mut key = small_key(bits);
        let oracle = oracle(&key);
        let digest = hash(HashAlgorithm::Sha256, &[FOX]);
        let scheme = || Pkcs1v15Sign {
            hash_len: Some(32),
            prefix: Box::from(hex::decode("3031300d060960864801650304020105000420").unwrap()),
        };
        let ours = pkcs1::sign(&mut key, HashAlgorithm::Sha256, &digest, &mut rng()).unwrap();
        assert_eq!(
            ours,
            scheme().sign(Some(&mut rng()), &oracle, &digest).unwrap()
        );
        scheme()
            .verify(&RsaPublicKey::from(&oracle), &digest, &ours)
            .unwrap();
    }
}

#[test]
fn pss_signatures_agree_with_the_other_implementation_at_every_salt_length() {
    let mut key = small_key(1024);
    let oracle = oracle(&key);
    let public = RsaPublicKey::from(&oracle);
    let digest = hash(HashAlgorithm::Sha256, &[FOX]);
    let ours = pss::sign(&mut key, HashAlgorithm::Sha256, &digest, &mut rng()).unwrap();
    Pss::<sha2::Sha256>::new()
        .verify(&public, &digest, &ours)
        .unwrap();
    for salt in [0, 1, 31, 32, 33, 93, 94] {
        let scheme = Pss::<sha2::Sha256>::new_with_salt(salt);
        let theirs = scheme.sign(Some(&mut rng()), &oracle, &digest).unwrap();
        pss::verify(key.public(), HashAlgorithm::Sha256, &digest, &theirs).unwrap();
    }
}

#[test]
fn a_pss_salt_shrinks_to_what_the_key_has_room_for() {
    // 128 bytes less 64 for the hash and 2: 62 for the salt.
    let mut key = small_key(1024);
    let oracle = RsaPublicKey::from(&oracle(&key));
    let digest = hash(HashAlgorithm::Sha512, &[FOX]);
    let ours = pss::sign(&mut key, HashAlgorithm::Sha512, &digest, &mut rng()).unwrap();
    pss::verify(key.public(), HashAlgorithm::Sha512, &digest, &ours).unwrap();
    Pss::<sha2::Sha512>::new_with_salt(62)
        .verify(&oracle, &digest, &ours)
        .unwrap();
}

#[test]
fn oaep_agrees_with_the_other_implementation_in_both_directions() {
    let mut key = key();
    let oracle = oracle(&key);
    let public = RsaPublicKey::from(&oracle);
    for length in [0, 1, 32, 190] {
        let message = vec![0xa5; length];
        for label in [&b""[..], b"DUPLICATE\0"] {
            let scheme = || Oaep::<sha2::Sha256>::new_with_label(label);
            let ours = oaep::encrypt(
                key.public(),
                HashAlgorithm::Sha256,
                label,
                &message,
                &mut rng(),
            )
            .unwrap();
            assert_eq!(oracle.decrypt(scheme(), &ours).unwrap(), message);
            let theirs = public.encrypt(&mut rng(), scheme(), &message).unwrap();
            let found =
                oaep::decrypt(&mut key, HashAlgorithm::Sha256, label, &theirs, &mut rng()).unwrap();
            assert_eq!(*found, message);
        }
    }
    assert_eq!(
        oaep::encrypt(
            key.public(),
            HashAlgorithm::Sha256,
            b"",
            &[0; 191],
            &mut rng()
        ),
        Err(RsaError::MessageTooLong)
    );
}

#[test]
fn oaep_takes_every_hash() {
    let mut key = key();
    for algorithm in HashAlgorithm::ALL {
        let sealed = oaep::encrypt(key.public(), algorithm, b"SECRET\0", FOX, &mut rng()).unwrap();
        assert_eq!(
            *oaep::decrypt(&mut key, algorithm, b"SECRET\0", &sealed, &mut rng()).unwrap(),
            FOX
        );
        assert_eq!(
            oaep::decrypt(&mut key, algorithm, b"SECRET", &sealed, &mut rng()),
            Err(RsaError::Padding)
        );
    }
    let mut small = small_key(1024);
    assert_eq!(
        oaep::encrypt(small.public(), HashAlgorithm::Sha512, b"", b"", &mut rng()),
        Err(RsaError::KeyTooSmall)
    );
    assert_eq!(
        oaep::decrypt(
            &mut small,
            HashAlgorithm::Sha512,
            b"",
            &[1; 128],
            &mut rng()
        ),
        Err(RsaError::KeyTooSmall)
    );
}

#[test]
fn pkcs1_encryption_agrees_with_the_other_implementation_in_both_directions() {
    let mut key = small_key(1024);
    let oracle = oracle(&key);
    let public = RsaPublicKey::from(&oracle);
    for length in [0, 1, 32, 117] {
        let message = vec![0; length];
        let ours = pkcs1::encrypt(key.public(), &message, &mut rng()).unwrap();
        assert_eq!(oracle.decrypt(Pkcs1v15Encrypt, &ours).unwrap(), message);
        let theirs = public
            .encrypt(&mut rng(), Pkcs1v15Encrypt, &message)
            .unwrap();
        assert_eq!(
            *pkcs1::decrypt(&mut key, &theirs, &mut rng()).unwrap(),
            message
        );
    }
    assert_eq!(
        pkcs1::encrypt(key.public(), &[0; 118], &mut rng()),
        Err(RsaError::MessageTooLong)
    );
}

#[test]
fn every_fault_of_a_pkcs1_padding_is_the_same_error() {
    let mut key = small_key(1024);
    let padded = |from: usize, bytes: &[u8]| {
        let mut block = vec![0xff; 128];
        block[0] = 0;
        block[1] = 2;
        block[from..from + bytes.len()].copy_from_slice(bytes);
        block
    };
    let mut run = |block: Vec<u8>| {
        let sealed = public_raw(key.public(), &block).unwrap();
        pkcs1::decrypt(&mut key, &sealed, &mut rng()).map(|message| message.len())
    };
    assert_eq!(run(padded(10, &[0])), Ok(117));
    assert_eq!(run(padded(127, &[0])), Ok(0));
    for fault in [
        padded(9, &[0]),
        padded(2, &[0]),
        padded(5, &[]),
        padded(0, &[1]),
        padded(1, &[1]),
        vec![0; 128],
    ] {
        assert_eq!(run(fault), Err(RsaError::Padding));
    }
}

#[test]
fn every_fault_of_an_oaep_padding_is_the_same_error() {
    let mut key = small_key(1024);
    let label_hash = hash(HashAlgorithm::Sha256, &[b""]);
    let mut run = |first: u8, hashed: &[u8], rest: &[u8]| {
        let mut seed = vec![7; 32];
        let mut block = hashed.to_vec();
        block.extend_from_slice(rest);
        crate::kdf::mgf1_xor(HashAlgorithm::Sha256, &seed, &mut block);
        crate::kdf::mgf1_xor(HashAlgorithm::Sha256, &block, &mut seed);
        let padded = [&[first], &seed[..], &block].concat();
        let sealed = public_raw(key.public(), &padded).unwrap();
        oaep::decrypt(&mut key, HashAlgorithm::Sha256, b"", &sealed, &mut rng())
            .map(|message| message.to_vec())
    };
    let mut rest = [0; 63];
    assert_eq!(run(0, &label_hash, &rest), Err(RsaError::Padding));
    rest[60] = 1;
    rest[61] = 1;
    assert_eq!(run(0, &label_hash, &rest), Ok(vec![1, 0]));
    assert_eq!(run(1, &label_hash, &rest), Err(RsaError::Padding));
    assert_eq!(run(0, &[9; 32], &rest), Err(RsaError::Padding));
    rest[59] = 2;
    assert_eq!(run(0, &label_hash, &rest), Err(RsaError::Padding));
}

#[test]
fn raw_operations_undo_each_other_at_every_key_size() {
    for bits in KEY_BITS {
        let mut key = small_key(bits);
        assert_eq!(key.public().len() * 8, bits);
        let length = bits / 8;
        let mut largest = key.public().modulus().to_vec();
        largest[length - 1] -= 1;
        for input in [
            vec![0; length],
            vec![1],
            [vec![0; 9], vec![0x5a; length - 1]].concat(),
            largest,
        ] {
            let sealed = public_raw(key.public(), &input).unwrap();
            assert_eq!(sealed.len(), length);
            let opened = private_raw(&mut key, &sealed, &mut rng()).unwrap();
            let excess = input.len().saturating_sub(length);
            assert!(opened.ends_with(&input[excess..]));
            assert!(
                opened[..length - (input.len() - excess)]
                    .iter()
                    .all(|&byte| byte == 0)
            );
        }
    }
}

#[test]
fn input_that_is_not_below_the_modulus_is_refused() {
    let mut key = key();
    for input in [n(), vec![0xff; 256], [vec![1], vec![0; 256]].concat()] {
        assert_eq!(
            public_raw(key.public(), &input),
            Err(RsaError::InputTooLarge)
        );
        assert_eq!(
            private_raw(&mut key, &input, &mut rng()),
            Err(RsaError::InputTooLarge)
        );
    }
}

#[test]
fn another_engine_makes_and_uses_the_same_key() {
    let ours = small_key(1024);
    let mut theirs = generate_with(&Lanes(8), 1024, 65537, &mut rng(), &mut || false).unwrap();
    assert_eq!(ours.prime(), theirs.prime());
    assert_eq!(ours.other_prime(), theirs.other_prime());
    let sealed = public_raw(ours.public(), FOX).unwrap();
    assert!(
        private_raw(&mut theirs, &sealed, &mut rng())
            .unwrap()
            .ends_with(FOX)
    );
}

#[test]
fn public_keys_that_cannot_work_are_refused() {
    let mut even = n();
    even[255] ^= 1;
    let mut short = n();
    short[0] &= 0x7f;
    for modulus in [
        even,
        short,
        vec![],
        vec![0; 256],
        vec![0xff; 63],
        vec![0xff; 513],
    ] {
        assert_eq!(PublicKey::new(&modulus, 65537), Err(RsaError::Modulus));
    }
    for exponent in [0, 1, 2, 65536] {
        assert_eq!(PublicKey::new(&n(), exponent), Err(RsaError::Exponent));
    }
    assert!(PublicKey::new(&n(), 3).is_ok());
}

#[test]
fn primes_that_do_not_belong_to_the_modulus_are_refused() {
    let mut wrong = p();
    wrong[127] ^= 2;
    let mut even = p();
    even[127] ^= 1;
    let mut one = vec![0; 128];
    one[127] = 1;
    for prime in [
        wrong,
        even,
        one,
        vec![0; 128],
        vec![],
        n(),
        p()[1..].to_vec(),
        [vec![0], p()].concat(),
    ] {
        assert_eq!(
            PrivateKey::from_prime(&n(), 65537, &prime).err(),
            Some(RsaError::Binding)
        );
    }
}

#[test]
fn a_key_works_with_every_exponent_that_divides_no_prime_less_one() {
    let primes = [key().prime(), key().other_prime()].map(|prime| limbs::from_bytes(&prime));
    let mut worked = 0;
    for e in (3..40).step_by(2) {
        let shares = |prime: &Limbs| {
            (3..=e)
                .step_by(2)
                .any(|f| e % f == 0 && limbs::remainder_by_word(prime, f) == 1)
        };
        let key = PrivateKey::from_prime(&n(), u32::try_from(e).unwrap(), &p());
        if primes.iter().any(shares) {
            assert_eq!(key.err(), Some(RsaError::Binding), "{e}");
        } else {
            let mut key = key.unwrap();
            let sealed = public_raw(key.public(), &p()).unwrap();
            assert!(
                private_raw(&mut key, &sealed, &mut rng())
                    .unwrap()
                    .ends_with(&p()),
                "{e}"
            );
            worked += 1;
        }
    }
    assert!((1..19).contains(&worked));
}

#[test]
fn factors_that_are_not_prime_never_give_a_result_away() {
    // An odd "prime" with its top bits set, times a true one.
    let mut composite = limbs::from_bytes(&[0xff; 64]);
    for step in 0..64 {
        composite[0] = u64::MAX - 2 * step;
        let prime = limbs::from_bytes(&small_key(1024).prime());
        let modulus = limbs::to_bytes(&limbs::multiply(&composite, &prime), 128);
        let Ok(mut key) = PrivateKey::from_prime(&modulus, 65537, &limbs::to_bytes(&composite, 64))
        else {
            continue;
        };
        let error = private_raw(&mut key, FOX, &mut rng()).unwrap_err();
        assert!(
            matches!(error, RsaError::Fault | RsaError::Binding),
            "{error:?}"
        );
        if step > 3 {
            break;
        }
    }
    // The same prime twice.
    let prime = limbs::from_bytes(&small_key(1024).prime());
    let square = limbs::to_bytes(&limbs::multiply(&prime, &prime), 128);
    let mut key = PrivateKey::from_prime(&square, 65537, &limbs::to_bytes(&prime, 64)).unwrap();
    assert_eq!(
        private_raw(&mut key, FOX, &mut rng()),
        Err(RsaError::Binding)
    );
}

#[test]
fn a_fault_in_the_arithmetic_is_not_released() {
    struct Faulty;
    impl Engine for Faulty {
        fn lanes(&self) -> usize {
            2
        }
        fn fermat_batch(&self, candidates: &[&[u64]]) -> u64 {
            Portable.fermat_batch(candidates)
        }
        fn modexp_batch(&self, jobs: &mut [Modexp<'_>]) {
            Portable.modexp_batch(jobs);
            jobs[1].result[3] ^= 1 << 17;
        }
    }
    let mut key = key().with_engine(&Faulty);
    assert_eq!(private_raw(&mut key, FOX, &mut rng()), Err(RsaError::Fault));
}

#[test]
fn keys_are_made_in_the_sizes_and_with_the_exponents_allowed() {
    let make = |bits, e| generate(bits, e, &mut rng(), &mut || false).err();
    for bits in [0, 512, 1000, 1536, 2047, 8192] {
        assert_eq!(make(bits, 65537), Some(RsaError::KeySize));
    }
    for e in [0, 1, 2, 3, 17, 65535, 65536, 65538, 65539 * 3, u32::MAX] {
        assert_eq!(make(1024, e), Some(RsaError::Exponent), "{e}");
    }
    assert_eq!(make(1024, 65539), None);
    assert_eq!(make(1024, 4_294_967_291), None);
    assert_eq!(
        generate(2048, 65537, &mut rng(), &mut || true).err(),
        Some(RsaError::Cancelled)
    );
}

#[test]
fn made_keys_match_the_other_implementation() {
    for (bits, e) in [(1024, 65537), (1024, 4_294_967_291), (2048, 65537)] {
        let mut key = generate(bits, e, &mut rng(), &mut || false).unwrap();
        let oracle = oracle(&key);
        oracle.validate().unwrap();
        assert_eq!(*oracle.n_bytes(), *key.public().modulus());
        let sealed = public_raw(key.public(), FOX).unwrap();
        assert!(
            private_raw(&mut key, &sealed, &mut rng())
                .unwrap()
                .ends_with(FOX)
        );
    }
}

#[test]
fn closeness_of_primes_is_measured_at_two_to_the_half_less_100() {
    let p = limbs::from_bytes(&[0xff; 64]);
    let mut q = p.clone();
    q[412 / 64] ^= 1 << (412 % 64);
    assert!(far_apart(&p, &q, 512) && far_apart(&q, &p, 512));
    let mut q = p.clone();
    q[411 / 64] ^= 1 << (411 % 64);
    assert!(!far_apart(&p, &q, 512) && !far_apart(&q, &p, 512));
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let shown = alloc::format!("{:?}", key());
    assert!(shown.contains("public") && !shown.contains("dp"));
}

fn number(bytes: &[u8], length: usize) -> Vec<u64> {
    let mut limbs = limbs::from_bytes(bytes).to_vec();
    limbs.resize(length, 0);
    limbs
}

/// Odd, its top limb not zero.
fn modulus(bytes: &[u8]) -> Vec<u64> {
    let mut limbs = limbs::from_bytes(bytes).to_vec();
    limbs[0] |= 1;
    *limbs.last_mut().unwrap() |= 1 << (bytes[0] % 64);
    limbs
}

fn reference_power(base: &[u64], exponent: &[u64], modulus: &[u64]) -> Vec<u64> {
    use crypto_bigint::Odd;
    use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
    let boxed = |limbs: &[u64]| crypto_bigint::BoxedUint::from_words(limbs.iter().copied());
    let params = BoxedMontyParams::new(Odd::new(boxed(modulus)).unwrap());
    BoxedMontyForm::new(boxed(base), &params)
        .pow(&boxed(exponent))
        .retrieve()
        .as_words()
        .to_vec()
}

proptest! {
    // The same cases in every run: who looks for others has the fuzzer.
    #![proptest_config(ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(64),
        ..ProptestConfig::default()
    })]

    #[test]
    fn modexp_agrees_with_another_implementation(
        length in 1usize..=64,
        bytes in proptest::collection::vec(any::<u8>(), 512),
        base in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 512),
        exponent in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let modulus = modulus(&bytes[..length * 8]);
        let mut base = number(&base[..length * 8], length);
        if !limbs::less(&base, &modulus) {
            base.fill(0);
            base[0] = 2;
        }
        let exponent = number(&exponent, 5);
        let mut result = vec![0; length];
        Portable.modexp_batch(&mut [Modexp {
            base: &base, exponent: &exponent, modulus: &modulus, result: &mut result,
        }]);
        if modulus != [1] {
            prop_assert_eq!(result, reference_power(&base, &exponent, &modulus));
        }
    }

    #[test]
    fn fermat_agrees_with_modexp(length in 8usize..=64, bytes in proptest::collection::vec(any::<u8>(), 512)) {
        let modulus = modulus(&bytes[..length * 8]);
        let mut exponent = modulus.clone();
        exponent[0] ^= 1;
        let mut two = vec![0; length];
        two[0] = 2;
        let power = reference_power(&two, &exponent, &modulus);
        let passes = power[0] == 1 && power[1..].iter().all(|&limb| limb == 0);
        prop_assert_eq!(Portable.fermat_batch(&[&modulus]) == 1, passes);
    }

    #[test]
    fn shifts_modulo_a_public_number_are_remainders(
        n in proptest::collection::vec(prop_oneof![Just(0u64), Just(u64::MAX), any::<u64>()], 1..34),
        x in proptest::collection::vec(prop_oneof![Just(0u64), Just(u64::MAX), any::<u64>()], 34),
        by in 0usize..200,
    ) {
        let mut n = n;
        n[0] |= 1;
        *n.last_mut().unwrap() |= 1 << 63;
        let mut x = x[..n.len()].to_vec();
        if !limbs::less(&x, &n) {
            x = limbs::subtract(&x, &n).0.to_vec();
        }
        let mut expected = x.clone();
        for _ in 0..by {
            let over = expected.last().unwrap() >> 63;
            let double = expected.clone();
            limbs::add(&mut expected, &double);
            if over == 1 || !limbs::less(&expected, &n) {
                expected = limbs::subtract(&expected, &n).0.to_vec();
            }
        }
        limbs::shift_modulo(&mut x, &n, by);
        prop_assert_eq!(x, expected);
    }

    #[test]
    fn exact_division_inverts_multiplication(
        a in proptest::collection::vec(any::<u64>(), 1..20),
        b in proptest::collection::vec(any::<u64>(), 1..20),
        small in any::<u64>(),
    ) {
        let mut b = b;
        b[0] |= 1;
        let product = limbs::multiply(&a, &b);
        prop_assert_eq!(limbs::divide_exactly(&product, &b).map(|limbs| limbs.to_vec()), Some(a.clone()));
        let mut product = limbs::multiply(&a, &[small | 1]);
        limbs::divide_by_word(&mut product, small | 1);
        prop_assert_eq!(&product[..a.len()], &a[..]);
        let rest = limbs::remainder_by_word(&a, small | 1);
        let expected = a.iter().rev().fold(0u128, |rest, &limb| (rest << 64 | u128::from(limb)) % u128::from(small | 1));
        prop_assert_eq!(u128::from(rest), expected);
    }

    #[test]
    fn hostile_keys_and_ciphertexts_never_panic(
        n in proptest::collection::vec(any::<u8>(), 0..140),
        p in proptest::collection::vec(any::<u8>(), 0..70),
        e in any::<u32>(),
        input in proptest::collection::vec(any::<u8>(), 0..140),
    ) {
        let _ = PrivateKey::from_prime(&n, e, &p);
        if let Ok(key) = PublicKey::new(&n, e) {
            let _ = public_raw(&key, &input);
            let _ = pss::verify(&key, HashAlgorithm::Sha256, &[0; 32], &input);
            let _ = pkcs1::verify(&key, HashAlgorithm::Sha256, &[0; 32], &input);
        }
    }
}
