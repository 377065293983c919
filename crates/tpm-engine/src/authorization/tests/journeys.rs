//! Policies and sessions from making an object to using it, by commands alone.

use super::client::{AES, By, Client, HMAC, Start, send};
use crate::algorithms::{hash, small};
use crate::commands::object::build;
use crate::commands::policy::build::{INDEX, digest};
use crate::testing::{Auth, TestTpm, started};
use alloc::vec::Vec;
use tpm_wire::algorithm::{TpmiAlgHash, TpmtHa};
use tpm_wire::attributes::{TpmaNv, TpmaObject, TpmaSession};
use tpm_wire::buffers::{Tpm2b, Tpm2bDigest, Tpm2bMaxBuffer, Tpm2bMaxNvBuffer};
use tpm_wire::codec::Marshal;
use tpm_wire::commands::{
    CreatePrimary, Duplicate, EvictControl, HashSequenceStart, NvDefineSpace, NvReadPublic,
    NvUndefineSpaceSpecial, NvWrite, ObjectChangeAuth, PcrExtend, PolicyAuthValue,
    PolicyCommandCode, PolicyDuplicationSelect, PolicyPcr, PolicySecret, PolicyTemplate,
    ReadPublic, SequenceComplete, Unseal,
};
use tpm_wire::constants::TpmSe;
use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy, TpmiRhNvIndex, TpmiShPolicy};
use tpm_wire::nv::{NvDataSize, Tpm2bNvPublic, TpmsNvPublic};
use tpm_wire::object::{Tpm2bPublic, TpmtPublic};
use tpm_wire::pcr::{TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection};
use tpm_wire::rc::{Position, Rc};

const AUTH: &[u8] = b"value";
const POLICY: Start<'static> = Start {
    kind: TpmSe::Policy,
    ..HMAC
};
const TRIAL: Start<'static> = Start {
    kind: TpmSe::Trial,
    ..HMAC
};

/// The digest that policy commands give in a trial session.
fn policy_of(tpm: &mut TestTpm, commands: impl Fn(&mut TestTpm, TpmiShPolicy)) -> Tpm2bDigest {
    let trial = TRIAL.start(tpm);
    let session = TpmiShPolicy(trial.handle);
    commands(tpm, session);
    let policy = hex::decode(digest(tpm, session)).unwrap();
    tpm.sessions.flush(trial.handle);
    small(&policy)
}

/// A session in which these commands were run.
fn satisfied(
    tpm: &mut TestTpm,
    start: Start<'_>,
    commands: impl Fn(&mut TestTpm, TpmiShPolicy),
) -> Client {
    let client = start.start(tpm);
    commands(tpm, TpmiShPolicy(client.handle));
    client
}

fn pcr_and_value(tpm: &mut TestTpm, policy_session: TpmiShPolicy) {
    tpm.run(pcr(policy_session)).unwrap();
    tpm.run(PolicyAuthValue { policy_session }).unwrap();
}

fn pcr(policy_session: TpmiShPolicy) -> PolicyPcr {
    let mut pcrs = TpmlPcrSelection::new();
    pcrs.push(TpmsPcrSelection {
        hash: TpmiAlgHash::Sha256,
        pcr_select: TpmsPcrSelect::of(&[7]),
    });
    PolicyPcr {
        policy_session,
        pcr_digest: Tpm2bDigest::EMPTY,
        pcrs,
    }
}

fn extend(tpm: &mut TestTpm) {
    let mut digests = tpm_wire::pcr::TpmlDigestValues::new();
    digests.push(TpmtHa {
        hash_alg: TpmiAlgHash::Sha256,
        digest: small(&[1; 32]),
    });
    tpm.run(PcrExtend {
        pcr_handle: Some(TpmHandle(7).into()),
        digests,
    })
    .unwrap();
}

#[test]
fn data_sealed_to_pcr_and_a_value_comes_out_encrypted() {
    let mut tpm = started();
    let policy = policy_of(&mut tpm, pcr_and_value);
    let parent = build::primary_storage_ecc(&mut tpm);
    let mut public = build::sealed_template();
    public.object_attributes = public
        .object_attributes
        .without(TpmaObject::USER_WITH_AUTH)
        .with(TpmaObject::NO_DA);
    public.auth_policy = policy;
    let item = build::child(&mut tpm, parent, public, build::sensitive(AUTH, b"secret"));
    let unseal = Unseal {
        item_handle: item.into(),
    };
    assert_eq!(
        tpm.run_as(unseal.clone(), &[Auth::password(AUTH)]),
        Err(Rc::AUTH_UNAVAILABLE)
    );
    let start = Start {
        symmetric: AES,
        salted: true,
        ..POLICY
    };
    let mut client = satisfied(&mut tpm, start, pcr_and_value);
    let by = By::session(&mut client, AUTH).with(TpmaSession::ENCRYPT);
    let answer = send(&mut tpm, &unseal, &mut [by]).unwrap();
    assert_eq!(*answer.response.out_data, *b"secret");

    // The value alone is not enough, and neither are PCR that have moved on.
    let value_alone = |tpm: &mut TestTpm, policy_session| {
        tpm.run(PolicyAuthValue { policy_session }).unwrap();
    };
    let mut client = satisfied(&mut tpm, start, value_alone);
    let by = By::session(&mut client, AUTH);
    let policy_fail = Some(Rc::POLICY_FAIL.at(Position::session(1)));
    assert_eq!(send(&mut tpm, &unseal, &mut [by]).err(), policy_fail);
    let mut client = satisfied(&mut tpm, start, pcr_and_value);
    extend(&mut tpm);
    let by = By::session(&mut client, AUTH);
    let answer = send(&mut tpm, &unseal, &mut [by]);
    assert_eq!(answer.err(), Some(Rc::PCR_CHANGED));
    let mut client = satisfied(&mut tpm, start, pcr_and_value);
    let by = By::session(&mut client, AUTH);
    assert_eq!(send(&mut tpm, &unseal, &mut [by]).err(), policy_fail);
}

fn primary(public: TpmtPublic) -> CreatePrimary {
    CreatePrimary {
        primary_handle: Some(TpmiRhHierarchy(TpmHandle::OWNER)),
        in_sensitive: Tpm2b(build::sensitive(&[], &[])),
        in_public: Tpm2bPublic(public),
        outside_info: Default::default(),
        creation_pcr: TpmlPcrSelection::new(),
    }
}

#[test]
fn a_hierarchy_can_be_left_to_one_template() {
    let mut tpm = started();
    let public = build::ecc_template(build::FIXED | build::STORAGE);
    let template_hash: Tpm2bDigest = small(&hash(TpmiAlgHash::Sha256, &[&public.to_bytes()]));
    let template = |tpm: &mut TestTpm, policy_session| {
        let template_hash = template_hash.clone();
        tpm.run(PolicyTemplate {
            policy_session,
            template_hash,
        })
        .unwrap();
    };
    tpm.hierarchies.owner.policy.digest = policy_of(&mut tpm, template);
    tpm.hierarchies.owner.policy.hash = Some(TpmiAlgHash::Sha256);
    let client = satisfied(&mut tpm, POLICY, template);
    let session = [Auth::session(client.handle)];
    tpm.run_as(primary(public.clone()), &session).unwrap();
    template(&mut tpm, TpmiShPolicy(client.handle));
    let mut other = public;
    other.object_attributes |= TpmaObject::NO_DA;
    assert_eq!(
        tpm.run_as(primary(other), &session).err(),
        Some(Rc::POLICY_FAIL.at(Position::session(1)))
    );
}

#[test]
fn a_limited_hierarchy_shares_the_authorization_of_its_base() {
    let mut tpm = started();
    tpm.hierarchies.owner.auth = small(AUTH);
    let attributes = build::FIXED | build::STORAGE | TpmaObject::FIRMWARE_LIMITED;
    let limited = |hierarchy| CreatePrimary {
        primary_handle: Some(TpmiRhHierarchy(hierarchy)),
        ..primary(build::ecc_template(attributes))
    };
    let bound = Start {
        bind: Some((TpmHandle::OWNER, AUTH)),
        ..HMAC
    };
    let mut client = bound.start(&mut tpm);
    let by = By::session(&mut client, AUTH).without_auth_in_hmac();
    send(&mut tpm, &limited(TpmHandle::FW_OWNER), &mut [by]).unwrap();
    // Presence is asked for with the limited platform as with the platform itself.
    tpm.management.presence_commands = alloc::vec![0x131];
    assert_eq!(
        tpm.run(limited(TpmHandle::FW_PLATFORM)).err(),
        Some(Rc::PP.at(Position::session(1)))
    );
}

#[test]
fn an_object_is_administered_by_a_policy_for_the_command() {
    let mut tpm = started();
    let code = |code| {
        move |tpm: &mut TestTpm, policy_session| {
            tpm.run(PolicyCommandCode {
                policy_session,
                code,
            })
            .unwrap();
        }
    };
    let change_auth = 0x150;
    let parent = build::primary_storage_ecc(&mut tpm);
    let mut public = build::sealed_template();
    public.auth_policy = policy_of(&mut tpm, code(change_auth));
    public.object_attributes |= TpmaObject::ADMIN_WITH_POLICY;
    let item = build::child(&mut tpm, parent, public, build::sensitive(AUTH, b"data"));
    let change = ObjectChangeAuth {
        object_handle: item.into(),
        parent_handle: parent.into(),
        new_auth: small(b"new"),
    };
    assert_eq!(
        tpm.run_as(change.clone(), &[Auth::password(AUTH)]).err(),
        Some(Rc::AUTH_TYPE)
    );
    let client = satisfied(&mut tpm, POLICY, code(change_auth));
    tpm.run_as(change, &[Auth::session(client.handle)]).unwrap();
    // Its use is not what the policy is for.
    let client = satisfied(&mut tpm, POLICY, code(change_auth));
    let unseal = Unseal {
        item_handle: item.into(),
    };
    assert_eq!(
        tpm.run_as(unseal, &[Auth::session(client.handle)]).err(),
        Some(Rc::POLICY_CC.at(Position::session(1)))
    );
}

#[test]
fn an_object_is_duplicated_to_the_selected_parent_only() {
    let mut tpm = started();
    let parent = build::primary_storage_ecc(&mut tpm);
    let mut new_parent = || {
        let mut public = build::ecc_template(build::STORAGE | build::FIXED);
        public.unique = build::ecc_generator(build::STORAGE).0.unique;
        let attributes = public.object_attributes.without(
            TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT | TpmaObject::SENSITIVE_DATA_ORIGIN,
        );
        public.object_attributes = attributes;
        build::load_external(&mut tpm, public, None).unwrap()
    };
    let selected = new_parent();
    let name = |tpm: &mut TestTpm, handle: TpmHandle| {
        tpm.run(ReadPublic {
            object_handle: handle.into(),
        })
        .unwrap()
        .name
    };
    let parent_name = name(&mut tpm, selected);
    let select = |object_name: &[u8]| {
        let (object_name, new_parent_name) = (small(object_name), parent_name.clone());
        move |tpm: &mut TestTpm, policy_session| {
            tpm.run(PolicyDuplicationSelect {
                policy_session,
                object_name: Clone::clone(&object_name),
                new_parent_name: new_parent_name.clone(),
                include_object: false,
            })
            .unwrap();
        }
    };
    let mut public = build::ecc_template(build::MOVABLE | TpmaObject::SIGN);
    public.auth_policy = policy_of(&mut tpm, select(&[]));
    let object = build::child(&mut tpm, parent, public, build::sensitive(&[], &[]));
    let object_name = name(&mut tpm, object);
    let duplicate = |new_parent: Option<TpmHandle>| Duplicate {
        object_handle: object.into(),
        new_parent_handle: new_parent.map(Into::into),
        encryption_key_in: Default::default(),
        symmetric_alg: None,
    };
    let client = satisfied(&mut tpm, POLICY, select(&object_name));
    tpm.run_as(duplicate(Some(selected)), &[Auth::session(client.handle)])
        .unwrap();
    let client = satisfied(&mut tpm, POLICY, select(&object_name));
    assert_eq!(
        tpm.run_as(duplicate(None), &[Auth::session(client.handle)])
            .err(),
        Some(Rc::POLICY_FAIL.at(Position::session(1)))
    );
}

#[test]
fn the_answer_to_the_removal_of_an_index_is_made_without_its_value() {
    let mut tpm = started();
    let undefine_special = |tpm: &mut TestTpm, policy_session| {
        let code = 0x11F;
        tpm.run(PolicyCommandCode {
            policy_session,
            code,
        })
        .unwrap();
        tpm.run(PolicyAuthValue { policy_session }).unwrap();
    };
    let public = TpmsNvPublic {
        nv_index: TpmiRhNvIndex(INDEX),
        name_alg: TpmiAlgHash::Sha256,
        attributes: TpmaNv::PPWRITE
            | TpmaNv::PPREAD
            | TpmaNv::PLATFORMCREATE
            | TpmaNv::POLICY_DELETE
            | TpmaNv::NO_DA,
        auth_policy: policy_of(&mut tpm, undefine_special),
        data_size: NvDataSize(8),
    };
    tpm.run(NvDefineSpace {
        auth_handle: TpmHandle::PLATFORM.into(),
        auth: small(AUTH),
        public_info: Tpm2bNvPublic(public),
    })
    .unwrap();
    let undefine = NvUndefineSpaceSpecial {
        nv_index: INDEX.into(),
        platform: TpmHandle::PLATFORM.into(),
    };
    // A key of its own for the session, so that there is an HMAC without the value.
    let salted = Start {
        salted: true,
        ..POLICY
    };
    let mut client = satisfied(&mut tpm, salted, undefine_special);
    let mut by = [
        By::session(&mut client, AUTH).with_auth_in_answer(&[]),
        By::password(&[]),
    ];
    send(&mut tpm, &undefine, &mut by).unwrap();
    let gone = tpm.run(NvReadPublic {
        nv_index: INDEX.into(),
    });
    assert_eq!(gone.err(), Some(Rc::HANDLE.at(Position::handle(1))));
}

#[test]
fn a_sequence_that_ends_acknowledges_with_its_value() {
    let mut tpm = started();
    let sequence = tpm
        .run(HashSequenceStart {
            auth: small(AUTH),
            hash_alg: Some(TpmiAlgHash::Sha256),
        })
        .unwrap()
        .sequence_handle;
    let complete = SequenceComplete {
        sequence_handle: sequence,
        buffer: Tpm2bMaxBuffer::new(Vec::from(*b"abc")).unwrap(),
        hierarchy: None,
    };
    let start = Start {
        symmetric: AES,
        ..HMAC
    };
    let mut client = start.start(&mut tpm);
    let by = By::session(&mut client, AUTH)
        .with(TpmaSession::DECRYPT)
        .with(TpmaSession::ENCRYPT);
    let answer = send(&mut tpm, &complete, &mut [by]).unwrap();
    let expected = hash(TpmiAlgHash::Sha256, &[b"abc"]);
    assert_eq!(*answer.response.result, *expected);
    assert!(!tpm.objects.is_loaded(sequence.0));
}

#[test]
fn a_changed_value_authenticates_its_own_answer() {
    let mut tpm = started();
    let mut client = HMAC.start(&mut tpm);
    let change = |new_auth: &[u8]| tpm_wire::commands::HierarchyChangeAuth {
        auth_handle: TpmHandle::OWNER.into(),
        new_auth: small(new_auth),
    };
    let by = By::session(&mut client, &[]).with_auth_in_answer(b"first");
    send(&mut tpm, &change(b"first"), &mut [by]).unwrap();
    let by = By::session(&mut client, b"first").with_auth_in_answer(b"second");
    send(&mut tpm, &change(b"second"), &mut [by]).unwrap();
    // A bound session knows the old value only, and goes on with its own key.
    let bound = Start {
        bind: Some((TpmHandle::OWNER, b"second")),
        ..HMAC
    };
    let mut client = bound.start(&mut tpm);
    let by = By::session(&mut client, b"second").without_auth_in_hmac();
    send(&mut tpm, &change(b"third"), &mut [by]).unwrap();
    let by = By::session(&mut client, b"third").with_auth_in_answer(b"fourth");
    send(&mut tpm, &change(b"fourth"), &mut [by]).unwrap();
}

#[test]
fn a_persistent_object_authorizes_like_the_one_that_was_loaded() {
    let mut tpm = started();
    let parent = build::primary_storage_ecc(&mut tpm);
    let item = build::sealed(&mut tpm, parent, AUTH, b"kept");
    let primary = parent;
    let persistent = TpmHandle(0x8100_0001);
    let made = tpm.run(EvictControl {
        auth: TpmHandle::OWNER.into(),
        object_handle: primary.into(),
        persistent_handle: persistent.into(),
    });
    made.unwrap();
    let command = super::secret(&mut tpm, persistent);
    let mut client = HMAC.start(&mut tpm);
    let answer = send(&mut tpm, &command, &mut [By::session(&mut client, &[])]);
    assert!(!answer.unwrap().response.policy_ticket.digest.is_empty());
    let unseal = Unseal {
        item_handle: item.into(),
    };
    let by = By::session(&mut client, AUTH);
    let answer = send(&mut tpm, &unseal, &mut [by]).unwrap();
    assert_eq!(*answer.response.out_data, *b"kept");
}

#[test]
fn an_index_opens_a_policy_by_its_value() {
    let mut tpm = started();
    let public = TpmsNvPublic {
        nv_index: TpmiRhNvIndex(INDEX),
        name_alg: TpmiAlgHash::Sha256,
        attributes: TpmaNv::AUTHREAD | TpmaNv::AUTHWRITE | TpmaNv::NO_DA,
        auth_policy: Tpm2bDigest::EMPTY,
        data_size: NvDataSize(8),
    };
    tpm.run(NvDefineSpace {
        auth_handle: TpmHandle::OWNER.into(),
        auth: small(AUTH),
        public_info: Tpm2bNvPublic(public),
    })
    .unwrap();
    let start = Start {
        symmetric: AES,
        ..HMAC
    };
    let mut client = start.start(&mut tpm);
    let write = NvWrite {
        auth_handle: INDEX.into(),
        nv_index: INDEX.into(),
        data: Tpm2bMaxNvBuffer::new(Vec::from(*b"contents")).unwrap(),
        offset: 0,
    };
    let by = By::session(&mut client, AUTH).with(TpmaSession::DECRYPT);
    send(&mut tpm, &write, &mut [by]).unwrap();
    assert_eq!(*tpm.nv.get(INDEX).unwrap().data, *b"contents");
    let command = PolicySecret {
        expiration: 0,
        ..super::secret(&mut tpm, INDEX)
    };
    let by = By::session(&mut client, AUTH);
    send(&mut tpm, &command, &mut [by]).unwrap();
}
