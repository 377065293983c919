//! Settings of the platform: commands that need physical presence, the algorithm set, the countdown timers (Part 3, 26 and 33).

use crate::hierarchy::EntityPolicy;
use crate::power::StartupKind;
use crate::state::Tpm;
use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed};

/// Settings of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Management {
    /// Codes of the commands that need physical presence with platform authorization, ascending.
    pub(crate) presence_commands: Vec<u32>,
    /// What `TPM2_SetAlgorithmSet` set.
    pub(crate) algorithm_set: u32,
    /// The policy of the countdown timer.
    pub(crate) act_policy: EntityPolicy,
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
            Group::Clear => self.act_policy.marshal(out),
            Group::Reset | Group::Volatile => {}
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
            Group::Clear => (rest, self.act_policy) = EntityPolicy::parse(rest)?,
            Group::Reset | Group::Volatile => {}
        }
        Ok((rest, ()))
    }
}

impl Tpm {
    /// `TPM2_Startup` for the settings of the platform.
    pub(crate) fn management_startup(&mut self, kind: StartupKind) {
        if kind != StartupKind::Resume {
            self.management.act_policy = EntityPolicy::default();
        }
    }
}
