//! `TPM2_PCR_Reset` (Part 3, 22.8).

use crate::execute::Execute;
use crate::pcr::attributes;
use crate::state::Tpm;
use tpm_wire::commands::{PcrReset, PcrResetResponse};
use tpm_wire::rc::Rc;

impl Execute for PcrReset {
    fn execute(self, tpm: &mut Tpm) -> Result<PcrResetResponse, Rc> {
        let pcr = self.pcr_handle.0.index();
        if !attributes(pcr).may_reset(tpm.platform.locality()) {
            return Err(Rc::LOCALITY);
        }
        tpm.changes_pcr(pcr)?;
        tpm.pcrs.fill(pcr, 0);
        tpm.pcrs.note_change(pcr);
        Ok(PcrResetResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::pcr::build::{extend, handle};
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::algorithm::TpmiAlgHash;
    use tpm_wire::commands::PcrReset;
    use tpm_wire::rc::Rc;

    fn reset(pcr: u32) -> PcrReset {
        PcrReset {
            pcr_handle: handle(pcr),
        }
    }

    #[test]
    fn a_resettable_pcr_is_zero_in_all_banks() {
        let mut tpm = testing::started();
        tpm.run(extend(16)).unwrap();
        let counter = tpm.pcrs.update_counter;
        tpm.run(reset(16)).unwrap();
        let value = tpm.pcrs.value(TpmiAlgHash::Sha256, 16);
        assert_eq!(value, Some(&[0; 32][..]));
        assert_eq!(tpm.pcrs.update_counter, counter);
        tpm.script.locality.store(2, Ordering::Relaxed);
        tpm.run(reset(20)).unwrap();
        for hash in [TpmiAlgHash::Sha1, TpmiAlgHash::Sha512] {
            let value = tpm.pcrs.value(hash, 20).unwrap();
            assert!(value.iter().all(|byte| *byte == 0));
        }
        assert_eq!(tpm.pcrs.update_counter, counter + 1);
    }

    #[test]
    fn localities_are_those_of_the_pcr_and_never_4() {
        let mut tpm = testing::started();
        for pcr in [0, 15, 17, 20] {
            assert_eq!(tpm.run(reset(pcr)), Err(Rc::LOCALITY));
        }
        tpm.script.locality.store(4, Ordering::Relaxed);
        for pcr in [16, 17, 20, 23] {
            assert_eq!(tpm.run(reset(pcr)), Err(Rc::LOCALITY));
        }
    }

    #[test]
    fn a_pcr_that_does_not_exist_is_value_at_handle_1() {
        let refused = testing::started().run(reset(24));
        assert_eq!(refused, Err(Rc::VALUE.at(PcrReset::pcr_handle)));
    }
}
