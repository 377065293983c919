//! `TPM2_SelfTest` (Part 3, 10.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{SelfTest, SelfTestResponse};
use tpm_wire::rc::Rc;

impl Execute for SelfTest {
    fn execute(self, tpm: &mut Tpm) -> Result<SelfTestResponse, Rc> {
        // A full test runs every test, the other one what was not tested yet.
        tpm.run_self_tests(|_, untested| self.full_test || untested)?;
        Ok(SelfTestResponse {})
    }
}

#[cfg(test)]
mod tests {
    // `TPM_RC_TESTING` is never answered: a test is over before the command is. A wrong answer, `TPM_RC_FAILURE`, is tested
    // in `testing/tests.rs`.

    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::{IncrementalSelfTest, SelfTest};
    use tpm_wire::constants::TpmAlgId;
    use tpm_wire::rc::Rc;

    fn left(tpm: &mut TestTpm) -> usize {
        let nothing = IncrementalSelfTest {
            to_test: Default::default(),
        };
        tpm.run(nothing).unwrap().to_do_list.len()
    }

    #[test]
    fn nothing_is_left_to_test_after_it() {
        for full_test in [false, true] {
            let mut tpm = testing::started();
            assert_ne!(left(&mut tpm), 0);
            tpm.run(SelfTest { full_test }).unwrap();
            assert_eq!(left(&mut tpm), 0);
        }
    }

    #[test]
    fn power_on_makes_it_necessary_again() {
        let mut tpm = testing::started();
        tpm.run(SelfTest { full_test: false }).unwrap();
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        assert_ne!(left(&mut tpm), 0);
    }

    #[test]
    fn it_can_be_canceled() {
        let mut tpm = testing::started();
        tpm.script.canceled.store(true, Ordering::Relaxed);
        assert_eq!(tpm.run(SelfTest { full_test: true }), Err(Rc::CANCELED));
        let one = IncrementalSelfTest {
            to_test: [TpmAlgId::AES].into_iter().collect(),
        };
        assert_eq!(tpm.run(one), Err(Rc::CANCELED));
    }
}
