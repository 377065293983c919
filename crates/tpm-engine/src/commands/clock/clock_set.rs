//! `TPM2_ClockSet` (Part 3, 29.2).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::commands::{ClockSet, ClockSetResponse};
use tpm_wire::rc::Rc;

/// The latest moment that the clock can be set to: it could not run over after that.
const LATEST: u64 = 0xFFFF_0000_0000_0000;

impl Execute for ClockSet {
    fn execute(self, tpm: &mut Tpm) -> Result<ClockSetResponse, Rc> {
        if self.new_time > LATEST || self.new_time < tpm.clock.clock {
            return Err(Rc::VALUE.at(Self::new_time));
        }
        tpm.check_storage()?;
        tpm.persist |= tpm.clock.set(self.new_time);
        Ok(ClockSetResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::clock::build::read;
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::commands::ClockSet;
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::Rc;

    fn set(tpm: &mut TestTpm, new_time: u64) -> Result<(), Rc> {
        let auth = TpmHandle::OWNER.into();
        tpm.run(ClockSet { auth, new_time }).map(|_| ())
    }

    #[test]
    fn the_clock_goes_on_from_where_it_was_set_and_time_is_not_touched() {
        let mut tpm = testing::started();
        set(&mut tpm, 1_000_000).unwrap();
        tpm.script.now.store(10, Ordering::Relaxed);
        let now = read(&mut tpm);
        assert_eq!((now.time, now.clock_info.clock), (10, 1_000_010));
    }

    #[test]
    fn the_clock_cannot_be_set_back_or_too_far() {
        let mut tpm = testing::started();
        set(&mut tpm, 1000).unwrap();
        let value = Err(Rc::VALUE.at(ClockSet::new_time));
        assert_eq!(set(&mut tpm, 999), value);
        assert_eq!(set(&mut tpm, 1000), Ok(()));
        assert_eq!(set(&mut tpm, 0xFFFF_0000_0000_0001), value);
        assert_eq!(set(&mut tpm, 0xFFFF_0000_0000_0000), Ok(()));
        assert!(read(&mut tpm).clock_info.safe);
    }

    #[test]
    fn it_is_stored_when_the_interval_is_passed() {
        let mut tpm = testing::started();
        tpm.persist = false;
        set(&mut tpm, 1000).unwrap();
        assert!(!tpm.must_persist());
        set(&mut tpm, 1 << 22).unwrap();
        assert!(tpm.must_persist());
    }

    // TPM_RC_NV_RATE does not occur in any command: storage is there or not, its rate is not limited.
    #[test]
    fn it_needs_storage() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(set(&mut tpm, 1000), Err(Rc::NV_UNAVAILABLE));
    }
}
