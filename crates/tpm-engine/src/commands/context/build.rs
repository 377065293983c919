//! What can be saved, for tests.

use crate::commands::object::build::{FIXED, STORAGE, ecc_template, primary};
use crate::object::{Lineage, Object};
use crate::policy::{BoundDigest, PolicyState};
use crate::profile::Profile;
use crate::session::Session;
use crate::testing::TestTpm;
use alloc::vec::Vec;
use tpm_wire::algorithm::{
    TpmiAlgHash, TpmiAlgSymMode, TpmiAlgSymObject, TpmiRsaKeyBits, TpmtSymDef, TpmtSymDefObject,
};
use tpm_wire::attributes::{TpmaLocality, TpmaObject};
use tpm_wire::buffers::{
    Small, Tpm2bAuth, Tpm2bDigest, Tpm2bMaxBuffer, Tpm2bPrivateKeyRsa, Tpm2bPublicKeyRsa, Tpm2bSeed,
};
use tpm_wire::commands::{
    ContextLoad, ContextSave, HashSequenceStart, SequenceComplete, SequenceUpdate,
};
use tpm_wire::constants::TpmSe;
use tpm_wire::context::TpmsContext;
use tpm_wire::handles::TpmHandle;
use tpm_wire::object::{
    TpmsRsaParms, TpmtPublic, TpmtSensitive, TpmuPublicId, TpmuPublicParms, TpmuSensitiveComposite,
};
use tpm_wire::rc::Rc;

pub(crate) fn save(tpm: &mut TestTpm, handle: TpmHandle) -> Result<TpmsContext, Rc> {
    let save_handle = handle.into();
    tpm.run(ContextSave { save_handle })
        .map(|response| response.context)
}

pub(crate) fn load(tpm: &mut TestTpm, context: TpmsContext) -> Result<TpmHandle, Rc> {
    tpm.run(ContextLoad { context })
        .map(|response| response.loaded_handle.0)
}

/// A storage key of a hierarchy.
pub(crate) fn object_under(tpm: &mut TestTpm, hierarchy: TpmHandle) -> TpmHandle {
    let mut attributes = FIXED | STORAGE | TpmaObject::NO_DA;
    if hierarchy == TpmHandle::FW_OWNER {
        attributes |= TpmaObject::FIRMWARE_LIMITED;
    }
    primary(tpm, hierarchy, ecc_template(attributes))
        .unwrap()
        .object_handle
}

/// A storage key of the owner.
pub(crate) fn object(tpm: &mut TestTpm) -> TpmHandle {
    object_under(tpm, TpmHandle::OWNER)
}

/// A key that a restart ends.
pub(crate) fn st_clear_object(tpm: &mut TestTpm) -> TpmHandle {
    let attributes = FIXED | TpmaObject::SIGN | TpmaObject::NO_DA | TpmaObject::ST_CLEAR;
    primary(tpm, TpmHandle::OWNER, ecc_template(attributes))
        .unwrap()
        .object_handle
}

/// A key of which only the public area is loaded.
pub(crate) fn public_only(tpm: &mut TestTpm) -> TpmHandle {
    let handle = object(tpm);
    let public = tpm.objects.find(handle).unwrap().public.clone();
    let external = Object::new(public, None, Lineage::External(TpmHandle::OWNER));
    tpm.objects.load(external).unwrap()
}

/// A SHA-256 sequence.
pub(crate) fn hash_sequence(tpm: &mut TestTpm) -> TpmHandle {
    sequence(tpm, Some(TpmiAlgHash::Sha256))
}

/// An event sequence: a hash for every bank.
pub(crate) fn event_sequence(tpm: &mut TestTpm) -> TpmHandle {
    let handle = sequence(tpm, None);
    add(tpm, handle, &[7; 1000]);
    handle
}

fn sequence(tpm: &mut TestTpm, hash_alg: Option<TpmiAlgHash>) -> TpmHandle {
    tpm.run(HashSequenceStart {
        auth: Tpm2bAuth::EMPTY,
        hash_alg,
    })
    .unwrap()
    .sequence_handle
    .into()
}

pub(crate) fn add(tpm: &mut TestTpm, handle: TpmHandle, data: &[u8]) {
    tpm.run(SequenceUpdate {
        sequence_handle: handle.into(),
        buffer: Tpm2bMaxBuffer::new(data.to_vec()).unwrap(),
    })
    .unwrap();
}

pub(crate) fn complete(tpm: &mut TestTpm, handle: TpmHandle, data: &[u8]) -> Vec<u8> {
    tpm.run(SequenceComplete {
        sequence_handle: handle.into(),
        buffer: Tpm2bMaxBuffer::new(data.to_vec()).unwrap(),
        hierarchy: None,
    })
    .unwrap()
    .result
    .to_vec()
}

/// An HMAC session, put straight into the TPM.
pub(crate) fn session(tpm: &mut TestTpm) -> TpmHandle {
    let session = Session {
        kind: TpmSe::Hmac,
        auth_hash: TpmiAlgHash::Sha256,
        symmetric: None,
        key: Small::EMPTY,
        nonce_tpm: Tpm2bDigest::zeros(16),
        bound_entity: None,
        is_da_bound: false,
        is_lockout_bound: false,
        audit_digest: None,
        policy: PolicyState::default(),
    };
    tpm.sessions.insert(session).unwrap()
}

/// The sessions with the most to save.
pub(crate) fn largest_sessions(profile: &Profile) -> [Session; 2] {
    let hmac = Session {
        kind: TpmSe::Hmac,
        auth_hash: TpmiAlgHash::Sha512,
        symmetric: Some(TpmtSymDef::Block(TpmtSymDefObject {
            algorithm: TpmiAlgSymObject::Aes,
            key_bits: 256,
            mode: Some(TpmiAlgSymMode::Cfb),
        })),
        key: Small::zeros(64),
        nonce_tpm: Tpm2bDigest::zeros(64),
        bound_entity: Some(Small::zeros(32)),
        is_da_bound: true,
        is_lockout_bound: true,
        audit_digest: Some(Tpm2bDigest::zeros(64)),
        policy: PolicyState::default(),
    };
    let mut policy = Session {
        kind: TpmSe::Policy,
        bound_entity: None,
        audit_digest: None,
        policy: PolicyState {
            command_code: Some(1),
            locality: Some(TpmaLocality::ZERO),
            bound: BoundDigest::CpHash(Tpm2bDigest::zeros(64)),
            nv_written: Some(true),
            ..PolicyState::new(TpmiAlgHash::Sha512, 1, 1)
        },
        ..hmac.clone()
    };
    if profile.revision >= 184 {
        policy.policy.secure_channel = Some(crate::policy::SecureChannel {
            check_requester: true,
            check_tpm: true,
            names_hash: Tpm2bDigest::zeros(64),
        });
    }
    [hmac, policy]
}

/// The objects with the most to save.
pub(crate) fn largest_objects(profile: &Profile) -> Vec<Object> {
    let sizes = [4096, 3072, 2048];
    let bits = sizes
        .into_iter()
        .find(|bits| profile.limits.has_rsa_key_size(*bits))
        .unwrap();
    let public = TpmtPublic {
        name_alg: Some(TpmiAlgHash::Sha512),
        object_attributes: FIXED | STORAGE,
        auth_policy: Tpm2bDigest::zeros(64),
        parameters: TpmuPublicParms::Rsa(TpmsRsaParms {
            symmetric: Some(TpmtSymDefObject {
                algorithm: TpmiAlgSymObject::Aes,
                key_bits: 256,
                mode: Some(TpmiAlgSymMode::Cfb),
            }),
            scheme: None,
            key_bits: TpmiRsaKeyBits(bits),
            exponent: 0,
        }),
        unique: TpmuPublicId::Rsa(
            Tpm2bPublicKeyRsa::new(alloc::vec![1; usize::from(bits) / 8]).unwrap(),
        ),
    };
    let sensitive = TpmtSensitive {
        auth_value: Tpm2bAuth::zeros(64),
        seed_value: Tpm2bSeed::zeros(64),
        sensitive: TpmuSensitiveComposite::Rsa(
            Tpm2bPrivateKeyRsa::new(alloc::vec![1; usize::from(bits) / 16]).unwrap(),
        ),
    };
    let lineage = Lineage::Primary(TpmHandle::OWNER);
    Vec::from([Object::new(public, Some(sensitive), lineage)])
}
