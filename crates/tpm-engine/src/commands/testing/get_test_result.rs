//! `TPM2_GetTestResult` (Part 3, 10.4).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::Tpm2bMaxBuffer;
use tpm_wire::commands::{GetTestResult, GetTestResultResponse};
use tpm_wire::rc::Rc;

impl Execute for GetTestResult {
    fn execute(self, tpm: &mut Tpm) -> Result<GetTestResultResponse, Rc> {
        // In failure mode the data tells the reason, in words.
        // Otherwise it is success, also while IncrementalSelfTest still lists algorithms: no function waits for its test
        // here, and clients take any other code for a TPM that does not work. The TCG's reference answers the same.
        let (reason, result) = match tpm.power.failure {
            Some(reason) => (reason, Rc::FAILURE),
            None => ("", Rc::SUCCESS),
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
    fn it_is_success_while_algorithms_are_left_to_test() {
        let mut tpm = testing::started();
        let nothing = IncrementalSelfTest {
            to_test: Default::default(),
        };
        assert!(!tpm.run(nothing).unwrap().to_do_list.is_empty());
        let result = tpm.run(GetTestResult {}).unwrap();
        assert_eq!((result.test_result, result.out_data.len()), (0, 0));
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
        assert_eq!(
            tpm.run(GetTestResult {}).unwrap().test_result,
            Rc::SUCCESS.number()
        );
    }
}
