//! `TPM2_PolicyGetDigest` (Part 3, 23.19).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyGetDigest, PolicyGetDigestResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyGetDigest {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyGetDigestResponse, Rc> {
        let policy_digest = tpm
            .policy_session(self.policy_session)?
            .policy
            .digest
            .clone();
        Ok(PolicyGetDigestResponse { policy_digest })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{policy_with, started};
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::commands::PolicyGetDigest;
    use tpm_wire::constants::TpmSe;
    use tpm_wire::handles::{TpmHt, TpmiShPolicy};
    use tpm_wire::rc::Rc;

    #[test]
    fn a_fresh_session_has_zeros_of_the_size_of_its_hash() {
        for hash in [
            TpmiAlgHash::Sha1,
            TpmiAlgHash::Sha384,
            TpmiAlgHash::Sha3_512,
        ] {
            let mut tpm = started();
            let policy_session = policy_with(&mut tpm, TpmSe::Policy, hash);
            let answer = tpm.run(PolicyGetDigest { policy_session }).unwrap();
            assert_eq!(*answer.policy_digest, *alloc::vec![0; hash.digest_size()]);
        }
    }

    #[test]
    fn a_session_that_is_not_loaded_is_reference_h0() {
        let mut tpm = started();
        let policy_session = TpmiShPolicy(TpmHt::PolicySession.handle(3));
        assert_eq!(
            tpm.run(PolicyGetDigest { policy_session }),
            Err(Rc::REFERENCE_H0)
        );
    }
}
