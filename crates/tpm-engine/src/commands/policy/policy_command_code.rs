//! `TPM2_PolicyCommandCode` (Part 3, 23.11).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyCommandCode, PolicyCommandCodeResponse};
use tpm_wire::rc::Rc;
use tpm_wire::table::find;

impl Execute for PolicyCommandCode {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyCommandCodeResponse, Rc> {
        let is_implemented = find(self.code).is_some_and(|info| tpm.profile.has_command(info));
        let session = tpm.sessions.policy(self.policy_session)?;
        if session
            .policy
            .command_code
            .is_some_and(|code| code != self.code)
        {
            return Err(Rc::VALUE.at(Self::code));
        }
        if !is_implemented {
            return Err(Rc::POLICY_CC.at(Self::code));
        }
        session.extend_policy::<Self>(&[&self.code.to_be_bytes()]);
        session.policy.command_code = Some(self.code);
        Ok(PolicyCommandCodeResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::commands::PolicyCommandCode;
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_code() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let code = 0x15E; // Unseal
        tpm.run(PolicyCommandCode {
            policy_session,
            code,
        })
        .unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "e613137076524bde487533865884e9732ebee3aacb095d94a6de492ec06c46fa"
        );
    }

    #[test]
    fn a_second_code_is_value_and_one_that_does_not_exist_policy_cc() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let with = |code| PolicyCommandCode {
            policy_session,
            code,
        };
        let at = PolicyCommandCode::code;
        assert_eq!(tpm.run(with(0x12F)), Err(Rc::POLICY_CC.at(at)));
        tpm.run(with(0x15E)).unwrap();
        assert_eq!(tpm.run(with(0x15D)), Err(Rc::VALUE.at(at)));
        tpm.run(with(0x15E)).unwrap();
    }
}
