//! Protection against dictionary attacks (Part 1, 19.8).

use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed};
use tpm_wire::rc::Rc;

/// Counters and times of the protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DictionaryAttack {
    /// Failures that count.
    pub(crate) failed_tries: u32,
    /// Failures that lock.
    pub(crate) max_tries: u32,
    /// Seconds after which one failure is forgiven; zero means never locked.
    pub(crate) recovery_time: u32,
    /// Seconds after which lockout authorization can be tried again; zero means at the next reset.
    pub(crate) lockout_recovery: u32,
    /// Lockout authorization can be used.
    pub(crate) lockout_auth_enabled: bool,
    /// A protected authorization was used since the last orderly shutdown: an unorderly stop counts as a failure.
    pub(crate) used: bool,
    /// `time` from which the next failure is forgiven; below zero what an earlier run brought along.
    pub(crate) self_heal_timer: i64,
    /// `time` from which lockout authorization recovers; below zero what an earlier run brought along.
    pub(crate) lockout_timer: i64,
    /// Milliseconds that an orderly shutdown takes to the next run: towards forgiveness, and towards recovery.
    carried: [u64; 2],
}

impl Default for DictionaryAttack {
    fn default() -> Self {
        Self {
            failed_tries: 0,
            max_tries: 3,
            recovery_time: 1000,
            lockout_recovery: 1000,
            lockout_auth_enabled: true,
            used: false,
            self_heal_timer: 0,
            lockout_timer: 0,
            carried: [0; 2],
        }
    }
}

impl DictionaryAttack {
    /// Whether protected entities are locked.
    pub(crate) const fn in_lockout(&self) -> bool {
        self.failed_tries >= self.max_tries
    }

    /// Checks that a protected authorization may be tried.
    ///
    /// # Errors
    /// `TPM_RC_LOCKOUT`.
    pub(crate) const fn check(&self, lockout_authority: bool) -> Result<(), Rc> {
        let locked = if lockout_authority {
            !self.lockout_auth_enabled
        } else {
            self.in_lockout()
        };
        if locked { Err(Rc::LOCKOUT) } else { Ok(()) }
    }

    /// Counts a failure at `time`. True if what must persist has changed.
    pub(crate) fn register_failure(&mut self, lockout_authority: bool, time: u64) -> bool {
        if lockout_authority {
            self.lockout_auth_enabled = false;
            self.lockout_timer = signed(time);
            return true;
        }
        if self.recovery_time == 0 {
            return false;
        }
        // The time to forgive runs from the last failure.
        self.self_heal_timer = signed(time);
        self.failed_tries = self.failed_tries.saturating_add(1);
        true
    }

    /// Forgives what `time` has healed. True if what must persist has changed.
    pub(crate) fn heal(&mut self, time: u64) -> bool {
        let mut changed = false;
        if self.failed_tries > 0 && self.recovery_time == 0 {
            // The protection was switched off.
            self.failed_tries = 0;
            changed = true;
        } else if self.failed_tries > 0 {
            let step = u64::from(self.recovery_time) * 1000;
            let forgiven = since(self.self_heal_timer, time) / step;
            if forgiven > 0 {
                self.failed_tries = self
                    .failed_tries
                    .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
                self.self_heal_timer = self.self_heal_timer.saturating_add(signed(forgiven * step));
                changed = true;
            }
        }
        if !self.lockout_auth_enabled
            && self.lockout_recovery != 0
            && since(self.lockout_timer, time) >= u64::from(self.lockout_recovery) * 1000
        {
            self.lockout_auth_enabled = true;
            changed = true;
        }
        changed
    }

    /// The settings of a new TPM, as `TPM2_Clear` brings them back. That a protected value was used is remembered.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            used: self.used,
            ..Self::default()
        };
    }

    /// `TPM2_Shutdown` at `time`: what has run of the timers goes on in the next run.
    pub(crate) fn shutdown(&mut self, time: u64) {
        self.used = false;
        self.carried = [
            (self.failed_tries > 0, self.self_heal_timer),
            (!self.lockout_auth_enabled, self.lockout_timer),
        ]
        .map(|(runs, timer)| if runs { since(timer, time) } else { 0 });
    }

    /// `TPM2_Startup`: `time` has started anew. After an unorderly stop nobody knows how long the timers ran, and it counts
    /// as a failure if the protection was in use.
    pub(crate) fn startup(&mut self, orderly: bool) {
        let carried = core::mem::take(&mut self.carried);
        let [heal, recover] = carried.map(|time| if orderly { -signed(time) } else { 0 });
        self.self_heal_timer = heal;
        self.lockout_timer = recover;
        if self.lockout_recovery == 0 {
            self.lockout_auth_enabled = true;
        }
        if !orderly && self.used && self.recovery_time != 0 && !self.in_lockout() {
            self.failed_tries = self.failed_tries.saturating_add(1);
        }
        self.used = false;
    }
}

/// A moment as a number that can be before the start.
fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Milliseconds from a timer's start to `time`.
fn since(timer: i64, time: u64) -> u64 {
    u64::try_from(signed(time).saturating_sub(timer)).unwrap_or(0)
}

impl Section for DictionaryAttack {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Permanent => {
                self.failed_tries.marshal(out);
                self.max_tries.marshal(out);
                self.recovery_time.marshal(out);
                self.lockout_recovery.marshal(out);
                self.lockout_auth_enabled.marshal(out);
                self.used.marshal(out);
                // Added after the first states were stored: it stands there if there is something to carry.
                if self.carried != [0; 2] {
                    for time in self.carried {
                        time.marshal(out);
                    }
                }
            }
            Group::Volatile => {
                self.self_heal_timer.cast_unsigned().marshal(out);
                self.lockout_timer.cast_unsigned().marshal(out);
            }
            Group::Reset | Group::Clear => {}
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        let mut rest = input;
        match group {
            Group::Permanent => {
                (rest, self.failed_tries) = u32::parse(rest)?;
                (rest, self.max_tries) = u32::parse(rest)?;
                (rest, self.recovery_time) = u32::parse(rest)?;
                (rest, self.lockout_recovery) = u32::parse(rest)?;
                (rest, self.lockout_auth_enabled) = bool::parse(rest)?;
                (rest, self.used) = bool::parse(rest)?;
                self.carried = [0; 2];
                if !rest.is_empty() {
                    for time in &mut self.carried {
                        (rest, *time) = u64::parse(rest)?;
                    }
                }
            }
            Group::Volatile => {
                let (heal, recover);
                (rest, heal) = u64::parse(rest)?;
                (rest, recover) = u64::parse(rest)?;
                self.self_heal_timer = heal.cast_signed();
                self.lockout_timer = recover.cast_signed();
            }
            Group::Reset | Group::Clear => {}
        }
        Ok((rest, ()))
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::dictionary_attack::build::{failures, lock, protected, try_lockout};
    use crate::testing::{self, TestTpm};
    use core::sync::atomic::Ordering;
    use tpm_wire::constants::TpmSu;
    use tpm_wire::rc::Rc;

    /// Power is off for an hour between a shutdown, or none, and the next startup from what was stored.
    fn off_for_an_hour(tpm: TestTpm, shutdown: Option<TpmSu>, startup: TpmSu) -> TestTpm {
        let mut tpm = tpm;
        if let Some(shutdown_type) = shutdown {
            tpm.run(tpm_wire::commands::Shutdown { shutdown_type })
                .unwrap();
        }
        tpm.script.now.fetch_add(3_600_000, Ordering::Relaxed);
        let mut tpm = tpm.reloaded();
        tpm.restart(None, startup);
        tpm
    }

    fn wait(tpm: &TestTpm, milliseconds: u64) {
        tpm.script.now.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Three failures and a closed lockout, 600 of 1000 seconds ago.
    fn locked() -> TestTpm {
        let mut tpm = testing::started();
        let object = protected(&mut tpm);
        lock(&mut tpm, object);
        try_lockout(&mut tpm, b"wrong").unwrap_err();
        wait(&tpm, 600_000);
        assert_eq!(failures(&mut tpm), 3);
        tpm
    }

    #[test]
    fn time_before_an_orderly_shutdown_counts_and_time_without_power_does_not() {
        for (shutdown, startup) in [
            (TpmSu::Clear, TpmSu::Clear),
            (TpmSu::State, TpmSu::Clear),
            (TpmSu::State, TpmSu::State),
        ] {
            let mut tpm = off_for_an_hour(locked(), Some(shutdown), startup);
            wait(&tpm, 300_000);
            assert_eq!(failures(&mut tpm), 3);
            assert_eq!(try_lockout(&mut tpm, b""), Err(Rc::LOCKOUT));
            // Over one more shutdown the parts are added up.
            let mut tpm = off_for_an_hour(tpm, Some(TpmSu::Clear), TpmSu::Clear);
            wait(&tpm, 100_000);
            assert_eq!(failures(&mut tpm), 2);
            assert_eq!(try_lockout(&mut tpm, b""), Ok(()));
            assert_eq!(tpm.dictionary_attack.failed_tries, 0);
        }
    }

    #[test]
    fn after_an_unorderly_stop_the_time_begins_anew() {
        let mut tpm = off_for_an_hour(locked(), None, TpmSu::Clear);
        wait(&tpm, 999_999);
        assert_eq!(failures(&mut tpm), 3);
        assert_eq!(try_lockout(&mut tpm, b""), Err(Rc::LOCKOUT));
        wait(&tpm, 1);
        assert_eq!(failures(&mut tpm), 2);
        assert_eq!(try_lockout(&mut tpm, b""), Ok(()));
    }

    #[test]
    fn a_tpm_that_moves_while_it_runs_takes_the_timers_along() {
        let tpm = off_for_an_hour(locked(), Some(TpmSu::Clear), TpmSu::Clear);
        let volatile = tpm.volatile_state();
        let mut moved = tpm.reloaded();
        moved.restore_volatile(&volatile).unwrap();
        wait(&moved, 400_000);
        assert_eq!(failures(&mut moved), 2);
    }

    #[test]
    fn nothing_is_carried_when_nothing_is_to_be_forgiven() {
        let mut tpm = testing::started();
        wait(&tpm, 600_000);
        let before = tpm.permanent_bytes().len();
        tpm.run(tpm_wire::commands::Shutdown {
            shutdown_type: TpmSu::Clear,
        })
        .unwrap();
        assert_eq!(tpm.permanent_bytes().len(), before);
    }
}
