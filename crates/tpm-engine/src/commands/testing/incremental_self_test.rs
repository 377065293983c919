//! `TPM2_IncrementalSelfTest` (Part 3, 10.3).

use super::tested_as;
use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{IncrementalSelfTest, IncrementalSelfTestResponse};
use tpm_wire::constants::TpmAlgId;
use tpm_wire::rc::Rc;

impl Execute for IncrementalSelfTest {
    fn execute(self, tpm: &mut Tpm) -> Result<IncrementalSelfTestResponse, Rc> {
        let limits = &tpm.profile.limits;
        let implemented = |id: &TpmAlgId| {
            crate::commands::capability::is_listed(*id) && limits.has_algorithm(*id)
        };
        if !self.to_test.iter().all(implemented) {
            return Err(Rc::VALUE.at(Self::to_test));
        }
        tpm.run_self_tests(|id, _| self.to_test.iter().any(|wanted| tested_as(*wanted) == id))?;
        Ok(IncrementalSelfTestResponse {
            to_do_list: tpm.power.self_tests.untested(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::Profile;
    use crate::testing::{self, TestTpm};
    use alloc::vec::Vec;
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::{IncrementalSelfTest, Startup};
    use tpm_wire::constants::{TpmAlgId, TpmSu};
    use tpm_wire::rc::Rc;

    fn test(tpm: &mut TestTpm, algorithms: &[TpmAlgId]) -> Result<Vec<TpmAlgId>, Rc> {
        let to_test = algorithms.iter().copied().collect();
        tpm.run(IncrementalSelfTest { to_test })
            .map(|response| response.to_do_list.to_vec())
    }

    #[test]
    fn an_empty_list_tells_what_is_left() {
        let mut tpm = testing::started();
        let left = test(&mut tpm, &[]).unwrap();
        assert!(left.contains(&TpmAlgId::RSASSA) && left.contains(&TpmAlgId::ECDSA));
        assert!(left.is_sorted());
        assert!(!left.contains(&TpmAlgId::SHA256), "the startup tested it");
        assert_eq!(test(&mut tpm, &[]).unwrap(), left);
    }

    #[test]
    fn what_was_tested_is_no_longer_left() {
        let mut tpm = testing::started();
        let before = test(&mut tpm, &[]).unwrap();
        let after = test(&mut tpm, &[TpmAlgId::RSASSA, TpmAlgId::ECDSA]).unwrap();
        assert_eq!(after.len(), before.len() - 2);
        // What has no test of its own, or was tested, is accepted.
        for tested in [TpmAlgId::KEYEDHASH, TpmAlgId::AES, TpmAlgId::ECDAA] {
            assert_eq!(test(&mut tpm, &[tested]).unwrap(), after);
        }
        // RSA and ECC stand for what is tested of them first.
        let after = test(&mut tpm, &[TpmAlgId::RSA, TpmAlgId::ECC]).unwrap();
        assert_eq!(after.len(), before.len() - 4);
    }

    #[test]
    fn an_algorithm_that_is_not_implemented_is_value_at_parameter_1() {
        let mut tpm = testing::started();
        let unknown = [TpmAlgId::AES, TpmAlgId(0x99)];
        assert_eq!(
            test(&mut tpm, &unknown),
            Err(Rc::VALUE.at(IncrementalSelfTest::to_test))
        );
        let mut tpm = testing::with_profile(Profile::by_name("swtpm-0.7").unwrap());
        tpm.run(Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        assert_eq!(
            test(&mut tpm, &[TpmAlgId::SHA3_256]),
            Err(Rc::VALUE.at(IncrementalSelfTest::to_test))
        );
        assert!(!test(&mut tpm, &[]).unwrap().contains(&TpmAlgId::SHA3_256));
    }

    #[test]
    fn it_can_be_canceled_and_an_unknown_algorithm_is_seen_before() {
        let mut tpm = testing::started();
        tpm.script.canceled.store(true, Ordering::Relaxed);
        assert_eq!(test(&mut tpm, &[TpmAlgId::AES]), Err(Rc::CANCELED));
        let unknown = test(&mut tpm, &[TpmAlgId::AES, TpmAlgId(0x99)]);
        assert_eq!(unknown, Err(Rc::VALUE.at(IncrementalSelfTest::to_test)));
        assert_eq!(test(&mut tpm, &[]).map(|_| ()), Ok(()));
    }
}
