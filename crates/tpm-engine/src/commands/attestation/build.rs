//! What the tests of attestations share.

use crate::commands::signature::build::{ECDAA_KEY, SHA256, SIGNS, ecc, load};
use crate::testing::TestTpm;
use tpm_wire::algorithm::{TpmiAlgHash, TpmtEccScheme, TpmtSignature};
use tpm_wire::attest::TpmsAttest;
use tpm_wire::buffers::{Tpm2bAttest, Tpm2bData, Tpm2bDigest};
use tpm_wire::codec::{Limits, parse_all};
use tpm_wire::commands::VerifySignature;
use tpm_wire::handles::{TpmHandle, TpmiDhObject};

/// A key that signs by ECDSA and SHA-256, in a hierarchy.
pub(crate) fn signer(tpm: &mut TestTpm, hierarchy: TpmHandle) -> TpmiDhObject {
    let mut key = ecc(Some(TpmtEccScheme::Ecdsa(SHA256)), SIGNS);
    key.hierarchy = hierarchy;
    load(tpm, key)
}

/// A key that signs anonymously.
pub(crate) fn anonymous_signer(tpm: &mut TestTpm) -> TpmiDhObject {
    load(tpm, ecc(Some(ECDAA_KEY), SIGNS))
}

/// Qualifying data.
pub(crate) fn nonce() -> Tpm2bData {
    Tpm2bData::new(b"nonce").unwrap()
}

/// Verifies an attestation and takes it apart.
pub(crate) fn verified(
    tpm: &mut TestTpm,
    key_handle: TpmiDhObject,
    attest: &Tpm2bAttest,
    signature: Option<TpmtSignature>,
) -> TpmsAttest {
    let digest = crate::algorithms::hash(TpmiAlgHash::Sha256, &[attest]);
    tpm.run(VerifySignature {
        key_handle,
        digest: Tpm2bDigest::new(&digest).unwrap(),
        signature: signature.unwrap(),
    })
    .unwrap();
    parsed(attest)
}

/// Takes an attestation apart.
pub(crate) fn parsed(attest: &Tpm2bAttest) -> TpmsAttest {
    parse_all(attest, &Limits::ALL).unwrap()
}
