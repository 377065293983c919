//! Self-test (Part 3, 10): known answers for each algorithm that can be tested alone.

mod get_test_result;
mod incremental_self_test;
mod known_answers;
mod self_test;

use crate::state::Tpm;
use known_answers::TESTS;
use tpm_wire::capability::TpmlAlg;
use tpm_wire::codec::Limits;
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;

/// The algorithms that were not tested since `_TPM_Init`: bit n stands for test n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Untested(u64);

impl Untested {
    /// Whether everything was tested.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Every algorithm that is implemented and has a test.
    pub(crate) fn all(limits: &Limits) -> Self {
        let implemented = TESTS
            .iter()
            .zip(0u32..)
            .filter(|((algorithm, _), _)| limits.has_algorithm(*algorithm));
        Self(implemented.fold(0, |bits, (_, number)| bits | 1 << number))
    }

    /// The algorithms, in the order of their identifiers.
    fn algorithms(self) -> TpmlAlg {
        let mut list: TpmlAlg = TESTS
            .iter()
            .zip(0u32..)
            .filter(|(_, number)| self.0 & 1 << number != 0)
            .map(|((algorithm, _), _)| *algorithm)
            .collect();
        list.sort_unstable();
        list
    }
}

impl Tpm {
    /// Runs the tests of the algorithms that `wanted` holds for.
    ///
    /// # Errors
    /// `TPM_RC_CANCELED`; `TPM_RC_FAILURE`, in failure mode, if an algorithm gives a wrong answer.
    fn run_self_tests(&mut self, wanted: impl Fn(TpmAlgId, bool) -> bool) -> Result<(), Rc> {
        for ((algorithm, test), number) in TESTS.iter().zip(0u32..) {
            let untested = self.power.untested.0 & 1 << number != 0;
            if !self.profile.limits.has_algorithm(*algorithm) || !wanted(*algorithm, untested) {
                continue;
            }
            if self.platform.canceled() {
                return Err(Rc::CANCELED);
            }
            if !test(&mut self.random) {
                return Err(self.fail("a self-test gave a wrong answer"));
            }
            self.power.untested.0 &= !(1 << number);
        }
        Ok(())
    }
}
