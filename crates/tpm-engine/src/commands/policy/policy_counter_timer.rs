//! `TPM2_PolicyCounterTimer` (Part 3, 23.10).

use super::{comparison, holds, operand_a};
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::codec::Marshal;
use tpm_wire::commands::{PolicyCounterTimer, PolicyCounterTimerResponse};
use tpm_wire::rc::Rc;

/// Bytes of time and clock at the front of `TPMS_TIME_INFO`: they stand still while they cannot be stored.
const TIME_AND_CLOCK: u16 = 16;

impl Execute for PolicyCounterTimer {
    fn execute(self, tpm: &mut Tpm) -> Result<PolicyCounterTimerResponse, Rc> {
        let info = tpm.clock.info().to_bytes();
        if usize::from(self.offset) > info.len() {
            return Err(Rc::VALUE.at(Self::offset));
        }
        let operand = operand_a(&info, self.offset, &self.operand_b).ok_or(Rc::RANGE)?;
        let session = tpm.policy_session(self.policy_session)?;
        if !session.is_trial() {
            if self.offset < TIME_AND_CLOCK {
                tpm.check_storage()?;
            }
            if !holds(self.operation, operand, &self.operand_b) {
                return Err(Rc::POLICY);
            }
        }
        let arguments = comparison(session, &self.operand_b, self.offset, self.operation, &[]);
        let session = tpm.sessions.policy(self.policy_session)?;
        session.extend_policy::<Self>(&[&arguments]);
        Ok(PolicyCounterTimerResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::policy::build::{digest, policy, started, trial};
    use core::sync::atomic::Ordering;
    use tpm_wire::buffers::Tpm2bOperand;
    use tpm_wire::commands::PolicyCounterTimer;
    use tpm_wire::constants::TpmEo;
    use tpm_wire::handles::TpmiShPolicy;
    use tpm_wire::rc::Rc;

    fn below(policy_session: TpmiShPolicy, offset: u16, operand: &[u8]) -> PolicyCounterTimer {
        PolicyCounterTimer {
            policy_session,
            operand_b: Tpm2bOperand::new(operand).unwrap(),
            offset,
            operation: TpmEo::UnsignedLt,
        }
    }

    #[test]
    fn holds_while_the_clock_is_below_the_operand() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        let limit = 5000u64.to_be_bytes();
        tpm.run(below(policy_session, 8, &limit)).unwrap();
        assert_eq!(
            digest(&mut tpm, policy_session),
            "75844ec017edbfed324b021827f97aad5f3eca739cbec974e0da31cac0feb3aa"
        );
        tpm.script.now.fetch_add(6000, Ordering::Relaxed);
        assert_eq!(tpm.run(below(policy_session, 8, &limit)), Err(Rc::POLICY));
        let trial = trial(&mut tpm);
        tpm.run(below(trial, 8, &limit)).unwrap();
        assert_eq!(
            digest(&mut tpm, trial),
            "75844ec017edbfed324b021827f97aad5f3eca739cbec974e0da31cac0feb3aa"
        );
    }

    #[test]
    fn offset_past_the_end_is_value_and_operand_past_the_end_range_for_trials_too() {
        let mut tpm = started();
        for policy_session in [policy(&mut tpm), trial(&mut tpm)] {
            assert_eq!(
                tpm.run(below(policy_session, 26, &[])),
                Err(Rc::VALUE.at(PolicyCounterTimer::offset))
            );
            assert_eq!(tpm.run(below(policy_session, 25, &[0])), Err(Rc::RANGE));
        }
    }

    #[test]
    fn a_clock_that_cannot_be_stored_is_nv_unavailable_but_counts_can_be_compared() {
        let mut tpm = started();
        let policy_session = policy(&mut tpm);
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(
            tpm.run(below(policy_session, 15, &[0xFF])),
            Err(Rc::NV_UNAVAILABLE)
        );
        tpm.run(below(policy_session, 16, &[0xFF; 4])).unwrap();
    }
}
