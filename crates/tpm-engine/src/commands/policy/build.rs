//! Builders for tests of policies: sessions and an Index put straight into the TPM, digests as text.

use crate::algorithms::{hash, hmac, small};
use crate::nv::Index;
use crate::object::Object;
use crate::policy::PolicyState;
use crate::session::Session;
use crate::testing::{self, TestTpm};
use alloc::string::String;
use alloc::vec::Vec;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmsSchemeHash, TpmtHa, TpmtKeyedhashScheme, TpmtSignature,
};
use tpm_wire::attributes::{TpmaNv, TpmaObject};
use tpm_wire::buffers::{Small, Tpm2bAuth, Tpm2bDigest, Tpm2bName, Tpm2bNonce, Tpm2bSensitiveData};
use tpm_wire::commands::{PolicyGetDigest, PolicySigned};
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::{TpmHandle, TpmiDhObject, TpmiRhNvIndex, TpmiShPolicy};
use tpm_wire::nv::{NvDataSize, TpmsNvPublic, TpmtNvPublic2};
use tpm_wire::object::{
    TpmtPublic, TpmtSensitive, TpmuPublicId, TpmuPublicParms, TpmuSensitiveComposite,
};

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
pub(crate) fn policy_with(tpm: &mut TestTpm, kind: TpmSe, auth_hash: TpmiAlgHash) -> TpmiShPolicy {
    let policy = PolicyState::new(auth_hash, tpm.clock.time, tpm.clock.epoch);
    let session = Session {
        kind,
        auth_hash,
        symmetric: None,
        key: Small::EMPTY,
        nonce_tpm: small(&NONCE_TPM),
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
    let mut index = Index::new(TpmtNvPublic2::NvIndex(public), Tpm2bAuth::EMPTY);
    index.data.copy_from_slice(contents);
    tpm.nv.indices.insert(INDEX, index);
}

/// The key of [`hmac_object`].
pub(crate) const HMAC_KEY: [u8; 16] = [0x0B; 16];

/// An HMAC key of SHA-256 in the owner's hierarchy, usable by an empty authorization value.
pub(crate) fn hmac_object() -> Object {
    let scheme = TpmtKeyedhashScheme::Hmac(TpmsSchemeHash {
        hash_alg: TpmiAlgHash::Sha256,
    });
    let public = TpmtPublic {
        name_alg: Some(TpmiAlgHash::Sha256),
        object_attributes: TpmaObject::USER_WITH_AUTH | TpmaObject::SIGN | TpmaObject::NO_DA,
        auth_policy: Tpm2bDigest::EMPTY,
        parameters: TpmuPublicParms::KeyedHash(Some(scheme)),
        unique: TpmuPublicId::KeyedHash(small(&[0x0C; 32])),
    };
    Object {
        name: Object::name_of(&public),
        public,
        sensitive: Some(TpmtSensitive {
            auth_value: Tpm2bAuth::EMPTY,
            seed_value: small(&[0x0D; 32]),
            sensitive: TpmuSensitiveComposite::Bits(
                Tpm2bSensitiveData::new(Vec::from(HMAC_KEY)).unwrap(),
            ),
        }),
        qualified_name: Tpm2bName::EMPTY,
        hierarchy: TpmHandle::OWNER,
        external: false,
        primary: false,
        st_clear: false,
        rsa: Default::default(),
    }
}

/// A TPM with an HMAC key and a policy session that it authorizes.
pub(crate) struct Signing {
    pub(crate) tpm: TestTpm,
    pub(crate) key: TpmHandle,
    pub(crate) session: TpmiShPolicy,
}

/// [`Signing`] with the key of [`hmac_object`].
pub(crate) fn signing() -> Signing {
    let mut tpm = started();
    let key = tpm.objects.load(hmac_object()).unwrap();
    let session = policy(&mut tpm);
    Signing { tpm, key, session }
}

impl Signing {
    /// An authorization, signed with the key.
    pub(crate) fn signed(&self, nonce: &[u8], cp_hash: &[u8], expiration: i32) -> PolicySigned {
        let mut command = PolicySigned {
            auth_object: TpmiDhObject(self.key),
            policy_session: self.session,
            nonce_tpm: Tpm2bNonce::new(nonce).unwrap(),
            cp_hash_a: Tpm2bDigest::new(cp_hash).unwrap(),
            policy_ref: small(b"ref"),
            expiration,
            auth: TpmtSignature::Hmac(TpmtHa {
                hash_alg: TpmiAlgHash::Sha256,
                digest: Tpm2bDigest::EMPTY,
            }),
        };
        sign(&mut command);
        command
    }
}

fn sign(command: &mut PolicySigned) {
    let sha256 = TpmiAlgHash::Sha256;
    let expiration = command.expiration.to_be_bytes();
    let parts: [&[u8]; 4] = [
        &command.nonce_tpm,
        &expiration,
        &command.cp_hash_a,
        &command.policy_ref,
    ];
    command.auth = TpmtSignature::Hmac(TpmtHa {
        hash_alg: sha256,
        digest: small(&hmac(sha256, &HMAC_KEY, &[&hash(sha256, &parts)])),
    });
}
