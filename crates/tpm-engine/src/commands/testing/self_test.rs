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
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::{GetTestResult, IncrementalSelfTest, SelfTest};
    use tpm_wire::constants::TpmAlgId;
    use tpm_wire::rc::Rc;

    #[test]
    fn nothing_is_left_to_test_after_it() {
        for full_test in [false, true] {
            let mut tpm = testing::started();
            tpm.run(SelfTest { full_test }).unwrap();
            let result = tpm.run(GetTestResult {}).unwrap();
            assert_eq!((result.test_result, result.out_data.len()), (0, 0));
            let left = tpm.run(IncrementalSelfTest {
                to_test: Default::default(),
            });
            assert!(left.unwrap().to_do_list.is_empty());
        }
    }

    #[test]
    fn power_on_makes_it_necessary_again() {
        let mut tpm = testing::started();
        tpm.run(SelfTest { full_test: false }).unwrap();
        tpm.restart(None, tpm_wire::constants::TpmSu::Clear);
        let left = tpm.run(IncrementalSelfTest {
            to_test: Default::default(),
        });
        assert!(!left.unwrap().to_do_list.is_empty());
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
