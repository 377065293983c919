//! `TPM2_PolicyNameHash` (Part 3, 23.14).

use super::bind_digest;
use crate::execute::Execute;
use crate::policy::BoundDigest;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyNameHash, PolicyNameHashResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyNameHash {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyNameHashResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        bind_digest::<Self>(
            session,
            self.name_hash,
            BoundDigest::NameHash,
            Self::name_hash,
        )?;
        Ok(PolicyNameHashResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started};
    use tpm_wire::commands::PolicyNameHash;
    use tpm_wire::rc::Rc;

    #[test]
    fn digest_covers_the_hash_and_only_one_is_taken() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let with = |name_hash| PolicyNameHash {
            policy_session,
            name_hash,
        };
        assert_eq!(
            tpm.run(with(small(&[0x22; 33]))),
            Err(Rc::SIZE.at(PolicyNameHash::name_hash))
        );
        tpm.run(with(small(&[0x22; 32]))).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "59fd3b8a9992546ca517891c678a19973a05d544936fcd68db2262f4b20f6fd3"
        );
        assert_eq!(tpm.run(with(small(&[0x22; 32]))), Err(Rc::CPHASH));
    }
}
