//! Command audit: which commands, by which hash, and the digest so far (Part 1, 34).

use crate::hierarchy::CONTEXT_HASH;
use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed, refuse};
use tpm_wire::commands::{SetCommandCodeAuditStatus, Shutdown};
use tpm_wire::rc::Rc;
use tpm_wire::table::Command;

/// State of the command audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandAudit {
    /// Codes of the audited commands, ascending.
    pub(crate) commands: Vec<u32>,
    /// The hash of the audit.
    pub(crate) hash: TpmiAlgHash,
    /// Grows each time a new digest is begun.
    pub(crate) counter: u64,
    /// The digest; empty when none is begun.
    pub(crate) digest: Tpm2bDigest,
}

impl Default for CommandAudit {
    fn default() -> Self {
        // TPM2_SetCommandCodeAuditStatus is always audited (Part 3, 21.2).
        Self {
            commands: Vec::from([SetCommandCodeAuditStatus::INFO.code]),
            hash: CONTEXT_HASH,
            counter: 0,
            digest: Tpm2bDigest::EMPTY,
        }
    }
}

impl CommandAudit {
    /// Whether a command is audited.
    pub(crate) fn is_audited(&self, code: u32) -> bool {
        self.commands.binary_search(&code).is_ok()
    }

    /// The list of audited commands with those of `set` and without those of `clear` (Part 3, 21.2).
    ///
    /// `TPM2_Shutdown` cannot be audited, and `TPM2_SetCommandCodeAuditStatus` always is.
    pub(crate) fn with_changes(&self, set: &[u32], clear: &[u32]) -> Vec<u32> {
        let mut commands = self.commands.clone();
        for code in set.iter().filter(|code| **code != Shutdown::INFO.code) {
            if let Err(place) = commands.binary_search(code) {
                commands.insert(place, *code);
            }
        }
        let always = SetCommandCodeAuditStatus::INFO.code;
        commands.retain(|code| *code == always || !clear.contains(code));
        commands
    }
}

impl Section for CommandAudit {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        match group {
            Group::Permanent => {
                self.hash.marshal(out);
                self.counter.marshal(out);
                u32::try_from(self.commands.len())
                    .unwrap_or_default()
                    .marshal(out);
                for code in &self.commands {
                    code.marshal(out);
                }
            }
            Group::Reset => self.digest.marshal(out),
            Group::Clear | Group::Volatile => {}
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        let mut rest = input;
        match group {
            Group::Permanent => {
                let count;
                (rest, self.hash) = TpmiAlgHash::parse(rest)?;
                (rest, self.counter) = u64::parse(rest)?;
                (rest, count) = u32::parse(rest)?;
                self.commands.clear();
                for _ in 0..count {
                    let code;
                    (rest, code) = u32::parse(rest)?;
                    if self.commands.last().is_some_and(|last| *last >= code) {
                        return refuse(Rc::VALUE);
                    }
                    self.commands.push(code);
                }
            }
            Group::Reset => {
                (rest, self.digest) = Tpm2bDigest::parse(rest)?;
                if !self.digest.is_empty() && self.digest.len() != self.hash.digest_size() {
                    return refuse(Rc::SIZE);
                }
            }
            Group::Clear | Group::Volatile => {}
        }
        Ok((rest, ()))
    }
}
