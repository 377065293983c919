//! Policies that the entities of the start have, and how a session satisfies them.
//!
//! There is a branch for each command that needs the administrator's or the duplication role, and one for whatever the
//! approver has signed: with it, sessions with any conditions are satisfied.

use super::choices::Choices;
use super::fields::ROWS;
use super::prelude;
use super::send::Parts;
use super::sequence::Runner;
use crate::algorithms::hash;
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::buffers::{Tpm2bDigest, Tpm2bName, Tpm2bNonce};
use tpm_wire::commands::{self, PolicyAuthorize};
use tpm_wire::constants::{TpmSe, TpmSt};
use tpm_wire::handles::TpmHandle;
use tpm_wire::pcr::{TpmlDigest, TpmlDigestBranches};
use tpm_wire::table::Command;
use tpm_wire::ticket::{TpmtTkHashcheck, TpmtTkVerified};

/// Commands that need the administrator's or the duplication role: a branch for each.
const ADMINISTRATION: [u32; 7] = [
    commands::Duplicate::INFO.code,
    commands::NvUndefineSpaceSpecial::INFO.code,
    commands::NvChangeAuth::INFO.code,
    commands::Certify::INFO.code,
    commands::ActivateCredential::INFO.code,
    commands::ObjectChangeAuth::INFO.code,
    commands::CertifyX509::INFO.code,
];

/// Conditions that generated policies have before they are approved.
const CONDITIONS: [u32; 13] = [
    commands::PolicySigned::INFO.code,
    commands::PolicySecret::INFO.code,
    commands::PolicyTicket::INFO.code,
    commands::PolicyPcr::INFO.code,
    commands::PolicyLocality::INFO.code,
    commands::PolicyNv::INFO.code,
    commands::PolicyCounterTimer::INFO.code,
    commands::PolicyAuthValue::INFO.code,
    commands::PolicyAuthValue::INFO.code,
    commands::PolicyPassword::INFO.code,
    commands::PolicyNvWritten::INFO.code,
    commands::PolicyCapability::INFO.code,
    commands::PolicyPhysicalPresence::INFO.code,
];

/// A ticket that nobody gave.
const NO_TICKET: TpmtTkVerified = TpmtTkVerified {
    tag: TpmSt::VERIFIED,
    hierarchy: None,
    digest: Tpm2bDigest::EMPTY,
};

impl Runner {
    fn digest(&mut self, session: TpmHandle) -> Option<Tpm2bDigest> {
        let policy_session = session.into();
        let digest = self.send_command(&commands::PolicyGetDigest { policy_session });
        digest.map(|digest| digest.policy_digest)
    }

    fn restart(&mut self, session: TpmHandle) {
        let session_handle = session.into();
        self.send_command(&commands::PolicyRestart { session_handle });
    }

    fn authorize(
        &mut self,
        session: TpmHandle,
        approved: Tpm2bDigest,
        ticket: TpmtTkVerified,
    ) -> bool {
        let key_sign: Tpm2bName = self.tpm.entity_name(prelude::APPROVER);
        let authorized = self.send_command(&PolicyAuthorize {
            policy_session: session.into(),
            approved_policy: approved,
            policy_ref: Tpm2bNonce::EMPTY,
            key_sign,
            check_ticket: ticket,
        });
        authorized.is_some()
    }

    /// Makes the policy in a trial session; the digest.
    #[expect(clippy::expect_used, reason = "a start that fails is a failed test")]
    pub(super) fn make_policy(&mut self) -> Tpm2bDigest {
        let null = TpmHandle::NULL;
        let session = self.start_session(TpmSe::Trial, None, null, null);
        let session = session.expect("a trial session");
        let policy_session = session.into();
        let mut list = TpmlDigest::new();
        for code in ADMINISTRATION {
            self.restart(session);
            self.send_command(&commands::PolicyCommandCode {
                policy_session,
                code,
            });
            list.push(self.digest(session).expect("a digest"));
        }
        self.restart(session);
        self.authorize(session, Tpm2bDigest::EMPTY, NO_TICKET);
        list.push(self.digest(session).expect("a digest"));
        self.restart(session);
        self.known.branches = Some(TpmlDigestBranches(list));
        self.choose_branch(session);
        let digest = self.digest(session).expect("a digest");
        self.send_command(&commands::FlushContext {
            flush_handle: session.into(),
        });
        digest
    }

    fn choose_branch(&mut self, session: TpmHandle) {
        if let Some(p_hash_list) = self.known.branches.clone() {
            let policy_session = session.into();
            self.send_command(&commands::PolicyOr {
                policy_session,
                p_hash_list,
            });
        }
    }

    /// Does the steps of the policy for the command with this code.
    pub(super) fn satisfy_policy(&mut self, session: TpmHandle, code: u32) {
        self.restart(session);
        self.send_command(&commands::PolicyCommandCode {
            policy_session: session.into(),
            code,
        });
        if !ADMINISTRATION.contains(&code) {
            self.approve(session);
        }
        self.choose_branch(session);
    }

    /// Gives a session conditions that the bytes choose, which the approver approves.
    pub(super) fn satisfy_approved(
        &mut self,
        choices: &mut Choices<'_>,
        session: TpmHandle,
        code: u32,
    ) {
        self.restart(session);
        let policy_session = session.into();
        if choices.one_in(2) || ADMINISTRATION.contains(&code) {
            self.send_command(&commands::PolicyCommandCode {
                policy_session,
                code,
            });
        }
        for _ in 0..choices.below(3) {
            let Some(code) = choices.of(&CONDITIONS) else {
                continue;
            };
            let Some(row) = ROWS.iter().find(|row| row.info.code == *code) else {
                continue;
            };
            let Some(mut example) = self.known.pool.example(choices, *code) else {
                continue;
            };
            if let Some(last) = example.handles.last_mut() {
                *last = session;
            }
            let auths: Vec<_> = example
                .handles
                .iter()
                .take(row.info.authorizations())
                .map(|handle| self.password(*handle))
                .collect();
            self.send_parts(Parts {
                row,
                handles: example.handles,
                values: example.values,
                auths,
            });
        }
        self.approve(session);
        self.choose_branch(session);
    }

    /// Has the present digest of a session signed, and goes on from the approver's branch.
    fn approve(&mut self, session: TpmHandle) -> Option<()> {
        let approved = self.digest(session)?;
        let signed = hash(TpmiAlgHash::Sha256, &[&approved]);
        let digest = Tpm2bDigest::new(&signed)?;
        let key_handle = prelude::APPROVER.into();
        let signature = self.send_command(&commands::Sign {
            key_handle,
            digest: digest.clone(),
            in_scheme: None,
            validation: TpmtTkHashcheck {
                tag: TpmSt::HASHCHECK,
                hierarchy: None,
                digest: Tpm2bDigest::EMPTY,
            },
        })?;
        let verified = self.send_command(&commands::VerifySignature {
            key_handle,
            digest,
            signature: signature.signature,
        })?;
        self.authorize(session, approved, verified.validation)
            .then_some(())
    }
}
