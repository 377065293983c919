//! `TPM2_PolicyDuplicationSelect` (Part 3, 23.15).

use super::bind_names;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{Duplicate, PolicyDuplicationSelect, PolicyDuplicationSelectResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyDuplicationSelect {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyDuplicationSelectResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        bind_names::<Self, Duplicate>(
            session,
            &self.object_name,
            &[&self.new_parent_name],
            self.include_object,
        )?;
        Ok(PolicyDuplicationSelectResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started};
    use crate::policy::BoundDigest;
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::{PolicyCommandCode, PolicyCpHash, PolicyDuplicationSelect};
    use tpm_wire::handles::TpmiShPolicy;
    use tpm_wire::rc::Rc;

    fn select(policy_session: TpmiShPolicy, include_object: bool) -> PolicyDuplicationSelect {
        PolicyDuplicationSelect {
            policy_session,
            object_name: small(&[0x61; 34]),
            new_parent_name: small(&[0x62; 34]),
            include_object,
        }
    }

    #[test]
    fn digest_covers_the_object_only_if_asked_for_but_names_are_bound_always() {
        let mut tpm = started();
        for (include_object, expected) in [
            (
                true,
                "904c935a8d88e88524481bd02838236df6c18e38c2f89b53b3918afa6254ac82",
            ),
            (
                false,
                "f8df059ce069fa6a92e0e0abfd1096f05edf3603c7f7f815d8972f4cb24456cc",
            ),
        ] {
            let policy_session = policy(&mut tpm);
            tpm.run(select(policy_session, include_object)).unwrap();
            assert_eq!(digest(&mut tpm, policy_session), expected);
            let state = &tpm.policy_session(policy_session).unwrap().policy;
            let names =
                hex::decode("94155a66dde7a35aef705aac8311b6274e7ce021cf97835e79a7f74c8f6cd53e")
                    .unwrap();
            let names = Tpm2bDigest::new(&names).unwrap();
            assert_eq!(state.bound, BoundDigest::NameHash(names));
            assert_eq!(state.command_code, Some(0x14B));
        }
    }

    #[test]
    fn a_bound_session_is_cphash_and_one_with_a_command_command_code() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let code = 0x14B;
        tpm.run(PolicyCommandCode {
            policy_session,
            code,
        })
        .unwrap();
        assert_eq!(tpm.run(select(policy_session, true)), Err(Rc::COMMAND_CODE));
        let cp_hash_a = small(&[1; 32]);
        tpm.run(PolicyCpHash {
            policy_session,
            cp_hash_a,
        })
        .unwrap();
        assert_eq!(tpm.run(select(policy_session, true)), Err(Rc::CPHASH));
    }
}
