use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero, Odd, Resize};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::fs;
use std::process::{Command, Output};
use tpm_crypto::drbg::Drbg;
use tpm_crypto::rsa::engine::Modexp;
use tpm_crypto::rsa::{self, Engine, Portable};

use super::detected;
use super::fuzzing::{below, engines_agree, odd};

/// The engine, or nothing to test on this machine, which the log says.
fn engine() -> Option<&'static dyn Engine> {
    let engine = detected();
    if engine.is_none() {
        eprintln!("this processor has no AVX-512 IFMA: nothing compared");
    }
    engine
}

fn reference(base: &[u64], exponent: &[u64], modulus: &[u64]) -> Vec<u64> {
    let boxed = |limbs: &[u64]| BoxedUint::from_words(limbs.iter().copied());
    let params = BoxedMontyParams::new(Odd::new(boxed(modulus)).unwrap());
    let power = BoxedMontyForm::new(boxed(base), &params).pow(&boxed(exponent));
    power.retrieve().as_words().to_vec()
}

fn limb() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => Just(u64::MAX), 4 => any::<u64>()]
}

proptest! {
    // The same cases in every run: who looks for others has the fuzzer.
    #![proptest_config(ProptestConfig {
        cases: 96,
        rng_seed: RngSeed::Fixed(96),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_the_fuzzer_runs_finds_nothing(bytes in vec(any::<u8>(), 0..600)) {
        engines_agree(&bytes);
    }

    #[test]
    fn powers_are_those_of_another_implementation(
        length in 1usize..=33,
        lanes in 1usize..=19,
        numbers in vec(vec(limb(), 33), 19),
        bases in vec(vec(limb(), 33), 19),
        exponents in vec(vec(limb(), 0..4), 19),
        zeros in vec(0u32..64, 19),
    ) {
        let Some(engine) = engine() else { return Ok(()) };
        let moduli: Vec<_> = (0..lanes).map(|i| odd(numbers[i][..length].to_vec(), zeros[i])).collect();
        let bases: Vec<_> = (0..lanes).map(|i| below(bases[i][..length].to_vec(), &moduli[i])).collect();
        let mut results = vec![vec![0; length]; lanes];
        let mut jobs: Vec<_> = results.iter_mut().enumerate().map(|(i, result)| Modexp {
            base: &bases[i], exponent: &exponents[i], modulus: &moduli[i], result,
        }).collect();
        engine.modexp_batch(&mut jobs);
        for i in 0..lanes {
            prop_assert_eq!(&results[i], &reference(&bases[i], &exponents[i], &moduli[i]), "lane {}", i);
        }
    }

    #[test]
    fn fermat_tests_answer_as_the_portable_engine_does(
        length in 8usize..=33,
        numbers in vec(vec(limb(), 33), 1..=8),
        zeros in 0u32..64,
    ) {
        let Some(engine) = engine() else { return Ok(()) };
        // Numbers of the form 2^k - 1 and such pass or nearly pass; random ones never do.
        let candidates: Vec<_> = numbers.iter().map(|n| odd(n[..length].to_vec(), zeros)).collect();
        let candidates: Vec<&[u64]> = candidates.iter().map(Vec::as_slice).collect();
        let expected = candidates.iter().enumerate()
            .fold(0, |mask, (i, candidate)| mask | Portable.fermat_batch(&[candidate]) << i);
        prop_assert_eq!(engine.fermat_batch(&candidates), expected);
    }
}

#[test]
fn keys_are_those_of_the_portable_engine() {
    let Some(engine) = engine() else { return };
    for (bits, seeds) in [(1024, 24u8), (2048, 8), (3072, 2), (4096, 1)] {
        for seed in 0..seeds {
            let generator = || Drbg::new(&[seed; 48], &[b"same keys"]);
            let (mut ours, mut theirs) = (generator(), generator());
            let ours = rsa::generate_with(engine, bits, 65537, &mut ours, &mut || false).unwrap();
            let portable = rsa::generate(bits, 65537, &mut theirs, &mut || false).unwrap();
            assert_eq!(ours.prime(), portable.prime(), "{bits} bits, seed {seed}");
            assert_eq!(ours.other_prime(), portable.other_prime());
        }
    }
}

#[test]
fn primes_pass_and_products_do_not_in_every_lane() {
    let Some(engine) = engine() else { return };
    let mut random = Drbg::new(&[9; 48], &[b"lanes"]);
    for bits in [512, 768, 1024, 1536, 2048] {
        let search = tpm_crypto::prime::Search::new(bits, 65537);
        let prime = search.prime(&Portable, &mut random, &mut || false).unwrap();
        let mut composite = prime.clone();
        composite[1] ^= 1;
        assert_eq!(Portable.fermat_batch(&[&composite]), 0);
        for mask in [0u64, 1, 0x80, 0xff, 0x55, 0x2a, 0x7e] {
            let lanes: [&[u64]; 8] = core::array::from_fn(|i| {
                if mask >> i & 1 == 1 {
                    &prime[..]
                } else {
                    &composite
                }
            });
            assert_eq!(engine.fermat_batch(&lanes), mask, "{bits} bits");
            for count in 1..8 {
                assert_eq!(
                    engine.fermat_batch(&lanes[..count]),
                    mask & ((1 << count) - 1)
                );
            }
        }
    }
}

fn openssl(arguments: &[&str]) -> Output {
    Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl runs (Debian package openssl)")
}

#[test]
fn openssl_finds_primes_and_sound_keys() {
    let engine = engine().unwrap_or(&Portable);
    let folder = tempfile::tempdir().unwrap();
    for (bits, seed) in [(1024, 1u8), (2048, 2), (2048, 3), (3072, 4), (4096, 5)] {
        let mut random = Drbg::new(&[seed; 48], &[b"openssl"]);
        let mut key = rsa::generate_with(engine, bits, 65537, &mut random, &mut || false).unwrap();
        let [p, q] = [key.prime(), key.other_prime()].map(|prime| hex::encode(&*prime));
        for prime in [&p, &q] {
            let answer = openssl(&["prime", "-hex", prime]);
            let text = String::from_utf8(answer.stdout).unwrap();
            assert!(text.trim_end().ends_with("is prime"), "{bits} bits: {text}");
        }

        // The private key in the form that `openssl asn1parse -genconf` makes DER of; OpenSSL finds the exponents itself.
        let file = |name: &str| folder.path().join(name).display().to_string();
        let number = |limbs: &BoxedUint| hex::encode(limbs.to_be_bytes());
        let [p_number, q_number] =
            [&p, &q].map(|prime| BoxedUint::from_be_slice_vartime(&hex::decode(prime).unwrap()));
        let one = BoxedUint::one();
        let [p1, q1] = [&p_number, &q_number].map(|prime| prime.wrapping_sub(&one));
        let e = BoxedUint::from(65537u64);
        let inverse = |x: &BoxedUint, modulus: &BoxedUint| {
            let x = x.resize(modulus.bits_precision());
            let modulus = NonZero::new(modulus.clone()).unwrap();
            number(&x.invert_mod(&modulus).unwrap())
        };
        let phi = p1.concatenating_mul(&q1);
        let fields = [
            ("version", "0".to_owned()),
            ("n", hex::encode(key.public().modulus())),
            ("e", number(&e)),
            ("d", inverse(&e, &phi)),
            ("p", p.clone()),
            ("q", q.clone()),
            ("dp", inverse(&e, &p1)),
            ("dq", inverse(&e, &q1)),
            ("qinv", inverse(&q_number, &p_number)),
        ];
        let lines: String = fields
            .iter()
            .map(|(name, hex)| format!("{name}=INTEGER:0x{hex}\n"))
            .collect();
        fs::write(file("config"), format!("asn1=SEQUENCE:key\n[key]\n{lines}")).unwrap();
        let made = openssl(&[
            "asn1parse",
            "-genconf",
            &file("config"),
            "-noout",
            "-out",
            &file("key"),
        ]);
        assert!(made.status.success(), "{made:?}");
        let checked = openssl(&[
            "rsa",
            "-inform",
            "DER",
            "-in",
            &file("key"),
            "-check",
            "-noout",
        ]);
        assert!(
            String::from_utf8_lossy(&checked.stdout).contains("RSA key ok"),
            "{checked:?}"
        );

        // A private operation gives what OpenSSL's gives.
        fs::write(
            file("block"),
            [&[0u8; 1][..], &vec![0x5a; bits / 8 - 1]].concat(),
        )
        .unwrap();
        let opened = openssl(&[
            "pkeyutl",
            "-decrypt",
            "-keyform",
            "DER",
            "-inkey",
            &file("key"),
            "-pkeyopt",
            "rsa_padding_mode:none",
            "-in",
            &file("block"),
        ]);
        let ours =
            rsa::private_raw(&mut key, &fs::read(file("block")).unwrap(), &mut random).unwrap();
        assert!(opened.status.success(), "{opened:?}");
        assert_eq!(opened.stdout, *ours, "{bits} bits");
    }
}
