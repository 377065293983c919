//! From the wire's algorithm identifiers to the algorithms of `tpm-crypto`.

use alloc::vec::Vec;
use tpm_crypto::hash::{Digest, HashAlgorithm};
use tpm_crypto::symmetric::{BlockCipher, Mode};
use tpm_wire::algorithm::{TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject};
use tpm_wire::buffers::Small;

/// The hash that an identifier names.
pub(crate) const fn hash_algorithm(id: TpmiAlgHash) -> HashAlgorithm {
    match id {
        TpmiAlgHash::Sha1 => HashAlgorithm::Sha1,
        TpmiAlgHash::Sha256 => HashAlgorithm::Sha256,
        TpmiAlgHash::Sha384 => HashAlgorithm::Sha384,
        TpmiAlgHash::Sha512 => HashAlgorithm::Sha512,
        TpmiAlgHash::Sm3_256 => HashAlgorithm::Sm3_256,
        TpmiAlgHash::Sha3_256 => HashAlgorithm::Sha3_256,
        TpmiAlgHash::Sha3_384 => HashAlgorithm::Sha3_384,
        TpmiAlgHash::Sha3_512 => HashAlgorithm::Sha3_512,
    }
}

/// The block cipher that an identifier names.
pub(crate) const fn block_cipher(id: TpmiAlgSymObject) -> BlockCipher {
    match id {
        TpmiAlgSymObject::Aes => BlockCipher::Aes,
        TpmiAlgSymObject::Camellia => BlockCipher::Camellia,
        TpmiAlgSymObject::Tdes => BlockCipher::Tdes,
        TpmiAlgSymObject::Sm4 => BlockCipher::Sm4,
    }
}

/// The mode of encryption that an identifier names; `None` for CMAC, which does not encrypt.
pub(crate) const fn cipher_mode(id: TpmiAlgSymMode) -> Option<Mode> {
    Some(match id {
        TpmiAlgSymMode::Ctr => Mode::Ctr,
        TpmiAlgSymMode::Ofb => Mode::Ofb,
        TpmiAlgSymMode::Cbc => Mode::Cbc,
        TpmiAlgSymMode::Cfb => Mode::Cfb,
        TpmiAlgSymMode::Ecb => Mode::Ecb,
        TpmiAlgSymMode::Cmac => return None,
    })
}

/// Hashes parts.
pub(crate) fn hash(id: TpmiAlgHash, parts: &[&[u8]]) -> Digest {
    tpm_crypto::hash::hash(hash_algorithm(id), parts)
}

/// HMAC over parts.
pub(crate) fn hmac(id: TpmiAlgHash, key: &[u8], parts: &[&[u8]]) -> Digest {
    tpm_crypto::hash::hmac(hash_algorithm(id), key, parts)
}

/// A small buffer from bytes that are known to fit, as digests in a digest buffer do.
pub(crate) fn small<const MAX: usize, const SECRET: bool>(bytes: &[u8]) -> Small<MAX, SECRET> {
    Small::new(bytes).unwrap_or_default()
}

/// A Name: the identifier of the hash, then the digest (Part 1, 16).
pub(crate) fn name_of(id: TpmiAlgHash, public_area: &[u8]) -> tpm_wire::buffers::Tpm2bName {
    let mut name = Vec::with_capacity(2 + id.digest_size());
    tpm_wire::Marshal::marshal(&id, &mut name);
    name.extend_from_slice(&hash(id, &[public_area]));
    small(&name)
}
