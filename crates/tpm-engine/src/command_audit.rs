//! Command audit: which commands, by which hash, and the digest so far (Part 1, 34).

use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use tpm_wire::algorithm::TpmiAlgHash;
use tpm_wire::buffers::Tpm2bDigest;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed};

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
        // TPM2_SetCommandCodeAuditStatus is always audited (Part 1, 34.2).
        Self {
            commands: Vec::from([0x140]),
            hash: TpmiAlgHash::Sha256,
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
                    self.commands.push(code);
                }
            }
            Group::Reset => (rest, self.digest) = Tpm2bDigest::parse(rest)?,
            Group::Clear | Group::Volatile => {}
        }
        Ok((rest, ()))
    }
}
