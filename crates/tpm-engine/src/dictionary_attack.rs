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
    /// `time` from which the next failure is forgiven.
    pub(crate) self_heal_timer: u64,
    /// `time` from which lockout authorization recovers.
    pub(crate) lockout_timer: u64,
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
            self.lockout_timer = time;
            return true;
        }
        if self.recovery_time == 0 {
            return false;
        }
        // The time to forgive runs from the last failure.
        self.self_heal_timer = time;
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
            let forgiven = time.saturating_sub(self.self_heal_timer) / step;
            if forgiven > 0 {
                self.failed_tries = self
                    .failed_tries
                    .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
                self.self_heal_timer += forgiven * step;
                changed = true;
            }
        }
        if !self.lockout_auth_enabled
            && self.lockout_recovery != 0
            && time.saturating_sub(self.lockout_timer) >= u64::from(self.lockout_recovery) * 1000
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

    /// `TPM2_Startup`: timers start anew with `time`; an unorderly stop after use counts as a failure.
    pub(crate) fn startup(&mut self, orderly: bool) {
        self.self_heal_timer = 0;
        self.lockout_timer = 0;
        if self.lockout_recovery == 0 {
            self.lockout_auth_enabled = true;
        }
        if !orderly && self.used && self.recovery_time != 0 && !self.in_lockout() {
            self.failed_tries = self.failed_tries.saturating_add(1);
        }
        self.used = false;
    }
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
            }
            Group::Volatile => {
                self.self_heal_timer.marshal(out);
                self.lockout_timer.marshal(out);
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
            }
            Group::Volatile => {
                (rest, self.self_heal_timer) = u64::parse(rest)?;
                (rest, self.lockout_timer) = u64::parse(rest)?;
            }
            Group::Reset | Group::Clear => {}
        }
        Ok((rest, ()))
    }
}
