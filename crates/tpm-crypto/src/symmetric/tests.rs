//! Vectors computed with OpenSSL. The counter of CTR wraps round inside the data.

use alloc::vec::Vec;

use super::{
    BlockCipher, Mode, SymmetricError, cfb_decrypt, cfb_encrypt, decrypt, encrypt,
    key_bits_supported, tdes_key_valid, tdes_set_odd_parity,
};
use crate::hash::{HashAlgorithm, hash};

const MODES: [Mode; 5] = [Mode::Ecb, Mode::Cbc, Mode::Ctr, Mode::Ofb, Mode::Cfb];

fn bytes(count: u8, first: u8) -> Vec<u8> {
    (0..count).map(|i| first.wrapping_add(i)).collect()
}

/// All ones but the last bit.
fn first_iv(cipher: BlockCipher, mode: Mode) -> Vec<u8> {
    let mut iv = [0xff].repeat(mode.iv_size(cipher));
    if let Some(last) = iv.last_mut() {
        *last = 0xfe;
    }
    iv
}

fn plaintext(mode: Mode) -> Vec<u8> {
    bytes(if mode.whole_blocks_only() { 160 } else { 149 }, 0)
}

#[test]
fn every_cipher_and_mode_matches_openssl() {
    for vector in VECTORS {
        let Vector { cipher, .. } = vector;
        let key = bytes(vector.key_size, 0x10);
        for mode in MODES {
            let mut data = plaintext(mode);
            let mut iv = first_iv(cipher, mode);
            encrypt(cipher, mode, &key, &mut iv, &mut data).unwrap();
            let (expected, expected_iv) = match mode {
                Mode::Ecb => (vector.ecb, "".into()),
                Mode::Cbc => (vector.cbc, hex::encode(&data[160 - cipher.block_size()..])),
                Mode::Ctr => (vector.ctr, vector.ctr_iv.into()),
                Mode::Ofb => (vector.ofb, vector.ofb_iv.into()),
                Mode::Cfb => (vector.cfb, vector.cfb_iv.into()),
            };
            if mode == Mode::Ecb {
                assert_eq!(
                    hex::encode(&data[..cipher.block_size()]),
                    vector.first_block
                );
            }
            assert_eq!(hex::encode(hash(HashAlgorithm::Sha256, &[&data])), expected);
            assert_eq!(hex::encode(&iv), expected_iv, "{cipher:?} {mode:?}");

            let mut iv = first_iv(cipher, mode);
            decrypt(cipher, mode, &key, &mut iv, &mut data).unwrap();
            assert_eq!(data, plaintext(mode));
            assert_eq!(hex::encode(&iv), expected_iv, "{cipher:?} {mode:?}");
        }
    }
}

#[test]
fn the_returned_iv_continues_the_message_at_any_block() {
    for vector in VECTORS {
        let Vector { cipher, .. } = vector;
        let key = bytes(vector.key_size, 0x10);
        for mode in MODES {
            for run in [encrypt, decrypt] {
                let mut whole = plaintext(mode);
                run(cipher, mode, &key, &mut first_iv(cipher, mode), &mut whole).unwrap();
                for piece in 1..=10 {
                    let mut data = plaintext(mode);
                    let mut iv = first_iv(cipher, mode);
                    for piece in data.chunks_mut(piece * cipher.block_size()) {
                        run(cipher, mode, &key, &mut iv, piece).unwrap();
                    }
                    assert_eq!(data, whole, "{cipher:?} {mode:?}");
                }
            }
        }
    }
}

#[test]
fn no_data_leaves_the_iv_alone() {
    for cipher in BlockCipher::ALL {
        for mode in MODES {
            let mut iv = first_iv(cipher, mode);
            encrypt(cipher, mode, &bytes(16, 0), &mut iv, &mut []).unwrap();
            decrypt(cipher, mode, &bytes(16, 0), &mut iv, &mut []).unwrap();
            assert_eq!(iv, first_iv(cipher, mode));
        }
    }
}

#[test]
fn wrong_sizes_are_refused_and_change_nothing() {
    for cipher in BlockCipher::ALL {
        for mode in MODES {
            for run in [encrypt, decrypt] {
                let good_iv = mode.iv_size(cipher);
                let attempt = |key: usize, iv: usize, size: usize| {
                    let mut iv = [7].repeat(iv);
                    let mut data = [9].repeat(size);
                    let result = run(cipher, mode, &[1].repeat(key), &mut iv, &mut data);
                    if result.is_err() {
                        assert!(iv.iter().all(|&byte| byte == 7));
                        assert!(data.iter().all(|&byte| byte == 9));
                    }
                    result
                };
                for key in 0..=40 {
                    let good = key_bits_supported(cipher, u16::try_from(key).unwrap() * 8);
                    let expected = if good {
                        Ok(())
                    } else {
                        Err(SymmetricError::KeySize)
                    };
                    assert_eq!(attempt(key, good_iv, 16), expected);
                }
                assert_eq!(attempt(16, good_iv + 1, 16), Err(SymmetricError::IvSize));
                if good_iv != 0 {
                    assert_eq!(attempt(16, 0, 16), Err(SymmetricError::IvSize));
                }
                let expected = if mode.whole_blocks_only() {
                    Err(SymmetricError::DataSize)
                } else {
                    Ok(())
                };
                assert_eq!(attempt(16, good_iv, 15), expected);
            }
        }
    }
}

#[test]
fn one_shot_cfb_is_cfb_and_keeps_the_iv() {
    let (key, iv) = (bytes(16, 0x10), bytes(16, 0));
    let mut expected = bytes(45, 0);
    encrypt(
        BlockCipher::Aes,
        Mode::Cfb,
        &key,
        &mut iv.clone(),
        &mut expected,
    )
    .unwrap();
    let mut data = bytes(45, 0);
    cfb_encrypt(BlockCipher::Aes, &key, &iv, &mut data).unwrap();
    assert_eq!(data, expected);
    cfb_decrypt(BlockCipher::Aes, &key, &iv, &mut data).unwrap();
    assert_eq!(data, bytes(45, 0));
    for size in [0, 15, 17, 64] {
        let iv = [0].repeat(size);
        let result = cfb_encrypt(BlockCipher::Aes, &key, &iv, &mut data);
        assert_eq!(result, Err(SymmetricError::IvSize));
    }
}

#[test]
fn aes_cfb_matches_sp_800_38a() {
    let key = hex::decode("2b7e151628aed2a6abf7158809cf4f3c").unwrap();
    let mut data =
        hex::decode("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51").unwrap();
    cfb_encrypt(BlockCipher::Aes, &key, &bytes(16, 0), &mut data).unwrap();
    assert_eq!(
        hex::encode(data),
        "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b"
    );
}

const GOOD: u64 = 0x0123_4567_89ab_cdef;
const OTHER: u64 = 0x2345_6789_abcd_ef01;
const THIRD: u64 = 0x4567_89ab_cdef_0123;

fn valid(keys: &[u64]) -> bool {
    let key: Vec<u8> = keys.iter().flat_map(|key| key.to_be_bytes()).collect();
    tdes_key_valid(&key)
}

#[test]
fn tdes_keys_are_two_or_three_with_unlike_neighbours() {
    assert!(valid(&[GOOD, OTHER]));
    assert!(valid(&[GOOD, OTHER, THIRD]));
    assert!(valid(&[GOOD, OTHER, GOOD]));
    assert!(!valid(&[GOOD, GOOD]));
    assert!(!valid(&[GOOD, OTHER, OTHER]));
    assert!(!valid(&[GOOD]));
    assert!(!valid(&[GOOD, OTHER, THIRD, GOOD]));
    assert!(!tdes_key_valid(&[0x23; 17]));
    // Parity bits do not make two keys different.
    assert!(!valid(&[GOOD, GOOD ^ 0x01]));
}

#[test]
fn weak_des_keys_are_refused_in_any_place() {
    // One or more of each kind in SP 800-67: weak, semi-weak, possibly weak.
    for weak in [
        0x0101_0101_0101_0101,
        0xfefe_fefe_fefe_fefe,
        0xe0e0_e0e0_f1f1_f1f1,
        0x1f1f_1f1f_0e0e_0e0e,
        0x011f_011f_010e_010e,
        0xfe01_fe01_fe01_fe01,
        0x1fe0_1fe0_0ef1_0ef1,
        0xe01f_e01f_f10e_f10e,
        0x0101_1f1f_0101_0e0e,
        0xe0e0_1f1f_f1f1_0e0e,
        0x1fe0_01fe_0ef1_01fe,
        0xfee0_1f01_fef1_0e01,
        0x0000_0000_0000_0000,
    ] {
        assert!(!valid(&[weak, OTHER]), "{weak:016x}");
        assert!(!valid(&[OTHER, weak]), "{weak:016x}");
        assert!(!valid(&[GOOD, OTHER, weak]), "{weak:016x}");
    }
}

#[test]
fn there_are_sixty_four_weak_des_keys() {
    let symbols = [(0x01, 0x01), (0x1f, 0x0e), (0xe0, 0xf1), (0xfe, 0xfe)];
    let mut weak = 0;
    for number in 0..256 {
        let mut key = [0; 8];
        for place in 0..4 {
            (key[place], key[place + 4]) = symbols[(number >> (2 * place)) & 3];
        }
        weak += usize::from(!valid(&[u64::from_be_bytes(key), GOOD]));
    }
    assert_eq!(weak, 64);
}

#[test]
fn odd_parity_changes_the_lowest_bits_only() {
    for byte in 0..=255u8 {
        let mut key = [byte];
        tdes_set_odd_parity(&mut key);
        assert_eq!(key[0].count_ones() % 2, 1);
        assert_eq!(key[0] >> 1, byte >> 1);
    }
}

/// Ciphertexts of 160 bytes (ECB, CBC) or 149 (the others) as their SHA-256.
struct Vector {
    cipher: BlockCipher,
    key_size: u8,
    first_block: &'static str,
    ecb: &'static str,
    cbc: &'static str,
    ctr: &'static str,
    ctr_iv: &'static str,
    ofb: &'static str,
    ofb_iv: &'static str,
    cfb: &'static str,
    cfb_iv: &'static str,
}

const VECTORS: [Vector; 9] = [
    Vector {
        cipher: BlockCipher::Aes,
        key_size: 16,
        first_block: "9c54d571702cfa0f03f36215676bab78",
        ecb: "f1c6d22b6073b1883fc70a9f0f7d05fbb3688b21de25e8cf4ca682955b6b08d3",
        cbc: "cca6db5faa89dc5291e0a39d95a881bda1548fd7cb0861cd861b31bd08ce6c87",
        ctr: "a6cedf0ece2c69f6935d3a921c2e0cea876224087650f1be0739e55488f0a3fd",
        ctr_iv: "00000000000000000000000000000008",
        ofb: "d18bbea93a59e070252780cbc24808e59ae6ee5ec0a585e3fac4f9acc2d3a1a6",
        ofb_iv: "679c5afbd94c80a8dfaf124fbcbdb63a",
        cfb: "16f584ee6eb0753962774ed578e89a1ec9742b4b68b5b1c089e99df516fe7f9f",
        cfb_iv: "ad4e037fb00000000000000000000000",
    },
    Vector {
        cipher: BlockCipher::Aes,
        key_size: 24,
        first_block: "48971eef48c838532bd73a9bd73a051c",
        ecb: "ce4bfa0a234ff2c57961c51b9c32ec801c033b19f36e188bfe5cc4c1889215bf",
        cbc: "5a2e8e65c69afdd54c09104ecd8e0497845f164f06149356dc8f8242847209ec",
        ctr: "ac885d2ee89b8749e9e5bc95abef60d108bf4e4d169e45d0acce94211f490422",
        ctr_iv: "00000000000000000000000000000008",
        ofb: "d69b1efec0e73b646b88ac20118fc6aa9aaf4266ea244dad27c1cda50b9b5b4e",
        ofb_iv: "dfa60aa4e2b0ab85a3162c02e568eae5",
        cfb: "72706a1dff6eb6353b6454ac3616118eb8c92d559dbb14f853f918e02c6a089f",
        cfb_iv: "98a81e09e20000000000000000000000",
    },
    Vector {
        cipher: BlockCipher::Aes,
        key_size: 32,
        first_block: "70d236b3d6321e508920fa620d83328b",
        ecb: "5e2688598be1a51a3b43faab2a02446e2ec64a4712debae6a66b847f4d2c5d48",
        cbc: "126b13c5e1eeb7fbe241dedb8422fa861d269b82b1bb9b6c8f7e9b50e1fd5d08",
        ctr: "fd794d0df903afb6e48e829f73fc2e89524f2cbd2eee4f94b5922b3b6e5f89d0",
        ctr_iv: "00000000000000000000000000000008",
        ofb: "83b1c6c5322b8a32ab10cfdfddedbab7d8f71cb51f365dcaf43c8a3d01f94ebe",
        ofb_iv: "f3019396a78e2abe4fd34b5bdbb933b6",
        cfb: "6dcbabbf78116322f3bc08bb864b0dd26917a6a3ade27742977d27676e0df4dd",
        cfb_iv: "23ce1e96770000000000000000000000",
    },
    Vector {
        cipher: BlockCipher::Camellia,
        key_size: 16,
        first_block: "26515e25ade830519e2586903c6e7183",
        ecb: "333e00d4a22594335f6cc3161ec0337aa6383a9030680a94a4bf2876d9243ae4",
        cbc: "0afe1902811eac60f54331462cff76221e56918d4d788d644475f62282eecb9e",
        ctr: "1ee245985c628c0b9ccb94f06ebfd06911c0c4c9c17f3391b2d0ef5f1c5b57cc",
        ctr_iv: "00000000000000000000000000000008",
        ofb: "2d7c52881bef8033fe36d192f262249175d308c04a7aa95e2bf9f2286866d5b0",
        ofb_iv: "f3f0d01edd42aedf2ea8cba501c796e7",
        cfb: "2fe599d796e1487dc2bcb2e74ca207cb8113e52cc5abac6096638f0f6f925570",
        cfb_iv: "fb9c29c5110000000000000000000000",
    },
    Vector {
        cipher: BlockCipher::Camellia,
        key_size: 24,
        first_block: "91887fd6bc9d6a5494e909e69a671ad3",
        ecb: "b9091e491893dd5cd012c64396a0e31b087a94cad501549f42ff459a05db9c9e",
        cbc: "7cad25ac6585f306640a396cf150c873221e453db52ec23f4949c4fff7b1e3f1",
        ctr: "77fec1c0d67edbf4cbb124185b936a9dfc4db146ba1940e98a1b7644ed943a96",
        ctr_iv: "00000000000000000000000000000008",
        ofb: "a5c35822057c2324d0079faaa75296ed306e09bd3b7a9a3f2df60dc3d7b1cccf",
        ofb_iv: "6089d062d3024a4233569b25afd295b1",
        cfb: "a4f092830d5d02b896424031658f830d66a02ca454830c527af5efe732197673",
        cfb_iv: "5784e96d5b0000000000000000000000",
    },
    Vector {
        cipher: BlockCipher::Camellia,
        key_size: 32,
        first_block: "b72a3b86e9f130cd270be3268f956367",
        ecb: "ca626999b4d941abffd95d2daff70a65e82360e60974aed1353d60c0747639fd",
        cbc: "50b96f71dd575cab5fc1021b6d9f758cd82c604f509d6b6561b4825a3c7e822f",
        ctr: "cf0e35c0e679e03ddd55b88408a74abf5b401b9a7844c1e97bb8a14094ab2273",
        ctr_iv: "00000000000000000000000000000008",
        ofb: "21fb35647510bd263d2b392844425596ec40a0a5b60ec1e258c55291d83f60ce",
        ofb_iv: "77e26b9f3d292245912aca0c4390af70",
        cfb: "fa5be431977c5d9526b6d2c9185f02af2c4af9c25cc2cad97d5568c189a158b7",
        cfb_iv: "9af14136f50000000000000000000000",
    },
    Vector {
        cipher: BlockCipher::Tdes,
        key_size: 16,
        first_block: "ae2fdb9097307ad7",
        ecb: "0417907d7901e09d08063aa4fe6aad08f8a0b983c0e090280e5e63f2d2ff2d95",
        cbc: "9b87845efd775dd3bfd2f207681b0007a6f95f502775a8fef853e30f50b7e31b",
        ctr: "66d32e3f9c83b04e4e43118af985915f61256cabd86371b33290d168c510fe86",
        ctr_iv: "0000000000000011",
        ofb: "041adf128914acab26a17982d769012541005d984e905a261458ebc1ada0cf3e",
        ofb_iv: "e1509bd0496fa44a",
        cfb: "36a89576168d15bb6f3874d0eb0839afaf64ef70f81c4f7bc352fd6e168950de",
        cfb_iv: "bae7b3fc86000000",
    },
    Vector {
        cipher: BlockCipher::Tdes,
        key_size: 24,
        first_block: "4a47d096f1bbbf75",
        ecb: "7d73ee15412766d3d2f5e5121abded08dc040828fa08d1c422724ef56ed25392",
        cbc: "49c8c0f9dc74e3d5b6fd83913defd48953e1e41185e85936df7f552037a2f15d",
        ctr: "8d915a2ccf542ebe4377c63045fbde4b0cbaacbdb6f946bf31cf880ce16f77d2",
        ctr_iv: "0000000000000011",
        ofb: "29a4cefe98deefb0a5813d078bc73461a6379f14eb792385c8f6401f44cf11a2",
        ofb_iv: "3a1e7538d397ada2",
        cfb: "335f11250d4f36711b510f422110f5e6ae487939ac049a3bbc0dff7227b27443",
        cfb_iv: "3dd8ab4d65000000",
    },
    Vector {
        cipher: BlockCipher::Sm4,
        key_size: 16,
        first_block: "baaffe0bb792e8eb03dd827917edea50",
        ecb: "02bfe958c3d83feee3ec9d31adbe9d812969f9e7396b67db09939e5268f76448",
        cbc: "e7fd61a4cdeacccceaa1eec1bd026bc108d9ac1df286d7a5696b1d661f1ba72a",
        ctr: "178cabb2a19c851db0e853352cb1e7d2b217495fd5fb24dc852a8c5e3341d8ac",
        ctr_iv: "00000000000000000000000000000008",
        ofb: "7ac906962e4799bb895faf646cebbe6d568b9f99bbadd8f0cd252ad1b02f0a20",
        ofb_iv: "dd127d41c4dc5e738c57a549dedc3971",
        cfb: "195b60c334066c9378f8ce1aca1b0b5bb87f136cefd81f99e22303eafdca60ab",
        cfb_iv: "17f93e91500000000000000000000000",
    },
];
