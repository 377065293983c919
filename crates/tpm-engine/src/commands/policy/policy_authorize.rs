//! `TPM2_PolicyAuthorize` (Part 3, 23.16).

use super::check_name;
use crate::algorithms::hash;
use crate::execute::Execute;
use crate::state::Tpm;
use crate::ticket::tickets_match;
use tpm_wire::commands::{PolicyAuthorize, PolicyAuthorizeResponse};
use tpm_wire::handles::HandleField;
use tpm_wire::rc::Rc;
use tpm_wire::table::Command;

impl Execute for PolicyAuthorize {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyAuthorizeResponse, Rc> {
        let session = tpm.policy_session(self.policy_session)?;
        let hash_alg = check_name(tpm, &self.key_sign, Self::key_sign)?;
        if !session.is_trial() {
            if self.approved_policy != session.policy.digest {
                return Err(Rc::VALUE.at(Self::approved_policy));
            }
            let signed = hash(hash_alg, &[&self.approved_policy, &self.policy_ref]);
            let hierarchy = self.check_ticket.hierarchy.handle();
            tpm.check_ticket_hierarchy(hierarchy)?;
            let expected = tpm.verified_ticket(hierarchy, &signed, &self.key_sign);
            if !tickets_match(&self.check_ticket.digest, &expected.digest) {
                return Err(Rc::VALUE.at(Self::check_ticket));
            }
        }
        let session = tpm.sessions.policy(self.policy_session)?;
        session.policy.clear_digest();
        session.extend_policy_by_authority(Self::INFO.code, &self.key_sign, &self.policy_ref);
        Ok(PolicyAuthorizeResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started, trial};
    use crate::testing::TestTpm;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::buffers::{Tpm2bDigest, Tpm2bName};
    use tpm_wire::commands::{PolicyAuthValue, PolicyAuthorize};
    use tpm_wire::constants::TpmSt;
    use tpm_wire::handles::{TpmHandle, TpmiRhHierarchy, TpmiShPolicy};
    use tpm_wire::rc::Rc;
    use tpm_wire::ticket::TpmtTkVerified;

    const POLICY_REF: [u8; 3] = *b"ref";

    fn key_name() -> Tpm2bName {
        let mut name = [0x55; 34];
        name[..2].copy_from_slice(&[0x00, 0x0B]);
        small(&name)
    }

    fn auth_value() -> Tpm2bDigest {
        let bytes = hex::decode("8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e");
        Tpm2bDigest::new(&bytes.unwrap()).unwrap()
    }

    /// The command with the ticket that a verification of the signature over policy and reference gives.
    fn authorize(tpm: &TestTpm, policy_session: TpmiShPolicy) -> PolicyAuthorize {
        let signed = crate::algorithms::hash(TpmiAlgHash::Sha256, &[&auth_value(), &POLICY_REF]);
        PolicyAuthorize {
            policy_session,
            approved_policy: auth_value(),
            policy_ref: small(&POLICY_REF),
            key_sign: key_name(),
            check_ticket: tpm.verified_ticket(TpmHandle::OWNER, &signed, &key_name()),
        }
    }

    fn satisfied(tpm: &mut TestTpm) -> TpmiShPolicy {
        let policy_session = policy(tpm);
        tpm.run(PolicyAuthValue { policy_session }).unwrap();
        policy_session
    }

    #[test]
    fn the_approved_policy_is_replaced_by_the_authority() {
        let mut tpm = started();
        let policy_session = satisfied(&mut tpm);
        let command = authorize(&tpm, policy_session);
        tpm.run(command).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "079724a7ae306c2e11a96f51a57c0448ffa1d6fa00940c360d854197b71731b6"
        );
        assert!(
            tpm.policy_session(policy_session)
                .unwrap()
                .policy
                .auth_value_needed,
            "what the approved policy asked for stays"
        );
    }

    #[test]
    fn a_trial_session_needs_neither_policy_nor_ticket() {
        let mut tpm = started();
        let policy_session = trial(&mut tpm);
        let mut command = authorize(&tpm, policy_session);
        command.check_ticket = TpmtTkVerified {
            tag: TpmSt::VERIFIED,
            hierarchy: None,
            digest: Tpm2bDigest::EMPTY,
        };
        tpm.run(command).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "079724a7ae306c2e11a96f51a57c0448ffa1d6fa00940c360d854197b71731b6"
        );
    }

    #[test]
    fn a_name_that_cannot_be_one_is_size_or_hash_at_parameter_3() {
        let mut tpm = started();
        for (name, rc) in [
            (&[0x00][..], Rc::SIZE),
            (&[0x00, 0x0B, 1], Rc::SIZE),
            (&[0x00, 0x10], Rc::HASH),
        ] {
            for policy_session in [policy(&mut tpm), trial(&mut tpm)] {
                let mut command = authorize(&tpm, policy_session);
                command.key_sign = Tpm2bName::new(name).unwrap();
                assert_eq!(tpm.run(command), Err(rc.at(PolicyAuthorize::key_sign)));
            }
        }
    }

    #[test]
    fn a_policy_that_is_not_the_present_one_is_value_at_parameter_1() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let command = authorize(&tpm, policy_session);
        assert_eq!(
            tpm.run(command),
            Err(Rc::VALUE.at(PolicyAuthorize::approved_policy))
        );
    }

    #[test]
    fn a_ticket_for_something_else_is_value_at_parameter_4() {
        let mut tpm = started();
        let policy_session = satisfied(&mut tpm);
        let good = authorize(&tpm, policy_session);
        let refused = Err(Rc::VALUE.at(PolicyAuthorize::check_ticket));
        let mut command = good.clone();
        command.policy_ref = small(b"fer");
        assert_eq!(tpm.run(command), refused);
        let mut command = good.clone();
        command.check_ticket.hierarchy = Some(TpmiRhHierarchy(TpmHandle::ENDORSEMENT));
        assert_eq!(tpm.run(command), refused);
        let mut command = good.clone();
        command.check_ticket.hierarchy = None;
        command.check_ticket.digest = Tpm2bDigest::EMPTY;
        assert_eq!(tpm.run(command), refused, "a NULL ticket proves nothing");
        let mut command = good;
        command.check_ticket.hierarchy = Some(TpmiRhHierarchy(TpmHandle(0x4001_0001)));
        assert_eq!(tpm.run(command), Err(Rc::SVN_LIMITED));
    }
}
