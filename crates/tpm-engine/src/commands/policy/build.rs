//! Builders for tests of policies: sessions and an Index put straight into the TPM, digests as text.

use crate::nv::Index;
use crate::policy::PolicyState;
use crate::session::Session;
use crate::testing::{self, TestTpm};
use alloc::string::String;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::attributes::TpmaNv;
use tpm_wire::buffers::{Small, Tpm2bAuth, Tpm2bDigest, Tpm2bNonce};
use tpm_wire::commands::PolicyGetDigest;
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::{TpmHandle, TpmiRhNvIndex, TpmiShPolicy};
use tpm_wire::nv::{NvDataSize, TpmsNvPublic, TpmtNvPublic2};
use zeroize::Zeroizing;

/// The Index of [`nv_index`].
pub(crate) const INDEX: TpmHandle = TpmHandle(0x0100_0001);

/// The TPM's nonce in the sessions made here.
pub(crate) const NONCE_TPM: [u8; 16] = [0xA5; 16];

pub(crate) fn started() -> TestTpm {
    testing::started()
}

/// A policy session of SHA-256.
pub(crate) fn policy(tpm: &mut TestTpm) -> TpmiShPolicy {
    policy_with(tpm, TpmSe::Policy, TpmiAlgHash::Sha256)
}

/// A trial session of SHA-256.
pub(crate) fn trial(tpm: &mut TestTpm) -> TpmiShPolicy {
    policy_with(tpm, TpmSe::Trial, TpmiAlgHash::Sha256)
}

/// A session of any kind and hash, neither bound nor salted.
pub(crate) fn policy_with(
    tpm: &mut TestTpm,
    kind: TpmSe,
    auth_hash: TpmiAlgHash,
) -> TpmiShPolicy {
    let policy = PolicyState::new(auth_hash, tpm.clock.time, tpm.clock.epoch);
    let session = Session {
        kind,
        auth_hash,
        symmetric: None,
        key: Small::EMPTY,
        nonce_tpm: Tpm2bNonce::from(&NONCE_TPM),
        bound_entity: None,
        is_da_bound: false,
        is_lockout_bound: false,
        audit_digest: None,
        policy,
    };
    TpmiShPolicy(tpm.sessions.insert(session).unwrap())
}

/// The policy digest of a session as text.
pub(crate) fn digest(tpm: &mut TestTpm, policy_session: TpmiShPolicy) -> String {
    let answer = tpm.run(PolicyGetDigest { policy_session }).unwrap();
    hex::encode(&*answer.policy_digest)
}

/// A written Index that the owner may read, with more attributes and these contents.
pub(crate) fn nv_index(tpm: &mut TestTpm, attributes: TpmaNv, contents: &[u8]) {
    let public = TpmsNvPublic {
        nv_index: TpmiRhNvIndex(INDEX),
        name_alg: TpmiAlgHash::Sha256,
        attributes: attributes
            | TpmaNv::OWNERREAD
            | TpmaNv::OWNERWRITE
            | TpmaNv::NO_DA
            | TpmaNv::WRITTEN,
        auth_policy: Tpm2bDigest::EMPTY,
        data_size: NvDataSize(u16::try_from(contents.len()).unwrap()),
    };
    let index = Index {
        public: TpmtNvPublic2::NvIndex(public),
        auth: Tpm2bAuth::EMPTY,
        data: Zeroizing::new(contents.to_vec()),
    };
    tpm.nv.indices.insert(INDEX, index);
}
