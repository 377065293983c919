//! `TPM2_PolicyPassword` (Part 3, 23.18).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyAuthValue, PolicyPassword, PolicyPasswordResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyPassword {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyPasswordResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        // The code of the other command, so that one policy takes the value either way.
        session.extend_policy::<PolicyAuthValue>(&[]);
        session.policy.password_needed = true;
        session.policy.auth_value_needed = false;
        Ok(PolicyPasswordResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::commands::{PolicyAuthValue, PolicyPassword};
    use tpm_wire::handles::{TpmHt, TpmiShPolicy};
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_is_that_of_policy_auth_value_and_the_last_of_the_two_counts() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        tpm.run(PolicyPassword { policy_session }).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e"
        );
        tpm.run(PolicyAuthValue { policy_session }).unwrap();
        tpm.run(PolicyPassword { policy_session }).unwrap();
        let state = &tpm.policy_session(policy_session).unwrap().policy;
        assert!(!state.auth_value_needed && state.password_needed);
    }

    #[test]
    fn only_a_policy_session_that_is_loaded_is_taken() {
        let mut tpm = started();
        let policy_session = TpmiShPolicy(TpmHt::PolicySession.handle(1));
        let refused = tpm.run(PolicyPassword { policy_session });
        assert_eq!(refused, Err(Rc::REFERENCE_H0));
        let policy_session = TpmiShPolicy(TpmHt::HmacSession.handle(1));
        let refused = tpm.run(PolicyPassword { policy_session });
        assert_eq!(refused, Err(Rc::VALUE.at(PolicyPassword::policy_session)));
    }
}
