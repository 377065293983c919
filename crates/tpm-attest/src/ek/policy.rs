//! The authorization policies of manufacturer's keys, computed as a TPM would extend them (Part 1, 19.7).

use tpm_crypto::hash::hash;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::codec::Marshal;
use tpm_wire::commands::{PolicyAuthorizeNv, PolicyOr, PolicySecret};
use tpm_wire::handles::{TpmHandle, TpmiRhNvIndex};
use tpm_wire::nv::{NvDataSize, TpmsNvPublic};
use tpm_wire::table::Command;

use crate::algorithm::hash_algorithm;

/// What the NV Index with the owner's policy has for attributes once it is written (EK Credential Profile, B.5.2).
const POLICY_INDEX: TpmaNv = TpmaNv::POLICYWRITE
    .with(TpmaNv::WRITEALL)
    .with(TpmaNv::PPREAD)
    .with(TpmaNv::OWNERREAD)
    .with(TpmaNv::AUTHREAD)
    .with(TpmaNv::POLICYREAD)
    .with(TpmaNv::NO_DA)
    .with(TpmaNv::WRITTEN);

/// Policy A: whoever has the endorsement authorization (EK Credential Profile, B.5.1).
pub(super) fn endorsement(alg: TpmiAlgHash) -> Tpm2bDigest {
    let algorithm = hash_algorithm(alg);
    let start = vec![0; alg.digest_size()];
    let named = hash(
        algorithm,
        &[
            &start,
            &PolicySecret::INFO.code.to_be_bytes(),
            &TpmHandle::ENDORSEMENT.to_bytes(),
        ],
    );
    // Extended once more by the policy reference, which is empty.
    digest(hash(algorithm, &[named.as_slice()]).as_slice())
}

/// Policy B: policy A, or what the owner wrote to an NV Index (EK Credential Profile, B.5.3).
pub(super) fn endorsement_or_owner(alg: TpmiAlgHash) -> Tpm2bDigest {
    let algorithm = hash_algorithm(alg);
    let start = vec![0; alg.digest_size()];
    let branches = [endorsement(alg), owner(alg)];
    let mut parts: Vec<&[u8]> = vec![&start];
    let code = PolicyOr::INFO.code.to_be_bytes();
    parts.push(&code);
    parts.extend(branches.iter().map(|branch| &**branch));
    digest(hash(algorithm, &parts).as_slice())
}

/// Policy C: what the owner wrote to the NV Index of the policy's hash (EK Credential Profile, B.5.2).
fn owner(alg: TpmiAlgHash) -> Tpm2bDigest {
    let algorithm = hash_algorithm(alg);
    let number = match alg {
        TpmiAlgHash::Sha384 => 2,
        TpmiAlgHash::Sha512 => 3,
        _ => 1,
    };
    let size = alg.digest_size();
    let public = TpmsNvPublic {
        nv_index: TpmiRhNvIndex(TpmHandle(0x01C0_7F00 + number)),
        name_alg: alg,
        attributes: POLICY_INDEX,
        auth_policy: endorsement(alg),
        data_size: NvDataSize(u16::try_from(size + 2).unwrap_or_default()),
    };
    let name = hash(algorithm, &[&public.to_bytes()]);
    let start = vec![0; size];
    let parts: [&[u8]; 4] = [
        &start,
        &PolicyAuthorizeNv::INFO.code.to_be_bytes(),
        &alg.to_bytes(),
        name.as_slice(),
    ];
    digest(hash(algorithm, &parts).as_slice())
}

fn digest(bytes: &[u8]) -> Tpm2bDigest {
    Tpm2bDigest::new(bytes).unwrap_or_default()
}

/// The policy of an initial attestation key (TPM 2.0 Keys for Device Identity and Attestation, 7.3.6.6): a value of that document,
/// since the branches behind it name keys that no TPM is asked to have.
pub(super) const fn attestation_key(alg: TpmiAlgHash) -> &'static [u8] {
    match alg {
        TpmiAlgHash::Sha384 => &[
            0x12, 0x9d, 0x94, 0xeb, 0xf8, 0x45, 0x56, 0x65, 0x2c, 0x6e, 0xef, 0x43, 0xbb, 0xb7,
            0x57, 0x51, 0x2a, 0xc8, 0x7e, 0x52, 0xbe, 0x7b, 0x34, 0x9c, 0xa6, 0xce, 0x4d, 0x82,
            0x6f, 0x74, 0x9f, 0xcf, 0x67, 0x2f, 0x51, 0x71, 0x6c, 0x5c, 0xbb, 0x60, 0x5f, 0x31,
            0x3b, 0xf3, 0x45, 0xaa, 0xb3, 0x12,
        ],
        TpmiAlgHash::Sha512 => &[
            0x80, 0x60, 0xd1, 0xfb, 0x31, 0x71, 0x6a, 0x29, 0xe4, 0x8a, 0x6e, 0x5f, 0xec, 0xe0,
            0x88, 0xbc, 0xfc, 0x1b, 0x27, 0x8f, 0xc1, 0x62, 0x25, 0x5e, 0x81, 0xc3, 0xec, 0xa3,
            0x54, 0x4c, 0xd4, 0x4a, 0xf9, 0x44, 0x10, 0xc3, 0x71, 0x5d, 0x56, 0x1c, 0xcc, 0xd9,
            0xe3, 0x9a, 0x6c, 0xb2, 0x64, 0x6d, 0x43, 0x53, 0x5b, 0xb5, 0x4e, 0xa8, 0x87, 0x10,
            0xde, 0xb5, 0xf7, 0x83, 0x6b, 0xd9, 0xb5, 0x86,
        ],
        _ => &[
            0x54, 0x37, 0x18, 0x23, 0x26, 0xe4, 0x14, 0xfc, 0xa7, 0x97, 0xd5, 0xf1, 0x74, 0x61,
            0x5a, 0x16, 0x41, 0xf6, 0x12, 0x55, 0x79, 0x7c, 0x3a, 0x2b, 0x22, 0xc2, 0x1d, 0x12,
            0x0b, 0x2d, 0x1e, 0x07,
        ],
    }
}

/// The policy of an initial device identity, which signs (the same document, 7.3.6.7).
pub(super) const fn device_identity(alg: TpmiAlgHash) -> &'static [u8] {
    match alg {
        TpmiAlgHash::Sha384 => &[
            0x4d, 0xb1, 0xaa, 0x83, 0x6d, 0x0b, 0x56, 0x15, 0xdf, 0x6e, 0xe5, 0x3a, 0x40, 0xef,
            0x70, 0xc6, 0x1c, 0x21, 0x7f, 0x43, 0x03, 0xd4, 0x46, 0x95, 0x92, 0x59, 0x72, 0xbc,
            0x92, 0x70, 0x06, 0xcf, 0xa5, 0xcb, 0xdf, 0x6d, 0xc1, 0x8c, 0x4d, 0xbe, 0x32, 0x9b,
            0x2f, 0x15, 0x42, 0xc3, 0xdd, 0x33,
        ],
        TpmiAlgHash::Sha512 => &[
            0x7d, 0xd7, 0x50, 0x0f, 0xd6, 0xc1, 0xb9, 0x4f, 0x97, 0xa6, 0xaf, 0x91, 0x0d, 0xa1,
            0x47, 0x30, 0x1e, 0xf2, 0x8f, 0x66, 0x2f, 0xee, 0x06, 0xf2, 0x25, 0xa4, 0xcc, 0xad,
            0xda, 0x3b, 0x4e, 0x6b, 0x38, 0xe6, 0x6b, 0x2f, 0x3a, 0xd5, 0xde, 0xe1, 0xa0, 0x50,
            0x3c, 0xd2, 0xda, 0xed, 0xb1, 0xe6, 0x8c, 0xfe, 0x4f, 0x84, 0xb0, 0x3a, 0x8c, 0xd2,
            0x2b, 0xb6, 0xa9, 0x76, 0xf0, 0x71, 0xa7, 0x2f,
        ],
        _ => &[
            0xad, 0x6b, 0x3a, 0x22, 0x84, 0xfd, 0x69, 0x8a, 0x07, 0x10, 0xbf, 0x5c, 0xc1, 0xb9,
            0xbd, 0xf1, 0x5e, 0x25, 0x32, 0xe3, 0xf6, 0x01, 0xfa, 0x4b, 0x93, 0xa6, 0xa8, 0xfa,
            0x8d, 0xe5, 0x79, 0xea,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of the values in the profile's annex.
    #[test]
    fn the_policies_are_those_of_the_profile() {
        assert!(endorsement(TpmiAlgHash::Sha256).starts_with(&[0x83, 0x71, 0x97, 0x67, 0x44]));
        for (alg, start) in [
            (TpmiAlgHash::Sha256, [0xca, 0x3d, 0x0a, 0x99, 0xa2]),
            (TpmiAlgHash::Sha384, [0xb2, 0x6e, 0x7d, 0x28, 0xd1]),
            (TpmiAlgHash::Sha512, [0xb8, 0x22, 0x1c, 0xa6, 0x9e]),
        ] {
            let policy = endorsement_or_owner(alg);
            assert!(policy.starts_with(&start), "{alg:?}");
            assert_eq!(policy.len(), alg.digest_size());
            assert_eq!(attestation_key(alg).len(), alg.digest_size());
            assert_eq!(device_identity(alg).len(), alg.digest_size());
        }
    }
}
