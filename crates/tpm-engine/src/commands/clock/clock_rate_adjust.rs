//! `TPM2_ClockRateAdjust` (Part 3, 29.3).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ClockRateAdjust, ClockRateAdjustResponse};
use tpm_wire::rc::Rc;

impl Execute for ClockRateAdjust {
    fn execute(self, tpm: &mut Tpm) -> Result<ClockRateAdjustResponse, Rc> {
        tpm.clock.adjust(self.rate_adjust);
        Ok(ClockRateAdjustResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::clock::build::read;
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::ClockRateAdjust;
    use tpm_wire::constants::{TpmClockAdjust, TpmSu};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn adjust(tpm: &mut TestTpm, rate_adjust: TpmClockAdjust) {
        let auth = TpmHandle::OWNER.into();
        tpm.run(ClockRateAdjust { auth, rate_adjust }).unwrap();
    }

    /// The clock after a million milliseconds of the platform.
    fn million(steps: &[TpmClockAdjust]) -> u64 {
        let mut tpm = testing::started();
        for step in steps {
            adjust(&mut tpm, *step);
        }
        tpm.script.now.store(1_000_000, Ordering::Relaxed);
        read(&mut tpm).clock_info.clock
    }

    #[test]
    fn each_step_changes_the_rate() {
        use TpmClockAdjust::{
            CoarseFaster, CoarseSlower, FineFaster, FineSlower, MediumFaster, MediumSlower,
            NoChange,
        };
        assert_eq!(million(&[NoChange]), 1_000_000);
        assert_eq!(million(&[CoarseFaster]), 1_010_000);
        assert_eq!(million(&[CoarseSlower]), 990_000);
        assert_eq!(million(&[MediumFaster]), 1_001_000);
        assert_eq!(million(&[MediumSlower]), 999_000);
        assert_eq!(million(&[FineFaster]), 1_000_033);
        assert_eq!(million(&[FineSlower]), 999_967);
        assert_eq!(million(&[CoarseFaster, CoarseSlower]), 1_000_000);
        assert_eq!(million(&[CoarseSlower; 100]), 850_000);
    }

    #[test]
    fn small_pieces_of_time_are_not_lost() {
        let mut tpm = testing::started();
        adjust(&mut tpm, TpmClockAdjust::CoarseSlower);
        for now in 1..=1000 {
            tpm.script.now.store(now, Ordering::Relaxed);
            read(&mut tpm);
        }
        assert_eq!(read(&mut tpm).time, 990);
    }

    #[test]
    fn a_startup_clear_brings_the_rate_back() {
        let mut tpm = testing::started();
        adjust(&mut tpm, TpmClockAdjust::CoarseFaster);
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        tpm.script.now.store(1_000_000, Ordering::Relaxed);
        assert_eq!(read(&mut tpm).time, 1_000_000);
    }

    #[test]
    fn a_step_that_there_is_not_is_value_at_parameter_1() {
        let mut tpm = testing::started();
        let adjust = ClockRateAdjust {
            auth: TpmHandle::OWNER.into(),
            rate_adjust: TpmClockAdjust::NoChange,
        };
        let mut command = testing::encode(&adjust, &[testing::Auth::password(b"")]);
        *command.last_mut().unwrap() = 4;
        let refused = testing::decode::<ClockRateAdjust>(tpm.execute(&command)).err();
        assert_eq!(refused, Some(Rc::VALUE.at(ClockRateAdjust::rate_adjust)));
    }
}
