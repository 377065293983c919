//! `TPM2_PolicyRestart` (Part 3, 11.2).

use crate::execute::Execute;
use crate::policy::PolicyState;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyRestart, PolicyRestartResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyRestart {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyRestartResponse, Rc> {
        let session = tpm
            .sessions
            .policy(self.session_handle)
            .map_err(|rc| rc.at(Self::session_handle))?;
        // Nonce and start stay: a ticket's time goes on.
        session.policy = PolicyState::new(
            session.auth_hash,
            session.policy.start_time,
            session.policy.epoch,
        );
        Ok(PolicyRestartResponse {})
    }
}
