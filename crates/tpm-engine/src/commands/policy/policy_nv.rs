//! `TPM2_PolicyNV` (Part 3, 23.9).

use super::{comparison, holds, operand_a};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{PolicyNv, PolicyNvResponse};
use tpm_wire::rc::Rc;

impl Execute for PolicyNv {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyNvResponse, Rc> {
        let session = tpm.policy_session(self.policy_session)?;
        // A trial session does not look at the Index.
        if !session.is_trial() {
            let index = tpm.nv.check_read(self.auth_handle.0, self.nv_index.0)?;
            if usize::from(self.offset) > index.data_size() {
                return Err(Rc::VALUE.at(Self::offset));
            }
            let operand = operand_a(&index.data, self.offset, &self.operand_b)
                .ok_or(Rc::SIZE.at(Self::operand_b))?;
            if !holds(self.operation, operand, &self.operand_b) {
                return Err(Rc::POLICY);
            }
        }
        let arguments = comparison(session, &self.operand_b, self.offset, self.operation, &[]);
        let name = tpm.entity_name(self.nv_index.0);
        let session = tpm.sessions.policy(self.policy_session)?;
        session.extend_policy::<Self>(&[&arguments, &name]);
        Ok(PolicyNvResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{INDEX, digest, nv_index, policy, started, trial};
    use tpm_wire::attributes::TpmaNv;
    use tpm_wire::buffers::Tpm2bOperand;
    use tpm_wire::commands::PolicyNv;
    use tpm_wire::constants::TpmEo;
    use tpm_wire::handles::{TpmHandle, TpmiRhNvAuth, TpmiRhNvIndex, TpmiShPolicy};
    use tpm_wire::rc::Rc;

    fn equals(policy_session: TpmiShPolicy, offset: u16, operand: &[u8]) -> PolicyNv {
        PolicyNv {
            auth_handle: TpmiRhNvAuth(TpmHandle::OWNER),
            nv_index: TpmiRhNvIndex(INDEX),
            policy_session,
            operand_b: Tpm2bOperand::new(operand).unwrap(),
            offset,
            operation: TpmEo::Eq,
        }
    }

    #[test]
    fn digest_covers_the_arguments_and_the_name_of_the_index() {
        let mut tpm = started();
        nv_index(&mut tpm, TpmaNv::NONE, &[1, 2, 3, 4]);
        for policy_session in [policy(&mut tpm), trial(&mut tpm)] {
            tpm.run(equals(policy_session, 1, &[2, 3])).unwrap();
            assert_eq!(
                digest(&mut tpm, policy_session),
                "1a68007bc00650b00487e4b9dd2a10136f116e2d6a5e905c453d23b89e90f205"
            );
        }
    }

    #[test]
    fn another_value_is_policy() {
        let mut tpm = started();
        nv_index(&mut tpm, TpmaNv::NONE, &[1, 2, 3, 4]);
        let policy_session = policy(&mut tpm);
        assert_eq!(tpm.run(equals(policy_session, 0, &[2, 3])), Err(Rc::POLICY));
    }

    #[test]
    fn offset_past_the_end_is_value_and_too_long_an_operand_size() {
        let mut tpm = started();
        nv_index(&mut tpm, TpmaNv::NONE, &[1, 2, 3, 4]);
        let policy_session = policy(&mut tpm);
        assert_eq!(
            tpm.run(equals(policy_session, 5, &[])),
            Err(Rc::VALUE.at(PolicyNv::offset))
        );
        assert_eq!(
            tpm.run(equals(policy_session, 3, &[4, 5])),
            Err(Rc::SIZE.at(PolicyNv::operand_b))
        );
        tpm.run(equals(policy_session, 4, &[])).unwrap();
    }

    #[test]
    fn an_index_that_cannot_be_read_is_refused_but_not_in_a_trial() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        nv_index(&mut tpm, TpmaNv::READLOCKED, &[1]);
        assert_eq!(tpm.run(equals(policy_session, 0, &[1])), Err(Rc::NV_LOCKED));
        tpm.nv
            .get_mut(INDEX)
            .unwrap()
            .set_attributes(TpmaNv::OWNERREAD);
        assert_eq!(
            tpm.run(equals(policy_session, 0, &[1])),
            Err(Rc::NV_UNINITIALIZED)
        );
        tpm.nv
            .get_mut(INDEX)
            .unwrap()
            .set_attributes(TpmaNv::WRITTEN);
        assert_eq!(
            tpm.run(equals(policy_session, 0, &[1])),
            Err(Rc::NV_AUTHORIZATION)
        );
        let trial = trial(&mut tpm);
        tpm.run(equals(trial, 0, &[9])).unwrap();
    }

    // TPM_RC_AUTH_TYPE, which Part 3 lists, is not reached: an Index that does not let itself be read by its value is
    // AUTH_UNAVAILABLE when the session is checked.
    #[test]
    fn an_index_authorizes_itself_only_if_its_attributes_say_so() {
        let mut tpm = started();
        nv_index(&mut tpm, TpmaNv::NONE, &[1]);
        let policy_session = policy(&mut tpm);
        let mut by_itself = equals(policy_session, 0, &[1]);
        by_itself.auth_handle = TpmiRhNvAuth(INDEX);
        assert_eq!(tpm.run(by_itself.clone()), Err(Rc::AUTH_UNAVAILABLE));
        nv_index(&mut tpm, TpmaNv::AUTHREAD, &[1]);
        tpm.run(by_itself.clone()).unwrap();
        by_itself.nv_index = TpmiRhNvIndex(TpmHandle(INDEX.0 + 1));
        assert_eq!(tpm.run(by_itself), Err(Rc::HANDLE.at(PolicyNv::nv_index)));
    }
}
