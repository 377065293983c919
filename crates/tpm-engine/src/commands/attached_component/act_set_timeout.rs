//! `TPM2_ACT_SetTimeout` (Part 3, 33.2).

use crate::execute::Execute;
use crate::management::NEVER;
use crate::state::Tpm;
use tpm_wire::commands::{ActSetTimeout, ActSetTimeoutResponse};
use tpm_wire::rc::Rc;

impl Execute for ActSetTimeout {
    fn execute(self, tpm: &mut Tpm) -> Result<ActSetTimeoutResponse, Rc> {
        let handle = self.act_handle.0;
        let Some(act) = tpm.management.act(handle) else {
            return Err(Rc::VALUE.at(Self::act_handle));
        };
        // The greatest timeout stops the timer, which is for one that signals.
        if self.start_timeout == NEVER && !act.is_signaled() {
            return Err(Rc::VALUE.at(Self::start_timeout));
        }
        tpm.void_orderly()?;
        if let Some(act) = tpm.management.act_mut(handle) {
            act.set(self.start_timeout);
        }
        Ok(ActSetTimeoutResponse {})
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::hierarchy::build::change_auth;
    use crate::profile::Profile;
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::capability::TpmsCapabilityData;
    use tpm_wire::commands::{ActSetTimeout, GetCapability, Shutdown, Startup};
    use tpm_wire::constants::{TpmCap, TpmSu};
    use tpm_wire::handles::TpmHandle;
    use tpm_wire::rc::{Position, Rc};

    fn set(tpm: &mut TestTpm, start_timeout: u32) -> Result<(), Rc> {
        tpm.run(ActSetTimeout {
            act_handle: TpmHandle::ACT_0.into(),
            start_timeout,
        })
        .map(|_| ())
    }

    /// What is left, and the attributes.
    fn state(tpm: &mut TestTpm) -> (u32, u32) {
        let answer = tpm.run(GetCapability {
            capability: TpmCap::ACT,
            property: TpmHandle::ACT_0.0,
            property_count: 16,
        });
        match answer.unwrap().capability_data {
            TpmsCapabilityData::Act(list) => {
                assert_eq!(list.len(), 1);
                (list[0].timeout, list[0].attributes.0)
            }
            other => panic!("{other:?}"),
        }
    }

    fn wait_until(tpm: &TestTpm, milliseconds: u64) {
        tpm.script.now.store(milliseconds, Ordering::Relaxed);
    }

    #[test]
    fn it_counts_with_the_clock_and_signals_at_zero() {
        let mut tpm = testing::started();
        assert_eq!(state(&mut tpm), (0, 0));
        set(&mut tpm, 10).unwrap();
        assert_eq!(state(&mut tpm), (10, 0));
        wait_until(&tpm, 9_001);
        assert_eq!(state(&mut tpm), (1, 0));
        assert_eq!(tpm.signaled_timers(), 0);
        wait_until(&tpm, 10_000);
        assert_eq!(state(&mut tpm), (0, 1));
        assert_eq!(tpm.signaled_timers(), 1);
        // Setting it again ends the signal.
        set(&mut tpm, 5).unwrap();
        assert_eq!(state(&mut tpm), (5, 0));
    }

    #[test]
    fn zero_makes_a_running_timer_signal_and_no_other() {
        let mut tpm = testing::started();
        set(&mut tpm, 0).unwrap();
        assert_eq!(state(&mut tpm), (0, 0));
        set(&mut tpm, 10).unwrap();
        set(&mut tpm, 0).unwrap();
        assert_eq!(state(&mut tpm), (0, 1));
    }

    // TPM_RC_RETRY, which Part 3 lists, is for timers that are set in the background: these are set at once.
    #[test]
    fn only_a_signaling_timer_can_be_stopped() {
        let mut tpm = testing::started();
        set(&mut tpm, 10).unwrap();
        assert_eq!(
            set(&mut tpm, u32::MAX),
            Err(Rc::VALUE.at(ActSetTimeout::start_timeout))
        );
        set(&mut tpm, 0).unwrap();
        set(&mut tpm, u32::MAX).unwrap();
        wait_until(&tpm, 1 << 40);
        assert_eq!(state(&mut tpm), (u32::MAX, 0));
    }

    #[test]
    fn a_reset_disarms_it_and_tells_that_it_signaled() {
        let mut tpm = testing::started();
        set(&mut tpm, 1).unwrap();
        wait_until(&tpm, 1000);
        assert_eq!(state(&mut tpm), (0, 1));
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(state(&mut tpm), (0, 2));
        // Over more than one reset, until it is set again.
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(state(&mut tpm), (0, 2));
        set(&mut tpm, 10).unwrap();
        assert_eq!(state(&mut tpm), (10, 0));
        // A loss of power forgets it.
        set(&mut tpm, 0).unwrap();
        let mut tpm = tpm.reloaded();
        tpm.restart(None, TpmSu::Clear);
        assert_eq!(state(&mut tpm), (0, 0));
    }

    #[test]
    fn a_resume_goes_on_and_halves_what_was_not_set_since() {
        let mut tpm = testing::started();
        set(&mut tpm, 100).unwrap();
        let mut tpm = {
            tpm.run(Shutdown {
                shutdown_type: TpmSu::State,
            })
            .unwrap();
            tpm.reloaded()
        };
        tpm.run(Startup {
            startup_type: TpmSu::State,
        })
        .unwrap();
        assert_eq!(state(&mut tpm), (100, 0));
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert_eq!(state(&mut tpm), (50, 0));
        tpm.restart(Some(TpmSu::State), TpmSu::Clear);
        assert_eq!(state(&mut tpm), (0, 0));
    }

    #[test]
    fn a_signal_goes_on_over_a_resume() {
        let mut tpm = testing::started();
        set(&mut tpm, 10).unwrap();
        set(&mut tpm, 0).unwrap();
        tpm.restart(Some(TpmSu::State), TpmSu::State);
        assert_eq!(state(&mut tpm), (0, 3));
    }

    #[test]
    fn the_platform_authorizes_it() {
        let mut tpm = testing::started();
        change_auth(&mut tpm, TpmHandle::PLATFORM, b"", b"secret").unwrap();
        assert_eq!(set(&mut tpm, 1), Err(Rc::BAD_AUTH.at(Position::session(1))));
    }

    #[test]
    fn a_timer_that_is_not_there_is_refused_by_its_handle() {
        let mut profile = Profile::by_name("swtpm-0.7").unwrap();
        profile.disabled_commands.clear();
        let mut tpm = testing::with_profile(profile);
        tpm.run(Startup {
            startup_type: TpmSu::Clear,
        })
        .unwrap();
        assert_eq!(set(&mut tpm, 1), Err(Rc::VALUE.at(Position::handle(1))));
    }

    #[test]
    fn it_needs_storage_if_it_voids_an_orderly_shutdown() {
        let mut tpm = testing::started();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        set(&mut tpm, 1).unwrap();
        tpm.script.storage_down.store(false, Ordering::Relaxed);
        tpm.run(Shutdown {
            shutdown_type: TpmSu::State,
        })
        .unwrap();
        tpm.script.storage_down.store(true, Ordering::Relaxed);
        assert_eq!(set(&mut tpm, 1), Err(Rc::NV_UNAVAILABLE));
    }
}
