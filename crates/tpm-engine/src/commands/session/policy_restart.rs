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

#[cfg(test)]
mod tests {
    use crate::commands::policy::build;
    use crate::policy::PolicyState;
    use tpm_wire::commands::{PolicyAuthValue, PolicyRestart};
    use tpm_wire::constants::TpmSe;
    use tpm_wire::handles::{TpmHandle, TpmiShPolicy};
    use tpm_wire::rc::Rc;

    #[test]
    fn the_policy_begins_anew_and_the_session_stays() {
        for kind in [TpmSe::Policy, TpmSe::Trial] {
            let mut tpm = build::started();
            let hash = tpm_wire::algorithm::TpmiAlgHash::Sha384;
            let session_handle = build::policy_with(&mut tpm, kind, hash);
            let before = tpm.sessions.get(session_handle.0).unwrap().clone();
            let start = before.policy.start_time;
            let policy_session = session_handle;
            tpm.script
                .now
                .store(5000, core::sync::atomic::Ordering::Relaxed);
            tpm.run(PolicyAuthValue { policy_session }).unwrap();
            assert_ne!(tpm.sessions.get(session_handle.0), Some(&before));
            tpm.run(PolicyRestart { session_handle }).unwrap();
            assert_eq!(tpm.sessions.get(session_handle.0), Some(&before));
            let state = &tpm.sessions.get(session_handle.0).unwrap().policy;
            assert_eq!(*state, PolicyState::new(hash, start, before.policy.epoch));
        }
    }

    #[test]
    fn a_session_that_is_not_loaded_is_a_missing_reference_and_an_hmac_session_is_value() {
        let mut tpm = build::started();
        let mut run = |handle| {
            let session_handle = TpmiShPolicy(TpmHandle(handle));
            tpm.run(PolicyRestart { session_handle }).err()
        };
        assert_eq!(run(0x0300_0000), Some(Rc::REFERENCE_H0));
        let expected = Some(Rc::VALUE.at(PolicyRestart::session_handle));
        assert_eq!(run(0x0200_0000), expected);
    }
}
