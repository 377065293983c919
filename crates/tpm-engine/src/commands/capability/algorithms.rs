//! What each algorithm is (Part 2, 8.2), as `TPM_CAP_ALGS` reports it.

use tpm_wire::attributes::TpmaAlgorithm;
use tpm_wire::capability::TpmsAlgProperty;
use tpm_wire::codec::Limits;
use tpm_wire::constants::TpmAlgId;

const ASYMMETRIC: TpmaAlgorithm = TpmaAlgorithm::ASYMMETRIC;
const SYMMETRIC: TpmaAlgorithm = TpmaAlgorithm::SYMMETRIC;
const HASH: TpmaAlgorithm = TpmaAlgorithm::HASH;
const OBJECT: TpmaAlgorithm = TpmaAlgorithm::OBJECT;
const SIGNING: TpmaAlgorithm = TpmaAlgorithm::SIGNING;
const ENCRYPTING: TpmaAlgorithm = TpmaAlgorithm::ENCRYPTING;
const METHOD: TpmaAlgorithm = TpmaAlgorithm::METHOD;

/// Every algorithm and what it is, by ascending identifier.
const ALGORITHMS: &[(TpmAlgId, TpmaAlgorithm)] = &[
    (TpmAlgId::RSA, ASYMMETRIC.with(OBJECT)),
    (TpmAlgId::TDES, SYMMETRIC),
    (TpmAlgId::SHA1, HASH),
    (TpmAlgId::HMAC, HASH.with(SIGNING)),
    (TpmAlgId::AES, SYMMETRIC),
    (TpmAlgId::MGF1, HASH.with(METHOD)),
    (
        TpmAlgId::KEYEDHASH,
        HASH.with(OBJECT).with(SIGNING).with(ENCRYPTING),
    ),
    (TpmAlgId::XOR, HASH.with(SYMMETRIC)),
    (TpmAlgId::SHA256, HASH),
    (TpmAlgId::SHA384, HASH),
    (TpmAlgId::SHA512, HASH),
    (TpmAlgId::SM3_256, HASH),
    (TpmAlgId::SM4, SYMMETRIC),
    (TpmAlgId::RSASSA, ASYMMETRIC.with(SIGNING)),
    (TpmAlgId::RSAES, ASYMMETRIC.with(ENCRYPTING)),
    (TpmAlgId::RSAPSS, ASYMMETRIC.with(SIGNING)),
    (TpmAlgId::OAEP, ASYMMETRIC.with(ENCRYPTING)),
    (TpmAlgId::ECDSA, ASYMMETRIC.with(SIGNING)),
    (TpmAlgId::ECDH, ASYMMETRIC.with(METHOD)),
    (TpmAlgId::ECDAA, ASYMMETRIC.with(SIGNING)),
    (TpmAlgId::SM2, ASYMMETRIC.with(SIGNING).with(METHOD)),
    (TpmAlgId::ECSCHNORR, ASYMMETRIC.with(SIGNING)),
    (TpmAlgId::ECMQV, ASYMMETRIC.with(METHOD)),
    (TpmAlgId::KDF1_SP800_56A, HASH.with(METHOD)),
    (TpmAlgId::KDF2, HASH.with(METHOD)),
    (TpmAlgId::KDF1_SP800_108, HASH.with(METHOD)),
    (TpmAlgId::ECC, ASYMMETRIC.with(OBJECT)),
    (TpmAlgId::SYMCIPHER, OBJECT),
    (TpmAlgId::CAMELLIA, SYMMETRIC),
    (TpmAlgId::SHA3_256, HASH),
    (TpmAlgId::SHA3_384, HASH),
    (TpmAlgId::SHA3_512, HASH),
    (TpmAlgId::CMAC, SYMMETRIC.with(SIGNING)),
    (TpmAlgId::CTR, SYMMETRIC.with(ENCRYPTING)),
    (TpmAlgId::OFB, SYMMETRIC.with(ENCRYPTING)),
    (TpmAlgId::CBC, SYMMETRIC.with(ENCRYPTING)),
    (TpmAlgId::CFB, SYMMETRIC.with(ENCRYPTING)),
    (TpmAlgId::ECB, SYMMETRIC.with(ENCRYPTING)),
];

/// Whether the identifier is that of an algorithm that a TPM can report.
pub(crate) fn is_listed(algorithm: TpmAlgId) -> bool {
    ALGORITHMS.iter().any(|(listed, _)| *listed == algorithm)
}

/// The algorithms that are implemented, ascending.
pub(super) fn implemented(limits: &Limits) -> impl Iterator<Item = TpmsAlgProperty> + '_ {
    ALGORITHMS
        .iter()
        .filter(|(alg, _)| limits.has_algorithm(*alg))
        .map(|(alg, alg_properties)| TpmsAlgProperty {
            alg: *alg,
            alg_properties: *alg_properties,
        })
}

#[cfg(test)]
mod tests {
    use super::{ALGORITHMS, is_listed};
    use tpm_wire::constants::TpmAlgId;

    #[test]
    fn every_algorithm_of_the_wire_is_listed_once_in_ascending_order() {
        assert!(ALGORITHMS.is_sorted_by_key(|(alg, _)| *alg));
        for algorithm in TpmAlgId::NAMED {
            let real = !matches!(*algorithm, TpmAlgId::ERROR | TpmAlgId::NULL);
            assert_eq!(is_listed(*algorithm), real, "{algorithm:?}");
        }
    }
}
