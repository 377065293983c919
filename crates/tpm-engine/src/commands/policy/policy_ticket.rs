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
