//! `TPM2_PolicyAuthorizeNV` (Part 3, 23.22).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::algorithm::TpmtHa;
use tpm_wire::codec::{Input, Parse, response_code};
use tpm_wire::commands::{PolicyAuthorizeNv, PolicyAuthorizeNvResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyAuthorizeNv {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyAuthorizeNvResponse, Rc> {
        let session = tpm.policy_session(self.policy_session)?;
        // A trial session does not look at the Index.
        if !session.is_trial() {
            let index = tpm.nv.check_read(self.auth_handle.0, self.nv_index.0)?;
            // The Index may be longer than the policy in it.
            let contents = Input::new(&index.data, &tpm.profile.limits);
            let (_, approved) = TpmtHa::parse(contents).map_err(response_code)?;
            if approved.hash_alg != session.auth_hash {
                return Err(Rc::HASH);
            }
            if approved.digest != session.policy.digest {
                return Err(Rc::VALUE);
            }
        }
        let name = tpm.entity_name(self.nv_index.0);
        let session = tpm.sessions.policy(self.policy_session)?;
        session.policy.clear_digest();
        session.extend_policy::<Self>(&[&name]);
        Ok(PolicyAuthorizeNvResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{
        INDEX, digest, nv_index, policy, policy_with, started, trial,
    };
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::commands::{PolicyAuthValue, PolicyAuthorizeNv};
    use tpm_wire::constants::TpmSe;
    use tpm_wire::handles::{TpmHandle, TpmiRhNvAuth, TpmiRhNvIndex, TpmiShPolicy};
    use tpm_wire::rc::Rc;

    const AUTH_VALUE: &str = "000b8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e";

    fn authorize(policy_session: TpmiShPolicy) -> PolicyAuthorizeNv {
        PolicyAuthorizeNv {
            auth_handle: TpmiRhNvAuth(TpmHandle::OWNER),
            nv_index: TpmiRhNvIndex(INDEX),
            policy_session,
        }
    }

    #[test]
    fn the_policy_in_the_index_is_replaced_by_the_name_of_the_index() {
        let mut tpm = started();
        let mut contents = hex::decode(AUTH_VALUE).unwrap();
        contents.extend([0; 10]);
        nv_index(&mut tpm, TpmaNv::NONE, &contents);
        let policy_session = policy(&mut tpm);
        tpm.run(PolicyAuthValue { policy_session }).unwrap();
        tpm.run(authorize(policy_session)).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "119c1c41742b150ee239d0b0ba7f4ba28feb11f50bff0c6bc1117046a2c8e38d"
        );
        let trial = trial(&mut tpm);
        tpm.run(authorize(trial)).unwrap();
        assert_eq!(
            digest(&mut tpm, trial),
            "119c1c41742b150ee239d0b0ba7f4ba28feb11f50bff0c6bc1117046a2c8e38d"
        );
    }

    #[test]
    fn another_policy_is_value_and_one_of_another_hash_is_hash() {
        let mut tpm = started();
        nv_index(&mut tpm, TpmaNv::NONE, &hex::decode(AUTH_VALUE).unwrap());
        let policy_session = policy(&mut tpm);
        assert_eq!(tpm.run(authorize(policy_session)), Err(Rc::VALUE));
        let policy_session = policy_with(&mut tpm, TpmSe::Policy, TpmiAlgHash::Sha384);
        assert_eq!(tpm.run(authorize(policy_session)), Err(Rc::HASH));
    }

    // TPM_RC_SIZE, which Part 3 lists, is about a Name of a key: this command has none.
    #[test]
    fn contents_that_are_no_digest_are_refused_by_their_parser() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        nv_index(&mut tpm, TpmaNv::NONE, &[0x00, 0x0B, 1, 2]);
        assert_eq!(tpm.run(authorize(policy_session)), Err(Rc::INSUFFICIENT));
        nv_index(&mut tpm, TpmaNv::NONE, &[0x00, 0x10, 1, 2]);
        assert_eq!(tpm.run(authorize(policy_session)), Err(Rc::HASH));
    }

    #[test]
    fn an_index_that_cannot_be_read_is_refused() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        nv_index(&mut tpm, TpmaNv::READLOCKED, &[1]);
        assert_eq!(tpm.run(authorize(policy_session)), Err(Rc::NV_LOCKED));
        for (attributes, rc) in [
            (TpmaNv::OWNERREAD, Rc::NV_UNINITIALIZED),
            (TpmaNv::WRITTEN, Rc::NV_AUTHORIZATION),
        ] {
            tpm.nv.get_mut(INDEX).unwrap().set_attributes(attributes);
            assert_eq!(tpm.run(authorize(policy_session)), Err(rc));
        }
        let trial = trial(&mut tpm);
        tpm.run(authorize(trial)).unwrap();
    }
}
