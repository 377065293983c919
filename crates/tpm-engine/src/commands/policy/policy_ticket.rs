//! `TPM2_PolicyTicket` (Part 3, 23.5).

use super::{Authorization, Blame, EXPIRES_ON_RESET};
use crate::execute::Execute;
use crate::state::Tpm;
use crate::ticket::{Authorized, tickets_match};
use tpm_wire::commands::{PolicySecret, PolicySigned, PolicyTicket, PolicyTicketResponse};
use tpm_wire::constants::TpmSt;
use tpm_wire::handles::HandleField;
use tpm_wire::rc::Rc;
use tpm_wire::table::Command;

impl Execute for PolicyTicket {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyTicketResponse, Rc> {
        let session = tpm.policy_session(self.policy_session)?;
        // A ticket stands for an authorization, and a trial needs none.
        if session.is_trial() {
            return Err(Rc::ATTRIBUTES.at(Self::policy_session));
        }
        let timeout = self
            .timeout
            .first_chunk::<8>()
            .filter(|timeout| timeout.len() == self.timeout.len())
            .ok_or(Rc::SIZE.at(Self::timeout))?;
        let timeout = u64::from_be_bytes(*timeout);
        let authorization = Authorization {
            nonce_tpm: None,
            cp_hash: &self.cp_hash_a,
            policy_ref: &self.policy_ref,
            timeout: timeout & !EXPIRES_ON_RESET,
        };
        let blame = Blame {
            nonce_tpm: Self::timeout,
            cp_hash: Self::cp_hash_a,
            expiration: Self::timeout,
        };
        authorization.check(tpm, session, &blame)?;
        let hierarchy = self.ticket.hierarchy.handle();
        tpm.check_ticket_hierarchy(hierarchy)?;
        let expected = tpm.auth_ticket(
            self.ticket.tag,
            hierarchy,
            &Authorized {
                timeout: authorization.timeout,
                expires_on_reset: timeout & EXPIRES_ON_RESET != 0,
                cp_hash: &self.cp_hash_a,
                policy_ref: &self.policy_ref,
                entity_name: &self.auth_name,
            },
        );
        if !tickets_match(&self.ticket.digest, &expected.digest) {
            return Err(Rc::TICKET.at(Self::ticket));
        }
        let code = match self.ticket.tag {
            TpmSt::AUTH_SIGNED => PolicySigned::INFO.code,
            _ => PolicySecret::INFO.code,
        };
        let session = tpm.sessions.policy(self.policy_session)?;
        authorization.include(session, code, &self.auth_name);
        Ok(PolicyTicketResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{
        NONCE_TPM, Signing, digest, hmac_object, policy, signing, trial,
    };
    use crate::policy::BoundDigest;
    use core::sync::atomic::Ordering;
    use tpm_wire::buffers::{Tpm2bDigest, Tpm2bNonce};
    use tpm_wire::commands::{PolicyCpHash, PolicyTicket};
    use tpm_wire::constants::TpmSt;
    use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy};
    use tpm_wire::rc::Rc;

    /// The ticket of an authorization, to be used in another session.
    fn ticket(t: &mut Signing, nonce: &[u8], cp_hash: &[u8], expiration: i32) -> PolicyTicket {
        let command = t.signed(nonce, cp_hash, expiration);
        let auth_name = t.tpm.entity_name(t.key);
        let answer = t.tpm.run(command.clone()).unwrap();
        PolicyTicket {
            policy_session: policy(&mut t.tpm),
            timeout: answer.timeout,
            cp_hash_a: command.cp_hash_a,
            policy_ref: command.policy_ref,
            auth_name,
            ticket: answer.policy_ticket,
        }
    }

    #[test]
    fn a_ticket_takes_the_place_of_the_signature() {
        let mut t = signing();
        let command = ticket(&mut t, &NONCE_TPM, &[7; 32], -100);
        let policy_session = command.policy_session;
        t.tpm.run(command).unwrap();
        assert_eq!(
            digest(&mut t.tpm, policy_session),
            "4432ca84e7dba266b7267056ed0a58462a094596b949b3c9214855c21fbaa531"
        );
        let state = &t.tpm.policy_session(policy_session).unwrap().policy;
        assert_eq!(state.timeout, 100_000);
        assert_eq!(state.bound, BoundDigest::CpHash(small(&[7; 32])));
    }

    #[test]
    fn keys_of_the_null_hierarchy_get_tickets_too() {
        let mut t = signing();
        let mut object = hmac_object();
        object.hierarchy = TpmHandle::NULL;
        t.key = t.tpm.objects.load(object).unwrap();
        let command = ticket(&mut t, &[], &[], -100);
        assert_eq!(command.ticket.hierarchy, None);
        assert_eq!(command.ticket.digest.len(), 64);
        t.tpm.run(command).unwrap();
    }

    #[test]
    fn a_ticket_holds_for_what_it_was_given_for_only() {
        let mut t = signing();
        let good = ticket(&mut t, &NONCE_TPM, &[7; 32], -100);
        let refused = Err(Rc::TICKET.at(PolicyTicket::ticket));
        let changes: [fn(&mut PolicyTicket); 8] = [
            |command| command.cp_hash_a = Tpm2bDigest::EMPTY,
            |command| command.policy_ref = Tpm2bNonce::EMPTY,
            |command| command.auth_name.as_mut_slice()[5] ^= 1,
            |command| command.timeout.as_mut_slice()[4] ^= 1,
            |command| command.timeout.as_mut_slice()[0] ^= 0x80,
            |command| command.ticket.tag = TpmSt::AUTH_SECRET,
            |command| command.ticket.hierarchy = Some(TpmiRhHierarchy(TpmHandle::PLATFORM)),
            |command| command.ticket.digest = Tpm2bDigest::EMPTY,
        ];
        for change in changes {
            let mut command = good.clone();
            change(&mut command);
            assert_eq!(t.tpm.run(command), refused);
        }
        // No byte of the command's hash can be passed off as part of the reference.
        let mut command = good.clone();
        command.cp_hash_a = Tpm2bDigest::EMPTY;
        command.policy_ref = Tpm2bNonce::new(&[&[7; 32][..], b"ref"].concat()).unwrap();
        assert_eq!(t.tpm.run(command), refused);
        t.tpm.run(good).unwrap();
    }

    #[test]
    fn a_ticket_that_expired_is_expired_at_parameter_1() {
        let mut t = signing();
        let command = ticket(&mut t, &NONCE_TPM, &[], -100);
        t.tpm.script.now.fetch_add(100_001, Ordering::Relaxed);
        assert_eq!(
            t.tpm.run(command),
            Err(Rc::EXPIRED.at(PolicyTicket::timeout))
        );
    }

    #[test]
    fn a_ticket_ends_with_the_run_of_the_clock() {
        let mut t = signing();
        let mut command = ticket(&mut t, &[], &[], -1000);
        t.tpm.clock.epoch += 1;
        command.policy_session = policy(&mut t.tpm);
        assert_eq!(t.tpm.run(command), Err(Rc::TICKET.at(PolicyTicket::ticket)));
    }

    #[test]
    fn a_ticket_without_nonce_ends_with_the_next_reset_too() {
        let mut t = signing();
        let without = ticket(&mut t, &[], &[], -1000);
        let with = ticket(&mut t, &NONCE_TPM, &[], -1000);
        t.tpm.clock.total_reset_count += 1;
        assert_eq!(t.tpm.run(without), Err(Rc::TICKET.at(PolicyTicket::ticket)));
        t.tpm.run(with).unwrap();
    }

    #[test]
    fn a_ticket_in_a_trial_session_is_attributes_and_a_wrong_timeout_size() {
        let mut t = signing();
        let good = ticket(&mut t, &NONCE_TPM, &[], -100);
        let mut command = good.clone();
        command.policy_session = trial(&mut t.tpm);
        assert_eq!(
            t.tpm.run(command),
            Err(Rc::ATTRIBUTES.at(PolicyTicket::policy_session))
        );
        let mut command = good.clone();
        command.timeout.truncate(7);
        assert_eq!(t.tpm.run(command), Err(Rc::SIZE.at(PolicyTicket::timeout)));
        let mut command = good.clone();
        command.cp_hash_a = small(&[1; 20]);
        assert_eq!(
            t.tpm.run(command),
            Err(Rc::SIZE.at(PolicyTicket::cp_hash_a))
        );
        let mut command = good;
        command.ticket.hierarchy = Some(TpmiRhHierarchy(TpmHandle(0x4001_0001)));
        assert_eq!(t.tpm.run(command), Err(Rc::SVN_LIMITED));
    }

    #[test]
    fn a_session_bound_to_another_command_is_cphash() {
        let mut t = signing();
        let command = ticket(&mut t, &NONCE_TPM, &[7; 32], -100);
        t.tpm
            .run(PolicyCpHash {
                policy_session: command.policy_session,
                cp_hash_a: small(&[8; 32]),
            })
            .unwrap();
        assert_eq!(t.tpm.run(command), Err(Rc::CPHASH));
    }

    #[test]
    fn a_clock_that_cannot_be_stored_is_nv_unavailable() {
        let mut t = signing();
        let command = ticket(&mut t, &NONCE_TPM, &[], -100);
        t.tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(t.tpm.run(command), Err(Rc::NV_UNAVAILABLE));
    }
}
