//! `TPM2_PolicyPhysicalPresence` (Part 3, 23.12).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyPhysicalPresence, PolicyPhysicalPresenceResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyPhysicalPresence {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyPhysicalPresenceResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        session.extend_policy::<Self>(&[]);
        session.policy.presence_required = true;
        Ok(PolicyPhysicalPresenceResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::commands::PolicyPhysicalPresence;
    use tpm_wire::handles::{TpmHt, TpmiShPolicy};
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_command_code_and_presence_is_required() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        tpm.run(PolicyPhysicalPresence { policy_session }).unwrap();
        assert!(
            tpm.policy_session(policy_session)
                .unwrap()
                .policy
                .presence_required
        );
        assert_eq!(
            digest(&mut tpm, policy_session),
            "0d7c6747b1b9facbba03492097aa9d5af792e5efc07346e05f9daa8b3d9e13b5"
        );
    }

    #[test]
    fn only_a_policy_session_that_is_loaded_is_taken() {
        let mut tpm = started();
        let policy_session = TpmiShPolicy(TpmHt::PolicySession.handle(1));
        let refused = tpm.run(PolicyPhysicalPresence { policy_session });
        assert_eq!(refused, Err(Rc::REFERENCE_H0));
        let policy_session = TpmiShPolicy(TpmHt::HmacSession.handle(1));
        let refused = tpm.run(PolicyPhysicalPresence { policy_session });
        assert_eq!(
            refused,
            Err(Rc::VALUE.at(PolicyPhysicalPresence::policy_session))
        );
    }
}
