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
