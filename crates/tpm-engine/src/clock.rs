//! Time, clock, and how often the TPM was started (Part 1, 36).

use crate::state::Tpm;
use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use tpm_wire::attest::{TpmsClockInfo, TpmsTimeInfo};
use tpm_wire::codec::{Input, Marshal, Parse, Parsed};
use tpm_wire::constants::TpmClockAdjust;

/// Steps of the clock's rate, millionths.
const COARSE: i32 = 10_000;
const MEDIUM: i32 = 1_000;
const FINE: i32 = 33;
/// The rate can be this much off at most, millionths.
const MOST_ADJUSTED: i32 = 150_000;

/// Time and clock.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Clock {
    /// Milliseconds after which the clock is stored again (`TPM_PT_CLOCK_UPDATE`).
    update_interval: u64,
    /// Milliseconds since the TPM was powered on.
    pub(crate) time: u64,
    /// Milliseconds that the TPM was powered in all.
    pub(crate) clock: u64,
    /// No greater value of `clock` was reported.
    pub(crate) safe: bool,
    /// TPM Resets since the last `TPM2_Clear`.
    pub(crate) reset_count: u32,
    /// TPM Restarts and TPM Resumes since the last TPM Reset.
    pub(crate) restart_count: u32,
    /// TPM Restarts since the last TPM Reset.
    pub(crate) clear_count: u32,
    /// TPM Resets ever; never falls.
    pub(crate) total_reset_count: u64,
    /// Changes when `time` starts anew, so that what expires does not live on.
    pub(crate) epoch: u64,
    /// How much faster than the platform's the clock runs, millionths.
    pub(crate) rate_adjust: i32,
    /// What the adjusted rate left over, millionths of a millisecond.
    remainder: u64,
    /// The platform's clock at the last update.
    platform_time: Option<u64>,
}

impl Clock {
    /// A clock that stands at zero and is stored again after `update_interval` milliseconds.
    pub(crate) fn new(update_interval: u32) -> Self {
        Self {
            update_interval: u64::from(update_interval.max(1)),
            ..Self::default()
        }
    }

    /// Advances time and clock to the platform's present. True if the clock has passed the moment at which it is stored again.
    pub(crate) fn update(&mut self, now: u64) -> bool {
        let Some(before) = self.platform_time.replace(now) else {
            return false;
        };
        let elapsed = now.saturating_sub(before);
        if elapsed == 0 {
            return false;
        }
        let rate = u64::try_from(1_000_000 + i64::from(self.rate_adjust)).unwrap_or(1_000_000);
        let scaled = u128::from(elapsed) * u128::from(rate) + u128::from(self.remainder);
        let advance = u64::try_from(scaled / 1_000_000).unwrap_or(u64::MAX);
        self.remainder = u64::try_from(scaled % 1_000_000).unwrap_or_default();
        self.time = self.time.saturating_add(advance);
        self.set(self.clock.saturating_add(advance))
    }

    /// Sets the clock forward. True if it has passed a moment at which it is stored again: from then on no later value was
    /// ever reported.
    pub(crate) fn set(&mut self, clock: u64) -> bool {
        let stored_again = self.is_stored_at(clock);
        self.safe |= stored_again;
        self.clock = clock;
        stored_again
    }

    /// Whether the clock is stored again on its way to this value.
    pub(crate) fn is_stored_at(&self, clock: u64) -> bool {
        let period = |clock: u64| clock.checked_div(self.update_interval);
        period(self.clock) != period(clock)
    }

    /// Changes the rate by a step; it does not leave its limits.
    pub(crate) fn adjust(&mut self, step: TpmClockAdjust) {
        let change = match step {
            TpmClockAdjust::CoarseSlower => -COARSE,
            TpmClockAdjust::MediumSlower => -MEDIUM,
            TpmClockAdjust::FineSlower => -FINE,
            TpmClockAdjust::NoChange => 0,
            TpmClockAdjust::FineFaster => FINE,
            TpmClockAdjust::MediumFaster => MEDIUM,
            TpmClockAdjust::CoarseFaster => COARSE,
        };
        let adjusted = self.rate_adjust.saturating_add(change);
        self.rate_adjust = adjusted.clamp(-MOST_ADJUSTED, MOST_ADJUSTED);
    }

    /// `TPM2_Clear`: the clock starts anew, and no later value was reported of the new one.
    pub(crate) const fn clear(&mut self) {
        self.clock = 0;
        self.safe = true;
        self.reset_count = 0;
        self.restart_count = 0;
        self.clear_count = 0;
    }

    /// `_TPM_Init`: time starts anew.
    pub(crate) fn init(&mut self, now: u64) {
        self.time = 0;
        self.remainder = 0;
        self.platform_time = Some(now);
    }

    /// Goes on from a restored state: the time since it was saved does not count.
    pub(crate) fn resume(&mut self, now: u64) {
        self.platform_time = Some(now);
    }

    /// What attestations and `TPM2_ReadClock` report.
    pub(crate) const fn info(&self) -> TpmsTimeInfo {
        TpmsTimeInfo {
            time: self.time,
            clock_info: TpmsClockInfo {
                clock: self.clock,
                reset_count: self.reset_count,
                restart_count: self.restart_count,
                safe: self.safe,
            },
        }
    }
}

impl Tpm {
    /// Time goes on: the clock, what dictionary-attack protection forgives, the countdown timers.
    pub(crate) fn tick(&mut self) {
        // Before `TPM2_Startup`, and while nothing can be stored, time stands still; it catches up afterwards.
        if !self.power.started || self.check_storage().is_err() {
            return;
        }
        let before = self.clock.time;
        let now = self.platform.milliseconds();
        let stored_again = self.clock.update(now);
        let time = self.clock.time;
        self.management.count_down(time.saturating_sub(before));
        let healed = self.dictionary_attack.heal(time);
        self.persist |= stored_again || healed;
    }
}

impl Section for Clock {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Permanent => {
                self.clock.marshal(out);
                self.safe.marshal(out);
                self.reset_count.marshal(out);
                self.total_reset_count.marshal(out);
                self.epoch.marshal(out);
            }
            Group::Reset => {
                self.restart_count.marshal(out);
                self.clear_count.marshal(out);
            }
            Group::Clear => {}
            Group::Volatile => {
                self.time.marshal(out);
                self.clock.marshal(out);
                self.safe.marshal(out);
                self.rate_adjust.marshal(out);
                self.remainder.marshal(out);
                // A TPM that goes on elsewhere goes on in the same epoch.
                self.epoch.marshal(out);
            }
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        let mut rest = input;
        match group {
            Group::Permanent => {
                (rest, self.clock) = u64::parse(rest)?;
                (rest, self.safe) = bool::parse(rest)?;
                (rest, self.reset_count) = u32::parse(rest)?;
                (rest, self.total_reset_count) = u64::parse(rest)?;
                (rest, self.epoch) = u64::parse(rest)?;
            }
            Group::Reset => {
                (rest, self.restart_count) = u32::parse(rest)?;
                (rest, self.clear_count) = u32::parse(rest)?;
            }
            Group::Clear => {}
            Group::Volatile => {
                (rest, self.time) = u64::parse(rest)?;
                (rest, self.clock) = u64::parse(rest)?;
                (rest, self.safe) = bool::parse(rest)?;
                (rest, self.rate_adjust) = i32::parse(rest)?;
                (rest, self.remainder) = u64::parse(rest)?;
                (rest, self.epoch) = u64::parse(rest)?;
            }
        }
        Ok((rest, ()))
    }
}
