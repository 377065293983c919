//! `TPM2_PolicySecret` (Part 3, 23.4).

use super::{Authorization, Blame, hierarchy_of, no_ticket, timeout};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicySecret, PolicySecretResponse};
use tpm_wire::constants::TpmSt;
use tpm_wire::nv::TpmNt;
use tpm_wire::rc::Rc;
use tpm_wire::table::Command;

impl Execute for PolicySecret {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicySecretResponse, Rc> {
        let nv_type = tpm.nv.get(self.auth_handle.0).map(|index| index.nv_type());
        // Authorization by a PIN Index changes its count.
        if tpm.hierarchies.read_only && matches!(nv_type, Ok(TpmNt::PinPass | TpmNt::PinFail)) {
            return Err(Rc::READ_ONLY);
        }
        let session = tpm.policy_session(self.policy_session)?;
        let is_trial = session.is_trial();
        let mut authorization = Authorization {
            nonce_tpm: Some(&self.nonce_tpm),
            cp_hash: &self.cp_hash_a,
            policy_ref: &self.policy_ref,
            timeout: 0,
        };
        if !is_trial {
            authorization.timeout =
                timeout(tpm.clock.time, session, self.expiration, &self.nonce_tpm);
            let blame = Blame {
                nonce_tpm: Self::nonce_tpm,
                cp_hash: Self::cp_hash_a,
                expiration: Self::expiration,
            };
            authorization.check(tpm, session, &blame)?;
        }
        let authority = tpm.entity_name(self.auth_handle.0);
        let session = tpm.sessions.policy(self.policy_session)?;
        authorization.include(session, Self::INFO.code, &authority);
        let tag = TpmSt::AUTH_SECRET;
        // A ticket would let a PIN be used more often than its limit.
        let wants_ticket = self.expiration < 0 && !is_trial && nv_type != Ok(TpmNt::PinPass);
        let (timeout, policy_ticket) = if wants_ticket {
            let hierarchy = hierarchy_of(tpm, self.auth_handle.0);
            authorization.ticket(tpm, tag, hierarchy, &authority)
        } else {
            no_ticket(tag)
        };
        Ok(PolicySecretResponse {
            timeout,
            policy_ticket,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{
        INDEX, NONCE_TPM, digest, hmac_object, nv_index, policy, policy_with, started, trial,
    };
    use crate::testing::{Auth, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::buffers::{Tpm2bDigest, Tpm2bNonce};
    use tpm_wire::commands::{PolicySecret, PolicyTicket};
    use tpm_wire::constants::{TpmSe, TpmSt};
    use tpm_wire::handles::{TpmHandle, TpmiDhEntity, TpmiRhHierarchy, TpmiShPolicy};
    use tpm_wire::nv::TpmNt;
    use tpm_wire::rc::{Position, Rc};

    fn secret(
        policy_session: TpmiShPolicy,
        authority: TpmHandle,
        nonce: &[u8],
        expiration: i32,
    ) -> PolicySecret {
        PolicySecret {
            auth_handle: TpmiDhEntity(authority),
            policy_session,
            nonce_tpm: Tpm2bNonce::new(nonce).unwrap(),
            cp_hash_a: Tpm2bDigest::EMPTY,
            policy_ref: Tpm2bNonce::EMPTY,
            expiration,
        }
    }

    /// A written PIN Index with a count and a limit.
    fn pin_index(tpm: &mut TestTpm, nv_type: TpmNt, count: u32, limit: u32) {
        let data = [count.to_be_bytes(), limit.to_be_bytes()].concat();
        nv_index(tpm, TpmaNv::AUTHREAD.with_type(nv_type), &data);
    }

    #[test]
    fn digest_covers_the_name_of_the_authority_and_the_reference() {
        let mut tpm = started();
        // The policy of the endorsement keys of the TCG profile.
        for policy_session in [policy(&mut tpm), trial(&mut tpm)] {
            let answer = tpm
                .run(secret(policy_session, TpmHandle::ENDORSEMENT, &[], 0))
                .unwrap();
            assert_eq!(answer.policy_ticket.tag, TpmSt::AUTH_SECRET);
            assert!(answer.timeout.is_empty() && answer.policy_ticket.digest.is_empty());
            assert_eq!(
                digest(&mut tpm, policy_session),
                "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
            );
        }
        let policy_session = policy_with(&mut tpm, TpmSe::Policy, TpmiAlgHash::Sha384);
        tpm.run(secret(policy_session, TpmHandle::ENDORSEMENT, &[], 0))
            .unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e143e8bb1133824ccb431053871c6db53"
        );
    }

    #[test]
    fn a_wrong_secret_is_bad_auth() {
        let mut tpm = started();
        let command = secret(policy(&mut tpm), TpmHandle::OWNER, &[], 0);
        assert_eq!(
            tpm.run_as(command, &[Auth::password(b"wrong")]),
            Err(Rc::BAD_AUTH.at(Position::session(1)))
        );
    }

    #[test]
    fn what_is_wrong_with_the_common_parameters_is_told_at_their_place() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let good = secret(policy_session, TpmHandle::OWNER, &NONCE_TPM, 10);
        let mut command = good.clone();
        command.nonce_tpm = small(&[1; 16]);
        assert_eq!(tpm.run(command), Err(Rc::NONCE.at(PolicySecret::nonce_tpm)));
        let mut command = good.clone();
        command.cp_hash_a = small(&[1; 20]);
        assert_eq!(tpm.run(command), Err(Rc::SIZE.at(PolicySecret::cp_hash_a)));
        tpm.script.now.fetch_add(10_001, Ordering::Relaxed);
        assert_eq!(
            tpm.run(good.clone()),
            Err(Rc::EXPIRED.at(PolicySecret::expiration))
        );
        let mut command = good.clone();
        command.nonce_tpm = Tpm2bNonce::EMPTY;
        command.expiration = 0;
        command.cp_hash_a = small(&[1; 32]);
        tpm.run(command.clone()).unwrap();
        command.cp_hash_a = small(&[2; 32]);
        assert_eq!(tpm.run(command), Err(Rc::CPHASH));
    }

    #[test]
    fn a_ticket_is_of_the_hierarchy_of_the_authority_and_works() {
        let mut tpm = started();
        nv_index(&mut tpm, TpmaNv::PLATFORMCREATE | TpmaNv::AUTHREAD, &[0]);
        let key = tpm.objects.load(hmac_object()).unwrap();
        for (authority, hierarchy) in [
            (TpmHandle::OWNER, TpmHandle::OWNER),
            (TpmHandle::LOCKOUT, TpmHandle::OWNER),
            (TpmHandle::ENDORSEMENT, TpmHandle::ENDORSEMENT),
            (TpmHandle::PLATFORM, TpmHandle::PLATFORM),
            (TpmHandle(0), TpmHandle::OWNER),
            (INDEX, TpmHandle::PLATFORM),
            (key, TpmHandle::OWNER),
        ] {
            let policy_session = policy(&mut tpm);
            let command = secret(policy_session, authority, &NONCE_TPM, -10);
            let answer = tpm.run(command.clone()).unwrap();
            assert_eq!(
                answer.policy_ticket.hierarchy,
                Some(TpmiRhHierarchy(hierarchy))
            );
            let other = policy(&mut tpm);
            tpm.run(PolicyTicket {
                policy_session: other,
                timeout: answer.timeout,
                cp_hash_a: command.cp_hash_a,
                policy_ref: command.policy_ref,
                auth_name: tpm.entity_name(authority),
                ticket: answer.policy_ticket,
            })
            .unwrap();
            assert_eq!(digest(&mut tpm, policy_session), digest(&mut tpm, other));
        }
    }

    #[test]
    fn a_pin_pass_index_gives_no_ticket_but_a_pin_fail_index_does() {
        let mut tpm = started();
        for (nv_type, gives) in [(TpmNt::PinPass, false), (TpmNt::PinFail, true)] {
            pin_index(&mut tpm, nv_type, 0, 5);
            let command = secret(policy(&mut tpm), INDEX, &NONCE_TPM, -10);
            let answer = tpm.run(command).unwrap();
            assert_eq!(!answer.policy_ticket.digest.is_empty(), gives);
        }
    }

    #[test]
    fn a_pin_index_is_read_only_in_read_only_mode() {
        let mut tpm = started();
        tpm.hierarchies.read_only = true;
        // The limit is reached by neither: the authorization itself succeeds and counts.
        for nv_type in [TpmNt::PinPass, TpmNt::PinFail] {
            pin_index(&mut tpm, nv_type, 0, 5);
            let command = secret(policy(&mut tpm), INDEX, &[], 0);
            let bytes = crate::testing::encode(&command, &[Auth::password(&[])]);
            let answer = crate::testing::decode::<PolicySecret>(tpm.execute(&bytes));
            assert_eq!(answer, Err(Rc::READ_ONLY));
        }
        let command = secret(policy(&mut tpm), TpmHandle::OWNER, &[], 0);
        tpm.run(command).unwrap();
    }
}
