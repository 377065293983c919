//! `TPM2_PolicyCpHash` (Part 3, 23.13).

use crate::execute::Execute;
use crate::policy::BoundDigest;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyCpHash, PolicyCpHashResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyCpHash {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyCpHashResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        if self.cp_hash_a.len() != session.digest_size() {
            return Err(Rc::SIZE.at(Self::cp_hash_a));
        }
        let bound = BoundDigest::CpHash(self.cp_hash_a.clone());
        if session.policy.is_bound() && session.policy.bound != bound {
            return Err(Rc::CPHASH);
        }
        session.extend_policy::<Self>(&[&self.cp_hash_a]);
        session.policy.bound = bound;
        Ok(PolicyCpHashResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::commands::{PolicyCpHash, PolicyNameHash};
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_hash_and_the_same_hash_may_come_twice() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let with = |byte| PolicyCpHash {
            policy_session,
            cp_hash_a: small(&[byte; 32]),
        };
        tpm.run(with(0x11)).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "e859ef1747b5f82fb1971132845d543905445696db00462f49bc7181bac31070"
        );
        tpm.run(with(0x11)).unwrap();
        assert_eq!(tpm.run(with(0x12)), Err(Rc::CPHASH));
    }

    #[test]
    fn wrong_size_is_size_at_parameter_1_before_all_else() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let cp_hash_a = small(&[1; 20]);
        assert_eq!(
            tpm.run(PolicyCpHash {
                policy_session,
                cp_hash_a
            }),
            Err(Rc::SIZE.at(PolicyCpHash::cp_hash_a))
        );
    }

    #[test]
    fn a_session_bound_by_another_kind_of_digest_is_cphash() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        tpm.run(PolicyNameHash {
            policy_session,
            name_hash: small(&[1; 32]),
        })
        .unwrap();
        let cp_hash_a = small(&[1; 32]);
        assert_eq!(
            tpm.run(PolicyCpHash {
                policy_session,
                cp_hash_a
            }),
            Err(Rc::CPHASH)
        );
    }
}
