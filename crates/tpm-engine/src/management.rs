//! Settings of the platform: commands that need physical presence, the algorithm set, the countdown timers (Part 3, 26 and 33).

use crate::hierarchy::EntityPolicy;
use crate::power::StartupKind;
use crate::state::Tpm;
use crate::state_format::{Group, Section};
use alloc::vec;
use alloc::vec::Vec;
use tpm_wire::attributes::TpmaAct;
use tpm_wire::capability::TpmsActData;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::handles::TpmHandle;
use tpm_wire::rc::Rc;

/// The timeout that stops a timer.
pub(crate) const NEVER: u32 = u32::MAX;

/// An authenticated countdown timer (Part 1, 40).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Act {
    /// The policy that may set it.
    pub(crate) policy: EntityPolicy,
    /// Milliseconds until it signals; `None` if it does not count.
    remaining: Option<u64>,
    /// It does not count, but is not at zero.
    stopped: bool,
    /// It signals.
    signaled: bool,
    /// It signaled when the platform reset, without loss of power.
    preserve_signaled: bool,
    /// It was set since the last startup.
    updated: bool,
}

impl Act {
    /// Whether it signals.
    pub(crate) const fn is_signaled(&self) -> bool {
        self.signaled
    }

    /// Sets the timer to seconds; zero makes one that counts signal.
    pub(crate) fn set(&mut self, timeout: u32) {
        self.preserve_signaled = false;
        self.updated = true;
        self.stopped = timeout == NEVER;
        match timeout {
            0 => self.signaled |= self.remaining.take().is_some(),
            NEVER => {
                self.remaining = None;
                self.signaled = false;
            }
            seconds => {
                self.remaining = Some(u64::from(seconds) * 1000);
                self.signaled = false;
            }
        }
    }

    fn count_down(&mut self, elapsed: u64) {
        if let Some(remaining) = self.remaining {
            self.remaining = Some(remaining.saturating_sub(elapsed)).filter(|left| *left > 0);
            self.signaled |= self.remaining.is_none();
        }
    }

    /// What is left, seconds.
    fn timeout(&self) -> u32 {
        if self.stopped {
            return NEVER;
        }
        let milliseconds = self.remaining.unwrap_or_default();
        u32::try_from(milliseconds.div_ceil(1000)).unwrap_or(NEVER)
    }

    /// A timer that was not set since the last startup loses half of its time, so that it cannot be held up by restarts.
    fn resume(&mut self) {
        if !self.updated
            && let Some(remaining) = self.remaining.as_mut().filter(|left| **left > 1000)
        {
            *remaining /= 2;
        }
        self.updated = false;
    }

    fn marshal_saved(&self, out: &mut Vec<u8>) {
        self.policy.marshal(out);
        self.remaining.unwrap_or_default().marshal(out);
        for flag in [self.stopped, self.signaled, self.updated] {
            flag.marshal(out);
        }
    }

    fn parse_saved<'a>(&mut self, input: Input<'a>) -> Parsed<'a, ()> {
        let (rest, policy) = EntityPolicy::parse(input)?;
        let (rest, remaining) = u64::parse(rest)?;
        let (rest, stopped) = bool::parse(rest)?;
        let (rest, signaled) = bool::parse(rest)?;
        let (rest, updated) = bool::parse(rest)?;
        *self = Self {
            policy,
            remaining: (remaining > 0).then_some(remaining),
            stopped,
            signaled,
            updated,
            preserve_signaled: self.preserve_signaled,
        };
        Ok((rest, ()))
    }
}

/// Settings of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Management {
    /// Codes of the commands that need physical presence with platform authorization, ascending.
    pub(crate) presence_commands: Vec<u32>,
    /// What `TPM2_SetAlgorithmSet` set.
    pub(crate) algorithm_set: u32,
    /// The countdown timers.
    acts: Vec<Act>,
}

impl Management {
    /// Settings of a new TPM with this many timers.
    pub(crate) fn new(acts: u32) -> Self {
        Self {
            acts: vec![Act::default(); usize::try_from(acts).unwrap_or_default()],
            ..Self::default()
        }
    }

    fn index(handle: TpmHandle) -> usize {
        usize::try_from(handle.0.wrapping_sub(TpmHandle::ACT_0.0)).unwrap_or(usize::MAX)
    }

    /// The timer behind a handle.
    pub(crate) fn act(&self, handle: TpmHandle) -> Option<&Act> {
        self.acts.get(Self::index(handle))
    }

    /// The same, to be changed.
    pub(crate) fn act_mut(&mut self, handle: TpmHandle) -> Option<&mut Act> {
        self.acts.get_mut(Self::index(handle))
    }

    /// What `TPM_CAP_ACT` reports of the timers, ascending.
    pub(crate) fn act_data(&self) -> impl Iterator<Item = TpmsActData> + '_ {
        (TpmHandle::ACT_0.0..)
            .zip(&self.acts)
            .map(|(handle, act)| TpmsActData {
                handle: TpmHandle(handle),
                timeout: act.timeout(),
                attributes: TpmaAct::NONE
                    .set(TpmaAct::SIGNALED, act.signaled)
                    .set(TpmaAct::PRESERVE_SIGNALED, act.preserve_signaled),
            })
    }

    /// Milliseconds went by.
    pub(crate) fn count_down(&mut self, elapsed: u64) {
        for act in &mut self.acts {
            act.count_down(elapsed);
        }
    }

    /// `_TPM_Init`: a platform that a timer made reset is to learn that it did.
    pub(crate) fn init(&mut self) {
        for act in &mut self.acts {
            act.preserve_signaled |= act.signaled;
        }
    }
}

impl Tpm {
    /// `TPM2_Startup` for the settings of the platform.
    pub(crate) fn management_startup(&mut self, kind: StartupKind) {
        for act in &mut self.management.acts {
            if kind == StartupKind::Resume {
                act.resume();
            } else {
                *act = Act {
                    preserve_signaled: act.preserve_signaled,
                    ..Act::default()
                };
            }
        }
    }

    /// The countdown timers that signal, as bits: timer 0 is the least significant.
    #[must_use]
    pub fn signaled_timers(&self) -> u16 {
        let signaled = (0..16).zip(&self.management.acts);
        signaled
            .filter(|(_, act)| act.signaled)
            .fold(0, |bits, (number, _)| bits | 1 << number)
    }
}

impl Section for Management {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Permanent => {
                u32::try_from(self.presence_commands.len())
                    .unwrap_or_default()
                    .marshal(out);
                for code in &self.presence_commands {
                    code.marshal(out);
                }
                self.algorithm_set.marshal(out);
            }
            Group::Clear => {
                u8::try_from(self.acts.len())
                    .unwrap_or_default()
                    .marshal(out);
                for act in &self.acts {
                    act.marshal_saved(out);
                }
            }
            Group::Volatile => {
                for act in &self.acts {
                    act.preserve_signaled.marshal(out);
                }
            }
            Group::Reset => {}
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        let mut rest = input;
        match group {
            Group::Permanent => {
                let count;
                (rest, count) = u32::parse(rest)?;
                self.presence_commands.clear();
                for _ in 0..count {
                    let code;
                    (rest, code) = u32::parse(rest)?;
                    self.presence_commands.push(code);
                }
                (rest, self.algorithm_set) = u32::parse(rest)?;
            }
            Group::Clear => {
                let count;
                (rest, count) = u8::parse(rest)?;
                if usize::from(count) != self.acts.len() {
                    return refuse(Rc::SIZE);
                }
                for act in &mut self.acts {
                    (rest, ()) = act.parse_saved(rest)?;
                }
            }
            Group::Volatile => {
                for act in &mut self.acts {
                    (rest, act.preserve_signaled) = bool::parse(rest)?;
                }
            }
            Group::Reset => {}
        }
        Ok((rest, ()))
    }
}
