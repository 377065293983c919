//! `TPM2_PolicyOR` (Part 3, 23.6).

use crate::execute::Execute;
use crate::state::Tpm;
use arrayvec::ArrayVec;
use tpm_wire::commands::{PolicyOr, PolicyOrResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyOr {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyOrResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        let branches = &self.p_hash_list.0;
        if !session.is_trial() && !branches.contains(&session.policy.digest) {
            return Err(Rc::VALUE.at(Self::p_hash_list));
        }
        session.policy.clear_digest();
        let digests: ArrayVec<&[u8], 8> = branches.iter().map(|digest| &**digest).collect();
        session.extend_policy::<Self>(&digests);
        Ok(PolicyOrResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started, trial};
    use tpm_wire::commands::{PolicyAuthValue, PolicyOr};
    use tpm_wire::handles::TpmiShPolicy;
    use tpm_wire::pcr::{TpmlDigest, TpmlDigestBranches};
    use tpm_wire::rc::Rc;

    fn or(policy_session: TpmiShPolicy, branches: &[[u8; 32]]) -> PolicyOr {
        let list: TpmlDigest = branches.iter().map(|branch| small(branch)).collect();
        PolicyOr {
            policy_session,
            p_hash_list: TpmlDigestBranches(list),
        }
    }

    fn auth_value() -> [u8; 32] {
        let bytes = hex::decode("8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e");
        bytes.unwrap().try_into().unwrap()
    }

    #[test]
    fn digest_covers_all_branches_if_one_is_the_present_digest() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        tpm.run(PolicyAuthValue { policy_session }).unwrap();
        tpm.run(or(policy_session, &[[1; 32], auth_value()]))
            .unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "15520268b671e690df7def1780e7fa8bd98bdb50d4b9f140d91002f7e07ae0a1"
        );
    }

    #[test]
    fn without_the_present_digest_among_them_it_is_value_at_parameter_1() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        assert_eq!(
            tpm.run(or(policy_session, &[[1; 32], auth_value()])),
            Err(Rc::VALUE.at(PolicyOr::p_hash_list))
        );
    }

    #[test]
    fn a_trial_session_takes_any_branches() {
        let mut tpm = started();
        let policy_session = trial(&mut tpm);
        tpm.run(or(policy_session, &[[1; 32], auth_value()]))
            .unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "15520268b671e690df7def1780e7fa8bd98bdb50d4b9f140d91002f7e07ae0a1"
        );
    }

    #[test]
    fn one_branch_alone_is_size_at_parameter_1() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        assert_eq!(
            tpm.run(or(policy_session, &[[0; 32]])),
            Err(Rc::SIZE.at(PolicyOr::p_hash_list))
        );
    }
}
