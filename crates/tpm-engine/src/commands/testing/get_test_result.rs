//! `TPM2_GetTestResult` (Part 3, 10.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bMaxBuffer;
use tpm_wire::commands::{GetTestResult, GetTestResultResponse};
use tpm_wire::rc::Rc;

impl Execute for GetTestResult {
    fn execute(self, tpm: &mut Tpm) -> Result<GetTestResultResponse, Rc> {
        // What is left is tested now: it takes milliseconds, the reference and libtpms never answer
        // `TPM_RC_NEEDS_TEST`, and clients built on tpm2-tss 3.2 misread it. A failure stands in the result.
        if tpm.power.failure.is_none() {
            let _ = tpm.run_self_tests(|_, untested| untested);
        }
        // In failure mode the data tells the reason, in words.
        let (reason, result) = match tpm.power.failure {
            Some(reason) => (reason, Rc::FAILURE),
            None if tpm.power.self_tests.are_done() => ("", Rc::SUCCESS),
            None => ("", Rc::NEEDS_TEST),
        };
        Ok(GetTestResultResponse {
            out_data: Tpm2bMaxBuffer::new(reason.as_bytes().to_vec()).unwrap_or_default(),
            test_result: result.number(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::{
        GetCapability, GetRandom, GetTestResult, IncrementalSelfTest, ReadClock, Startup,
    };
    use tpm_wire::constants::{TpmCap, TpmPt, TpmSu};
    use tpm_wire::rc::Rc;

    #[test]
    fn failure_mode_is_told_with_its_reason_and_nothing_else_is_answered() {
        let mut tpm = testing::started();
        assert_eq!(tpm.fail("the sky fell"), Rc::FAILURE);
        let result = tpm.run(GetTestResult {}).unwrap();
        assert_eq!(result.test_result, Rc::FAILURE.number());
        assert_eq!(&*result.out_data, b"the sky fell");
        assert_eq!(tpm.run(ReadClock {}), Err(Rc::FAILURE));
        assert_eq!(tpm.run(GetRandom { bytes_requested: 1 }), Err(Rc::FAILURE));
    }

    #[test]
    fn failure_mode_tells_the_manufacturer() {
        let mut tpm = testing::started();
        let _ = tpm.fail("a test");
        let property = |property: TpmPt, property_count| GetCapability {
            capability: TpmCap::TPM_PROPERTIES,
            property: property.0,
            property_count,
        };
        let answer = tpm.run(property(TpmPt::FAMILY_INDICATOR, 10)).unwrap();
        let tpm_wire::capability::TpmsCapabilityData::TpmProperties(list) = answer.capability_data
        else {
            panic!("properties were asked for")
        };
        assert!(answer.more_data);
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].property, TpmPt::MANUFACTURER);
        assert_eq!(list[0].value, u32::from_be_bytes(*b"VTPM"));
        let answer = tpm.run(property(TpmPt::FIRMWARE_VERSION_2, 1)).unwrap();
        assert!(!answer.more_data);
        let other = GetCapability {
            capability: TpmCap::COMMANDS,
            property: 0,
            property_count: 1,
        };
        assert_eq!(tpm.run(other), Err(Rc::FAILURE));
    }

    #[test]
    fn power_on_ends_failure_mode() {
        let mut tpm = testing::started();
        let _ = tpm.fail("a test");
        tpm.init();
        tpm.run(Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        assert_eq!(tpm.run(GetTestResult {}).unwrap().test_result, 0);
    }

    #[test]
    fn what_is_left_is_tested_first() {
        let left = IncrementalSelfTest {
            to_test: Default::default(),
        };
        let mut tpm = testing::started();
        assert!(!tpm.run(left.clone()).unwrap().to_do_list.is_empty());
        let result = tpm.run(GetTestResult {}).unwrap();
        assert_eq!((result.test_result, result.out_data.len()), (0, 0));
        assert!(tpm.run(left).unwrap().to_do_list.is_empty());
    }

    #[test]
    fn tests_that_were_canceled_are_needed_still() {
        let mut tpm = testing::started();
        tpm.script.canceled.store(true, Ordering::Relaxed);
        let result = tpm.run(GetTestResult {}).unwrap();
        assert_eq!(result.test_result, Rc::NEEDS_TEST.number());
    }
}
