//! Commit values of anonymous signatures and ephemeral keys: used once each (Part 1, annex C.2).

use crate::power::StartupKind;
use crate::state::Tpm;
use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use tpm_wire::buffers::Tpm2bSeed;
use tpm_wire::codec::{Input, Marshal, Parse, Parsed};

/// Commits that can be open at once.
pub(crate) const OPEN_COMMITS: u16 = 128;

/// Which commit counts are open.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Commits {
    /// The secret that each commit's random value is derived from.
    pub(crate) nonce: Tpm2bSeed,
    /// The count of the next commit.
    pub(crate) counter: u64,
    /// Bit n is set while a commit with count % 128 = n is open.
    pub(crate) open: u128,
}

impl Tpm {
    /// `TPM2_Startup`: after a TPM Reset no earlier commit can be used.
    pub(crate) fn commit_startup(&mut self, kind: StartupKind) {
        if kind == StartupKind::Reset {
            let mut nonce = Tpm2bSeed::zeros(64);
            self.random.fill(nonce.as_mut_slice());
            self.commits = Commits {
                nonce,
                counter: 0,
                open: 0,
            };
        }
    }
}

impl Section for Commits {
    fn write(&self, group: Group, out: &mut Vec<u8>) {
        if group == Group::Reset {
            self.nonce.marshal(out);
            self.counter.marshal(out);
            out.extend_from_slice(&self.open.to_be_bytes());
        }
    }

    fn read<'a>(&mut self, group: Group, input: Input<'a>) -> Parsed<'a, ()> {
        if group != Group::Reset {
            return Ok((input, ()));
        }
        let (rest, nonce) = Tpm2bSeed::parse(input)?;
        let (rest, counter) = u64::parse(rest)?;
        let (rest, high) = u64::parse(rest)?;
        let (rest, low) = u64::parse(rest)?;
        *self = Self {
            nonce,
            counter,
            open: u128::from(high) << 64 | u128::from(low),
        };
        Ok((rest, ()))
    }
}
