//! `TPM2_PolicyParameters` (Part 3, 23.24).

use super::bind_digest;
use crate::execute::Execute;
use crate::policy::BoundDigest;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyParameters, PolicyParametersResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyParameters {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyParametersResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        bind_digest::<Self>(session, self.p_hash, BoundDigest::Parameters, Self::p_hash)?;
        Ok(PolicyParametersResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::PolicyParameters;
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_hash_and_only_one_is_taken() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let with = |p_hash| PolicyParameters {
            policy_session,
            p_hash,
        };
        assert_eq!(
            tpm.run(with(Tpm2bDigest::EMPTY)),
            Err(Rc::SIZE.at(PolicyParameters::p_hash))
        );
        tpm.run(with(small(&[0x33; 32]))).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "93e8c91534fe9d82243bf7451347a162830fb39b3bf0c11c51aec9ad6096a1fc"
        );
        assert_eq!(tpm.run(with(small(&[0x33; 32]))), Err(Rc::CPHASH));
    }
}
