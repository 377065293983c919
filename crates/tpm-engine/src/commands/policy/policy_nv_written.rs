//! `TPM2_PolicyNvWritten` (Part 3, 23.20).

use super::byte;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyNvWritten, PolicyNvWrittenResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyNvWritten {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyNvWrittenResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        if session
            .policy
            .nv_written
            .is_some_and(|written| written != self.written_set)
        {
            return Err(Rc::VALUE.at(Self::written_set));
        }
        session.extend_policy::<Self>(&[&byte(self.written_set)]);
        session.policy.nv_written = Some(self.written_set);
        Ok(PolicyNvWrittenResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::commands::PolicyNvWritten;
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_answer_and_another_answer_is_value_at_parameter_1() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let written = |written_set| PolicyNvWritten {
            policy_session,
            written_set,
        };
        tpm.run(written(true)).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "f7887d158ae8d38be0ac5319f37a9e07618bf54885453c7a54ddb0c6a6193beb"
        );
        assert_eq!(
            tpm.run(written(false)),
            Err(Rc::VALUE.at(PolicyNvWritten::written_set))
        );
        tpm.run(written(true)).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "fa458976640e47b5447ff4ec1a2eab0d2684e7706acd7adcef4741d718760bad"
        );
    }
}
