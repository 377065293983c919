//! Vectors computed with OpenSSL.

use alloc::vec::Vec;

use super::{Cmac, Digest, HashAlgorithm, Hasher, Hmac, hash, hmac};
use crate::symmetric::{BlockCipher, SymmetricError};

fn bytes(count: u8, first: u8) -> Vec<u8> {
    (0..count).map(|i| first.wrapping_add(i)).collect()
}

fn long_data() -> Vec<u8> {
    (0..=255).chain(0..44).collect()
}

#[test]
fn hashes_match_openssl() {
    for vector in VECTORS {
        assert_eq!(hex::encode(hash(vector.algorithm, &[b"abc"])), vector.abc);
        assert_eq!(
            hex::encode(hash(vector.algorithm, &[b"a", b"", b"bc"])),
            vector.abc
        );
        assert_eq!(
            hex::encode(hash(vector.algorithm, &[&long_data()])),
            vector.long
        );
    }
    assert_eq!(VECTORS.map(|vector| vector.algorithm), HashAlgorithm::ALL);
}

#[test]
fn hmacs_match_openssl() {
    for vector in VECTORS {
        let digest = hmac(vector.algorithm, &bytes(20, 0x0b), &[b"Hi", b" There"]);
        assert_eq!(hex::encode(digest), vector.hmac);
        let digest = hmac(vector.algorithm, &bytes(200, 0), &[&long_data()]);
        assert_eq!(hex::encode(digest), vector.hmac_long_key);
    }
}

#[test]
fn a_key_of_one_block_is_not_hashed_and_a_longer_one_is() {
    for algorithm in HashAlgorithm::ALL {
        let block = bytes(algorithm.block_size().try_into().unwrap(), 1);
        let longer = bytes(u8::try_from(algorithm.block_size()).unwrap() + 1, 1);
        let mut padded = hash(algorithm, &[&longer]).to_vec();
        assert_eq!(
            hmac(algorithm, &longer, &[b"x"]),
            hmac(algorithm, &padded, &[b"x"])
        );
        padded.resize(algorithm.block_size(), 0);
        assert_eq!(
            hmac(algorithm, &longer, &[b"x"]),
            hmac(algorithm, &padded, &[b"x"])
        );
        assert_ne!(
            hmac(algorithm, &block, &[b"x"]),
            hmac(algorithm, &hash(algorithm, &[&block]), &[b"x"])
        );
    }
}

#[test]
fn digest_has_the_size_of_its_algorithm() {
    for algorithm in HashAlgorithm::ALL {
        assert_eq!(hash(algorithm, &[]).len(), algorithm.digest_size());
        assert_eq!(Hasher::new(algorithm).algorithm(), algorithm);
        assert_eq!(Hmac::new(algorithm, b"").algorithm(), algorithm);
    }
}

#[test]
fn a_saved_hash_goes_on_where_it_stopped() {
    for algorithm in HashAlgorithm::ALL {
        for stop in [0, 1, 63, 64, 65, 127, 128, 136, 255, 300] {
            let data = long_data();
            let (head, tail) = data.split_at(stop);
            let mut hasher = Hasher::new(algorithm);
            hasher.update(head);
            let mut resumed = Hasher::restore(algorithm, &hasher.save()).unwrap();
            resumed.update(tail);
            assert_eq!(resumed.finish(), hash(algorithm, &[&data]));

            let mut keyed = Hmac::new(algorithm, b"key");
            keyed.update(head);
            let mut resumed = Hmac::restore(algorithm, &keyed.save()).unwrap();
            resumed.update(tail);
            assert_eq!(resumed.finish(), hmac(algorithm, b"key", &[&data]));
        }
    }
}

#[test]
fn a_forged_saved_state_is_none_or_harmless() {
    for algorithm in HashAlgorithm::ALL {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&long_data());
        let saved = hasher.save();
        assert!(Hasher::restore(algorithm, &[]).is_none());
        assert!(Hasher::restore(algorithm, saved.get(1..).unwrap()).is_none());
        assert!(Hmac::restore(algorithm, &saved).is_none());
        assert!(Hasher::restore(algorithm, &[saved.clone(), [0].to_vec()].concat()).is_none());
        for value in [0, 0x40, 0x7f, 0x80, 0xff] {
            let mut all = saved.clone();
            all.fill(value);
            use_up(Hasher::restore(algorithm, &all));
            for position in 0..saved.len() {
                let mut forged = saved.clone();
                forged[position] = value;
                use_up(Hasher::restore(algorithm, &forged));
                forged[position..].fill(value);
                use_up(Hasher::restore(algorithm, &forged));
            }
        }
    }
}

fn use_up(hasher: Option<Hasher>) {
    if let Some(mut hasher) = hasher {
        hasher.update(&long_data());
        hasher.finish();
    }
}

#[test]
fn digests_compare_by_size_and_bytes() {
    let digest = hash(HashAlgorithm::Sha256, &[]);
    assert_eq!(Digest::from_slice(&digest).unwrap(), digest);
    assert_ne!(Digest::from_slice(&digest[..31]).unwrap(), digest);
    assert_ne!(hash(HashAlgorithm::Sha256, &[b"x"]), digest);
    assert!(Digest::from_slice(&[0; 65]).is_none());
}

#[test]
fn cmacs_match_openssl() {
    for (cipher, key_size, of_nothing, of_part, of_whole_blocks) in CMACS {
        let key = bytes(key_size, 0x10);
        let data = bytes(160, 0);
        for (size, expected) in [(0, of_nothing), (149, of_part), (160, of_whole_blocks)] {
            let data = &data[..size];
            for piece in [1, 7, 8, 16, 17, 160] {
                let mut cmac = Cmac::new(cipher, &key).unwrap();
                for data in data.chunks(piece) {
                    cmac.update(data);
                    cmac = Cmac::restore(cipher, &cmac.save()).unwrap();
                }
                assert_eq!(hex::encode(cmac.finish()), expected);
            }
        }
    }
}

#[test]
fn cmac_matches_rfc_4493() {
    let key = hex::decode("2b7e151628aed2a6abf7158809cf4f3c").unwrap();
    let data = hex::decode("6bc1bee22e409f96e93d7e117393172a").unwrap();
    let mut cmac = Cmac::new(BlockCipher::Aes, &key).unwrap();
    cmac.update(&data);
    assert_eq!(
        hex::encode(cmac.finish()),
        "070a16b46b4d4144f79bdd9dd04a287c"
    );
}

#[test]
fn a_forged_saved_cmac_is_none() {
    let cmac = Cmac::new(BlockCipher::Tdes, &bytes(16, 0)).unwrap();
    let mut saved = cmac.save();
    assert!(Cmac::restore(BlockCipher::Sm4, &saved).is_some());
    assert!(Cmac::restore(BlockCipher::Tdes, &[]).is_none());
    assert!(Cmac::restore(BlockCipher::Tdes, &saved[..saved.len() - 1]).is_none());
    saved[0] = 9;
    assert!(Cmac::restore(BlockCipher::Tdes, &saved).is_none());
    assert_eq!(
        Cmac::new(BlockCipher::Tdes, &[]).err(),
        Some(SymmetricError::KeySize)
    );
}

struct Vector {
    algorithm: HashAlgorithm,
    /// The hash of "abc".
    abc: &'static str,
    /// The hash of [`long_data`].
    long: &'static str,
    hmac: &'static str,
    hmac_long_key: &'static str,
}

/// Cipher, size of the key, CMAC of nothing, of 149 and of 160 bytes.
const CMACS: [(BlockCipher, u8, &str, &str, &str); 9] = [
    (
        BlockCipher::Aes,
        16,
        "5edcab55a50e659dda98ceb1c8809c01",
        "0d041450650c5bc35f497d6f58392c8b",
        "406ced03fa2a47df5f0346b0fb48d731",
    ),
    (
        BlockCipher::Aes,
        24,
        "86d69c0a51f3f99edbb402ee146adfa9",
        "9fbf608cf00fc6daed824bab27d67fe1",
        "1077a5cd34ed1a32d7d594ece022b844",
    ),
    (
        BlockCipher::Aes,
        32,
        "52067272675bb720449ae444dcc99402",
        "b0d458af0261079e6d30d99c80d81899",
        "f2af007c09f8fabdc9727612f2addd18",
    ),
    (
        BlockCipher::Camellia,
        16,
        "1169e54e9576264d2a1669d686dcb2e0",
        "8292bb1751f90d4b21d38809abd4d23d",
        "0967a4538a0aa93d72300516149d978d",
    ),
    (
        BlockCipher::Camellia,
        24,
        "b637f6f17378c8fc03c7b5fde5d4a9e2",
        "b73ebe6c9f6686c91f5762e89e77e3ce",
        "875f34b3f87ec4632515bc92404209e0",
    ),
    (
        BlockCipher::Camellia,
        32,
        "7d2994e3e3d65bfe2d9f0f9540057a5d",
        "a73c5f7753d417fcef0b3207ea4bb05a",
        "494c17a40a8079b051e35c12c74ee270",
    ),
    (
        BlockCipher::Tdes,
        16,
        "276e278ee97d0b1a",
        "00233f318e0cc6a6",
        "b9ad718bcaa6adea",
    ),
    (
        BlockCipher::Tdes,
        24,
        "0f6d774aa8199124",
        "f0dd438a764f94a5",
        "10276a4c7e22612a",
    ),
    (
        BlockCipher::Sm4,
        16,
        "43ad1133e1b91a8ad4caee40d131be96",
        "5143ca1f06066cb67c59669c9b66c868",
        "103aa3e46194d624e87149e395fef212",
    ),
];

const VECTORS: [Vector; 8] = [
    Vector {
        algorithm: HashAlgorithm::Sha1,
        abc: "a9993e364706816aba3e25717850c26c9cd0d89d",
        long: "bf77ecf143ceb21f1676c34b8d89c8bb3c43cc4e",
        hmac: "b47577ecf53e765ec9a5d92f4fc337959f0633ee",
        hmac_long_key: "05ee134332f085fee5b9bd8431e2def9603db082",
    },
    Vector {
        algorithm: HashAlgorithm::Sha256,
        abc: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        long: "7728ae2f2c36e2aaafbe79ca14c87ae2f89e7c88c4390ecbbf82dce88706958d",
        hmac: "a0a710805066d07f79eb155bec7a5bd3d347d4d63fedb535194f30ddb8e6e843",
        hmac_long_key: "e495320a15b5dcc9cb07d5b0fc04481a2d47f4ddeac9c577c9dd68a898e8a441",
    },
    Vector {
        algorithm: HashAlgorithm::Sha384,
        abc: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        long: "69672aca50c4279e4cdf788380294d7655bc68c7949e273318d60817f3262cff54e8c78ceaae0853e0a7adf36f392d38",
        hmac: "8b1668b9b00fd10cbc436c8bd2933568b1d0972aae5ce8bd82729227daee2d42cb0f104b3a41c3638d5d9cec5da8768e",
        hmac_long_key: "e703c7b32794af3324f6e1750030ea4c410634b933ec9fd7ae55f58f6bb34efbd4ebeddeba9995658e91a2a1c8c60fbc",
    },
    Vector {
        algorithm: HashAlgorithm::Sha512,
        abc: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        long: "f1dca2eb677b303265b0b9baff0e061202818f35c1470a69bbaa9bb66025e948d90e565e69642506c6213aef3cf9e929357a59da263deb34d1236dbdcda279b3",
        hmac: "46f20fbaabeee40bb8f4a98e573a59bedde9405abd597f52f4252fb24c108f5ffffc58c78515223667584b413defc614eb5bb7c7687a0226e39aa0bf83b9ad3c",
        hmac_long_key: "ce6db7fbf170c7fb3df06496bab238845f468b7ddf4189417a517ccf4cb20bbfb6ad3800b8ec44fbc3b510d3ad151f9ed181ab2bdf39331957a9c57117cff636",
    },
    Vector {
        algorithm: HashAlgorithm::Sha3_256,
        abc: "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        long: "815c06bbeb8520ce61add33a5f47bc558bf00e6361a5640c972d5d4634c58101",
        hmac: "82ea6a8aa0e5df808b980257fc2b1543877c2b51f1a8a0410fa1ca62942fab42",
        hmac_long_key: "9e8bab3af9e2ee0570be7f2681d1302e58dc41984a539398bc1344f6ea150f51",
    },
    Vector {
        algorithm: HashAlgorithm::Sha3_384,
        abc: "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
        long: "47aefea93608f52318d433e3bc58bd296f9a88954a9ab47bd7e462468d59eeece908f5e861ee208a44c361831802f11e",
        hmac: "d9b9f8ee1a211af3d0e0d9e8553afc55f30456a7747c629d0f9ecb26293505d8c5334d13da59b058e31efe8ee8bf93a7",
        hmac_long_key: "c5002e382a53e1d21eda70036e911f3e3ec4579369033224e6d169d46ca874d6d2f84dbf565f4210122c87035f7105fd",
    },
    Vector {
        algorithm: HashAlgorithm::Sha3_512,
        abc: "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
        long: "fa288fe9f54b8301e3012051fb1b275fd3f278a281ef149bb878fd322a647d3f51dc24908905550ed4883870c94f8d297f0690f8661b14d8222e9a46eebcbdf6",
        hmac: "9535ea217bdd59b3312e91ed3ac886609cdd25cadfbe24ccb01842e52004ffbdbfe570329afb398f44b198fb58ed4ca00450d852b648b0588d99e2fa7a933d54",
        hmac_long_key: "0c21ab2be9e58c2a51afea0b548ccb274ee37b6457d9919a2a44debdaa89e3ee07ba99b05730c1bfbdb833b153e8942d4f06aa23d7b43f729f017f7997afe124",
    },
    Vector {
        algorithm: HashAlgorithm::Sm3_256,
        abc: "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
        long: "11f3940f10ce70ef1f7bd8032b0a728b1124e52ce78c048f1090367776feb2e4",
        hmac: "49b817cd6d6ad55a17987b2df4bc301e2e4d0be3c77f74d106b4f00b9e0eddf6",
        hmac_long_key: "be63a2c6dbc1dd78bcebb4e3e6461c0b6a80b8dfa21c4303c69bde3fb7f45ffc",
    },
];
