//! `TPM2_PolicyAuthValue` (Part 3, 23.17).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyAuthValue, PolicyAuthValueResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyAuthValue {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyAuthValueResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        session.extend_policy::<Self>(&[]);
        session.policy.auth_value_needed = true;
        session.policy.password_needed = false;
        Ok(PolicyAuthValueResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::commands::{PolicyAuthValue, PolicyPassword};
    use tpm_wire::handles::{TpmHt, TpmiShPolicy};
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_command_code_and_the_last_of_the_two_counts() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        tpm.run(PolicyPassword { policy_session }).unwrap();
        tpm.run(PolicyAuthValue { policy_session }).unwrap();
        let state = &tpm.policy_session(policy_session).unwrap().policy;
        assert!(state.auth_value_needed && !state.password_needed);

        let policy_session = policy(&mut tpm);
        tpm.run(PolicyAuthValue { policy_session }).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e"
        );
    }

    #[test]
    fn only_a_policy_session_that_is_loaded_is_taken() {
        let mut tpm = started();
        let policy_session = TpmiShPolicy(TpmHt::PolicySession.handle(1));
        let refused = tpm.run(PolicyAuthValue { policy_session });
        assert_eq!(refused, Err(Rc::REFERENCE_H0));
        let policy_session = TpmiShPolicy(TpmHt::HmacSession.handle(1));
        let refused = tpm.run(PolicyAuthValue { policy_session });
        assert_eq!(refused, Err(Rc::VALUE.at(PolicyAuthValue::policy_session)));
    }
}
