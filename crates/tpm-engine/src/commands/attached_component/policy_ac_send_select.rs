//! `TPM2_Policy_AC_SendSelect` (Part 3, 32.4).

use crate::commands::policy::bind_names;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{AcSend, PolicyAcSendSelect, PolicyAcSendSelectResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyAcSendSelect {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyAcSendSelectResponse, Rc> {
        let session = tpm.sessions.policy(self.policy_session)?;
        bind_names::<Self, AcSend>(
            session,
            &self.object_name,
            &[&self.auth_handle_name, &self.ac_name],
            self.include_object,
        )?;
        Ok(PolicyAcSendSelectResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithms::small;
    use crate::commands::policy::build::{digest, policy, started};
    use crate::policy::BoundDigest;
    use tpm_wire::buffers::Tpm2bDigest;
    use tpm_wire::commands::{PolicyAcSendSelect, PolicyCommandCode, PolicyCpHash};
    use tpm_wire::handles::TpmiShPolicy;
    use tpm_wire::rc::Rc;

    fn select(policy_session: TpmiShPolicy, include_object: bool) -> PolicyAcSendSelect {
        PolicyAcSendSelect {
            policy_session,
            object_name: small(&[0x61; 34]),
            auth_handle_name: small(&[0x40, 0, 0, 1]),
            ac_name: small(&[0x90, 0, 0, 1]),
            include_object,
        }
    }

    #[test]
    fn digest_covers_the_object_only_if_asked_for_but_names_are_bound_always() {
        let mut tpm = started();
        for (include_object, expected) in [
            (
                true,
                "fa092c042459924a7c96962e5eb8a96835d8a11763aa6bb774edbe7d09edf513",
            ),
            (
                false,
                "bf5f8ab870f2c56034f214d81b7d3eff39e396ff29ee387c5f7443c689008a04",
            ),
        ] {
            let policy_session = policy(&mut tpm);
            tpm.run(select(policy_session, include_object)).unwrap();
            assert_eq!(digest(&mut tpm, policy_session), expected);
            let state = &tpm.policy_session(policy_session).unwrap().policy;
            let names =
                hex::decode("30cfdeaff354ae4d4374a6188776cc2f74285b9880fdc6ad039c972c4e4f139e")
                    .unwrap();
            let names = Tpm2bDigest::new(&names).unwrap();
            assert_eq!(state.bound, BoundDigest::NameHash(names));
            assert_eq!(state.command_code, Some(0x195));
        }
    }

    #[test]
    fn a_bound_session_is_cphash_and_one_with_a_command_command_code() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let code = 0x195;
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
