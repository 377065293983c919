//! The self-tests: an answer that must come out, for each algorithm.
//!
//! Hashes and ciphers are those of their standards (the hash of "abc", FIPS 197, RFC 3713, GB/T 32907, RFC 4231, RFC 4493,
//! GM/T 0003.5); the others were computed by OpenSSL and by Python's hashlib. RSA is tested with 1024 bits, which costs
//! least; the arithmetic is the same in all sizes.

use tpm_crypto::drbg::Drbg;
use tpm_crypto::ecc::{self, Curve, Point, PrivateKey, ecdsa, schnorr, sm2};
use tpm_crypto::hash::{Cmac, HashAlgorithm, hash, hmac};
use tpm_crypto::kdf::{kdf2, kdfa, kdfe, mgf1};
use tpm_crypto::rsa::{self, DEFAULT_EXPONENT, RsaError, oaep, pkcs1, pss};
use tpm_crypto::symmetric::{BlockCipher, Mode, decrypt, encrypt};
use tpm_wire::constants::TpmAlgId;

/// A test: true if the answer is right.
pub(super) type Test = fn(&mut Drbg) -> bool;

/// The algorithms that have a test, at most 64.
pub(super) const TESTS: &[(TpmAlgId, Test)] = &[
    (TpmAlgId::SHA1, |_| digest(HashAlgorithm::Sha1, &SHA1)),
    (TpmAlgId::SHA256, |_| digest(HashAlgorithm::Sha256, &SHA256)),
    (TpmAlgId::SHA384, |_| digest(HashAlgorithm::Sha384, &SHA384)),
    (TpmAlgId::SHA512, |_| digest(HashAlgorithm::Sha512, &SHA512)),
    (TpmAlgId::SM3_256, |_| digest(HashAlgorithm::Sm3_256, &SM3)),
    (TpmAlgId::SHA3_256, |_| {
        digest(HashAlgorithm::Sha3_256, &SHA3_256)
    }),
    (TpmAlgId::SHA3_384, |_| {
        digest(HashAlgorithm::Sha3_384, &SHA3_384)
    }),
    (TpmAlgId::SHA3_512, |_| {
        digest(HashAlgorithm::Sha3_512, &SHA3_512)
    }),
    (TpmAlgId::HMAC, |_| {
        *hmac(
            HashAlgorithm::Sha256,
            b"Jefe",
            &[b"what do ya want for nothing?"],
        ) == HMAC
    }),
    // CMAC is tested with its cipher: libraries of clients that print the list of what is left have no name for it.
    (TpmAlgId::AES, |_| {
        cipher(BlockCipher::Aes, &AES_KEY, &AES_PLAIN, &AES)
            && Cmac::new(BlockCipher::Aes, &CMAC_KEY).is_ok_and(|cmac| *cmac.finish() == CMAC)
    }),
    (TpmAlgId::TDES, |_| {
        cipher(BlockCipher::Tdes, &TDES_KEY, &TDES_PLAIN, &TDES)
    }),
    (TpmAlgId::CAMELLIA, |_| {
        cipher(BlockCipher::Camellia, &RAMP, &RAMP, &CAMELLIA)
    }),
    (TpmAlgId::SM4, |_| {
        cipher(BlockCipher::Sm4, &RAMP, &RAMP, &SM4)
    }),
    (TpmAlgId::ECB, |_| mode(Mode::Ecb, &ECB)),
    (TpmAlgId::CBC, |_| mode(Mode::Cbc, &CBC)),
    (TpmAlgId::CFB, |_| mode(Mode::Cfb, &CFB)),
    (TpmAlgId::OFB, |_| mode(Mode::Ofb, &OFB)),
    (TpmAlgId::CTR, |_| mode(Mode::Ctr, &CTR)),
    (TpmAlgId::KDF1_SP800_108, |_| {
        **kdfa(HashAlgorithm::Sha256, &SECRET, b"STORAGE", b"u", b"v", 256) == KDFA
    }),
    (TpmAlgId::KDF1_SP800_56A, |_| {
        **kdfe(HashAlgorithm::Sha256, &SECRET, b"SECRET", b"u", b"v", 256) == KDFE
    }),
    (TpmAlgId::KDF2, |_| {
        let mut out = [0; 32];
        kdf2(HashAlgorithm::Sha256, &[&SECRET], &mut out);
        out == KDF2
    }),
    (TpmAlgId::MGF1, |_| {
        let mut out = [0; 32];
        mgf1(HashAlgorithm::Sha256, &SECRET, &mut out);
        out == MGF1
    }),
    (TpmAlgId::RSASSA, |random| {
        rsa_key().is_ok_and(|mut key| {
            pkcs1::sign(&mut key, HashAlgorithm::Sha256, &SHA256, random)
                .is_ok_and(|signature| *signature == RSASSA)
                && pkcs1::verify(key.public(), HashAlgorithm::Sha256, &SHA256, &RSASSA).is_ok()
        })
    }),
    (TpmAlgId::RSAPSS, |random| {
        rsa_key().is_ok_and(|mut key| {
            let verify = |key: &rsa::PublicKey, signature: &[u8]| {
                pss::verify(key, HashAlgorithm::Sha256, &SHA256, signature).is_ok()
            };
            verify(key.public(), &RSAPSS)
                && pss::sign(&mut key, HashAlgorithm::Sha256, &SHA256, random)
                    .is_ok_and(|signature| verify(key.public(), &signature))
        })
    }),
    (TpmAlgId::RSAES, |random| {
        rsa_key()
            .and_then(|mut key| pkcs1::decrypt(&mut key, &RSAES, random))
            .is_ok_and(|plain| **plain == *MESSAGE)
    }),
    (TpmAlgId::OAEP, |random| {
        rsa_key()
            .and_then(|mut key| oaep::decrypt(&mut key, HashAlgorithm::Sha256, b"", &OAEP, random))
            .is_ok_and(|plain| **plain == *MESSAGE)
    }),
    (TpmAlgId::ECDSA, |random| {
        let Some((key, public)) = p256_key() else {
            return false;
        };
        ecdsa::verify(&public, &SHA256, &ECDSA_R, &ECDSA_S).is_ok()
            && ecdsa::sign(&key, &SHA256, &entropy(random))
                .is_ok_and(|made| ecdsa::verify(&public, &SHA256, &made.r, &made.s).is_ok())
    }),
    (TpmAlgId::ECDH, |_| {
        let peer = ecc::on_curve(Curve::NistP256, &PEER_X, &PEER_Y);
        peer.is_some_and(|peer| {
            ecc::multiply(Curve::NistP256, &P256_KEY, &peer).is_ok_and(|shared| *shared.x() == ECDH)
        })
    }),
    (TpmAlgId::ECSCHNORR, |random| {
        let Some((key, public)) = p256_key() else {
            return false;
        };
        schnorr::sign(&key, HashAlgorithm::Sha256, &SHA256, &entropy(random)).is_ok_and(|made| {
            let verify = |digest: &[u8]| {
                schnorr::verify(&public, HashAlgorithm::Sha256, digest, &made.r, &made.s).is_ok()
            };
            verify(&SHA256) && !verify(&SM3)
        })
    }),
    (TpmAlgId::SM2, |random| {
        let key = PrivateKey::new(Curve::Sm2P256, &SM2_KEY);
        key.is_some_and(|key| {
            let public = key.public();
            sm2::verify(&public, &SM2_DIGEST, &SM2_R, &SM2_S).is_ok()
                && sm2::sign(&key, &SM2_DIGEST, &entropy(random))
                    .is_ok_and(|made| sm2::verify(&public, &SM2_DIGEST, &made.r, &made.s).is_ok())
        })
    }),
];

fn digest(algorithm: HashAlgorithm, expected: &[u8]) -> bool {
    *hash(algorithm, &[MESSAGE]) == *expected
}

fn cipher(cipher: BlockCipher, key: &[u8], plain: &[u8], expected: &[u8]) -> bool {
    let mut block = [0; BlockCipher::MAX_BLOCK_SIZE];
    let Some(block) = block.get_mut(..plain.len()) else {
        return false;
    };
    block.copy_from_slice(plain);
    encrypt(cipher, Mode::Ecb, key, &mut [], block).is_ok()
        && *block == *expected
        && decrypt(cipher, Mode::Ecb, key, &mut [], block).is_ok()
        && *block == *plain
}

fn mode(mode: Mode, expected: &[u8; 32]) -> bool {
    let mut data = PLAIN;
    let iv = IV.get(..mode.iv_size(BlockCipher::Aes)).unwrap_or_default();
    let (mut first, mut second) = (IV, IV);
    let (Some(first), Some(second)) = (first.get_mut(..iv.len()), second.get_mut(..iv.len()))
    else {
        return false;
    };
    encrypt(BlockCipher::Aes, mode, &AES_KEY, first, &mut data).is_ok()
        && data == *expected
        && decrypt(BlockCipher::Aes, mode, &AES_KEY, second, &mut data).is_ok()
        && data == PLAIN
}

fn rsa_key() -> Result<rsa::PrivateKey, RsaError> {
    rsa::PrivateKey::from_prime(&RSA_MODULUS, DEFAULT_EXPONENT, &RSA_PRIME)
}

fn p256_key() -> Option<(PrivateKey, Point)> {
    let key = PrivateKey::new(Curve::NistP256, &P256_KEY)?;
    let public = key.public();
    (*public.x() == P256_X && *public.y() == P256_Y).then_some((key, public))
}

fn entropy(random: &mut Drbg) -> [u8; 32] {
    let mut entropy = [0; 32];
    random.fill(&mut entropy);
    entropy
}

const MESSAGE: &[u8] = b"abc";
const SHA1: [u8; 20] = hex("a9993e364706816aba3e25717850c26c9cd0d89d");
const SHA256: [u8; 32] = hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
const SHA384: [u8; 48] = hex(
    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
);
const SHA512: [u8; 64] = hex(
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
);
const SM3: [u8; 32] = hex("66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0");
const SHA3_256: [u8; 32] = hex("3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
const SHA3_384: [u8; 48] = hex(
    "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
);
const SHA3_512: [u8; 64] = hex(
    "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
);
const HMAC: [u8; 32] = hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
const AES_KEY: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f");
const AES_PLAIN: [u8; 16] = hex("00112233445566778899aabbccddeeff");
const AES: [u8; 16] = hex("69c4e0d86a7b0430d8cdb78070b4c55a");
const TDES_KEY: [u8; 24] = hex("0123456789abcdef23456789abcdef01456789abcdef0123");
const TDES_PLAIN: [u8; 8] = hex("0011223344556677");
const TDES: [u8; 8] = hex("109aeac4d79bfadd");
const RAMP: [u8; 16] = hex("0123456789abcdeffedcba9876543210");
const CAMELLIA: [u8; 16] = hex("67673138549669730857065648eabe43");
const SM4: [u8; 16] = hex("681edf34d206965e86b3e94f536e4246");
const CMAC_KEY: [u8; 16] = hex("2b7e151628aed2a6abf7158809cf4f3c");
const CMAC: [u8; 16] = hex("bb1d6929e95937287fa37d129b756746");
const IV: [u8; 16] = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
const PLAIN: [u8; 32] = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
const ECB: [u8; 32] = hex("0a940bb5416ef045f1c39458c653ea5a07feef74e1d5036e900eee118e949293");
const CBC: [u8; 32] = hex("753d5eacf88ed4c2c30496112e5f2221380449120c43e61d91c66cae5065cdad");
const CFB: [u8; 32] = hex("66a6c5eb3057374f9f58d40c3f1ba3a25b050107dcd400f797204348c0a7fd59");
const OFB: [u8; 32] = hex("66a6c5eb3057374f9f58d40c3f1ba3a27e708ba942c09a4513777f0dedd79fb5");
const CTR: [u8; 32] = hex("66a6c5eb3057374f9f58d40c3f1ba3a2a290c513a38b2ababcb469a0728101f5");
const SECRET: [u8; 32] = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
const KDFA: [u8; 32] = hex("b9111c96cfbfb9332603ad9589dc9e9c612b104d486cf80a622c8eff2e5b7590");
const KDFE: [u8; 32] = hex("91f10107b310128cdd600503285eac7414014b46b389e1b3f67b3b3c69752735");
const KDF2: [u8; 32] = hex("04a6950a06d3e3308ad7d3606ef810eb124e3943404ca746a12c51c7bf776839");
const MGF1: [u8; 32] = hex("70f4003d52b6eb03da852e93256b5986b5d4883098bb7973bc5318cc66637a84");
const RSA_MODULUS: [u8; 128] = hex(
    "a7f6bd0275eefa52d48a520492a29fd95e08e3410fc0aa0d673a0602fc21c78ee0af4218ddc4c5d9e1868e2c737e5cff78cf4bd0183968db9bf4f5b9bcc01f5d5000dd8ae13d451c3e53c34d92f54c97c2d1823dec92c7ad33dcfdf740ed4955134842a3badfcfb455e085bb72225710eddabbb42eed09106478be1fd85ce465",
);
const RSA_PRIME: [u8; 64] = hex(
    "df599343a0e1c98174b01fedc4b85e4758fa417544bf852f7b29096cbbdc3cab903a77d0c0272fcd2c27c620fa0a6aa99e701a16da167138f7e9b7c2366c56bf",
);
const RSASSA: [u8; 128] = hex(
    "153df4247307a75dd67fc7930e41d5ca7a754b85c691be0e362eb7a713427ee2dff2c69c609929085f030c9a32be3f14ce94d94ff63e70654049da73f775ab5d037194ec49be040f2354ff4fdc55a5ac40235eb6cbf8f2e64f32dd6c08a177a998cf7a6036354736a6c0cd89474c17ba05aaf04a03101c81e45487b3865b66ae",
);
const RSAPSS: [u8; 128] = hex(
    "28bd28ed929b62480cbd4ff3bb2bd03d4f818975072360071381962a6a002d992b42dd13c3928d408fdedef34ce77464d770f1153c810fe7c6e0af5e18beb8980f3536aebad85d25b835d69399b2cd9f91e4b540a45e686176829bf561defecf6f9461a65d880d24c3bb9c2c84dd88948895e08e05d9ea72f0b7e87f1c76f424",
);
const RSAES: [u8; 128] = hex(
    "8b6abbb1769d956ca6bd6d218ca058970b201d7f78d52d938d3dd35cd96660b0687776727dd7a0e89abb401a835ac06b2bde777074964a9c4c1aac98f247b8a8b4e9f78d705c14194f9a450b3a3878bf9b54f3cefad108ec5660c643763069e60212bdfcfa523d3757fffb84373ad6c72267f6b2dbb05eb6e4d7133576993f27",
);
const OAEP: [u8; 128] = hex(
    "15b151232bb408ac92c79372fba04766630b4db7b875fa5e3e08639f1fd2df7cd4f6c75a371d760a2a90c24f2480fbbd10e66d64a271b4250bd300551c60efd3059c4b43f98aad5d9b2c60b17c20caabdc81435afb3f22010ef5f67c0bec65d70f1f57c5d2547a7c58452023df1ba2fb5a759782285d296a1d73c8342b5ea419",
);
const P256_KEY: [u8; 32] = hex("51cedfce09068d05a4d666f63b44b2bd2be1649bd87325e26bcd421fdaa2fc11");
const P256_X: [u8; 32] = hex("798f665a96c0b8323b04c57fbbc451677f0c906da4fb7467f4d46e8c506a7ef4");
const P256_Y: [u8; 32] = hex("e110539481071115e777b399b0a44a7f805869959934698f54bb13452e5433db");
const ECDSA_R: [u8; 32] = hex("53f669aee07637d74c572477c63d033e65ac873d4a3750686ca374af6e9d0172");
const ECDSA_S: [u8; 32] = hex("1c5a4074e133daa389433642dbc0d4ffd1cf7eb4b2a81e2247709e600989c65d");
const PEER_X: [u8; 32] = hex("34eba2e8f5c150a040c3214e7d5800a89202ca3d764efa91bd3554c978e6e3b5");
const PEER_Y: [u8; 32] = hex("ca4ab04ff9e98cd4e8a76517d69bf46d8a2362a8efb37d562bffd7b819c7c7db");
const ECDH: [u8; 32] = hex("91f7223ca289f999c5096bfb8a611e194b04d2cf2f096e103ca61a7f114dbec1");
const SM2_KEY: [u8; 32] = hex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8");
const SM2_DIGEST: [u8; 32] =
    hex("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640");
const SM2_R: [u8; 32] = hex("f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3");
const SM2_S: [u8; 32] = hex("b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa");

/// The bytes that hexadecimal digits stand for, at compile time.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where a wrong index is an error"
)]
const fn hex<const SIZE: usize>(text: &str) -> [u8; SIZE] {
    const fn nibble(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            _ => digit - b'a' + 10,
        }
    }
    let digits = text.as_bytes();
    assert!(digits.len() == 2 * SIZE, "two digits make a byte");
    let mut bytes = [0; SIZE];
    let mut index = 0;
    while index < SIZE {
        bytes[index] = nibble(digits[2 * index]) << 4 | nibble(digits[2 * index + 1]);
        index += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Drbg, TESTS};

    #[test]
    fn every_algorithm_gives_its_known_answer() {
        let mut random = Drbg::new(&[7; 48], &[]);
        assert!(TESTS.len() <= 64);
        for (algorithm, test) in TESTS {
            assert!(test(&mut random), "{algorithm:?}");
        }
    }
}
