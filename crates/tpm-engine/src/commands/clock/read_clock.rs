//! `TPM2_ReadClock` (Part 3, 29.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ReadClock, ReadClockResponse};
use tpm_wire::rc::Rc;

impl Execute for ReadClock {
    fn execute(self, tpm: &mut Tpm) -> Result<ReadClockResponse, Rc> {
        let mut current_time = tpm.clock.info();
        // A clock that cannot be stored may be reported again after a loss of power.
        current_time.clock_info.safe &= tpm.check_storage().is_ok();
        Ok(ReadClockResponse { current_time })
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::clock::build::read;
    use crate::testing;
    use core::sync::atomic::Ordering;
    use tpm_wire::constants::TpmSu;

    // Part 3 lists no refusal.
    #[test]
    fn time_runs_since_power_on_and_the_clock_always() {
        let mut tpm = testing::started();
        tpm.script.now.store(1500, Ordering::Relaxed);
        let first = read(&mut tpm);
        assert_eq!((first.time, first.clock_info.clock), (1500, 1500));
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        tpm.script.now.store(1600, Ordering::Relaxed);
        let second = read(&mut tpm);
        assert_eq!((second.time, second.clock_info.clock), (100, 1600));
    }

    #[test]
    fn a_new_tpm_was_reset_once_and_its_clock_is_safe() {
        let info = read(&mut testing::started()).clock_info;
        assert_eq!((info.reset_count, info.restart_count), (1, 0));
        assert!(info.safe);
    }

    #[test]
    fn an_unorderly_stop_makes_the_clock_unsafe_until_it_is_stored_again() {
        let mut tpm = testing::started();
        tpm.restart(None, TpmSu::Clear);
        assert!(!read(&mut tpm).clock_info.safe);
        // Even over an orderly shutdown.
        tpm.restart(Some(TpmSu::Clear), TpmSu::Clear);
        assert!(!read(&mut tpm).clock_info.safe);
        tpm.persist = false;
        tpm.script.now.store(1 << 22, Ordering::Relaxed);
        assert!(read(&mut tpm).clock_info.safe);
        assert!(tpm.must_persist());
    }

    #[test]
    fn without_storage_time_stands_still_and_the_clock_is_not_safe() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        tpm.script.now.store(1000, Ordering::Relaxed);
        let standing = read(&mut tpm);
        assert_eq!((standing.time, standing.clock_info.safe), (0, false));
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        let running = read(&mut tpm);
        assert_eq!((running.time, running.clock_info.safe), (1000, true));
    }
}
