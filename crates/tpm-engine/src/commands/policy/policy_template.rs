//! `TPM2_PolicyTemplate` (Part 3, 23.21).

use crate::execute::Execute;
use crate::policy::BoundDigest;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyTemplate, PolicyTemplateResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyTemplate {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyTemplateResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        let bound = BoundDigest::Template(self.template_hash.clone());
        if session.policy.is_bound() && session.policy.bound != bound {
            return Err(Rc::CPHASH);
        }
        if self.template_hash.len() != session.digest_size() {
            return Err(Rc::SIZE.at(Self::template_hash));
        }
        session.extend_policy::<Self>(&[&self.template_hash]);
        session.policy.bound = bound;
        Ok(PolicyTemplateResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::commands::PolicyTemplate;
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_hash_and_the_same_hash_may_come_twice() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let with = |template_hash| PolicyTemplate {
            policy_session,
            template_hash,
        };
        assert_eq!(
            tpm.run(with(small(&[0x44; 20]))),
            Err(Rc::SIZE.at(PolicyTemplate::template_hash))
        );
        tpm.run(with(small(&[0x44; 32]))).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "5037a2b596e3870c636751ea8db3e30ba05aff005b9040aeebd701b586f4a04c"
        );
        tpm.run(with(small(&[0x44; 32]))).unwrap();
        // Another digest is refused for being another one, before its size is looked at.
        assert_eq!(tpm.run(with(small(&[0x44; 20]))), Err(Rc::CPHASH));
    }
}
