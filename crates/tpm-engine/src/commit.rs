//! Commit values of anonymous signatures and ephemeral keys: used once each (Part 1, annex C.2).

use crate::algorithms::hash_algorithm;
use crate::hierarchy::CONTEXT_HASH;
use crate::power::StartupKind;
use crate::state::Tpm;
use crate::state_format::{Group, Section};
use alloc::vec::Vec;
use tpm_crypto::ecc::{Curve, PrivateKey, ecdaa};
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

impl Commits {
    /// The secret of the commit with this whole count: a scalar of the curve, bound to a key by its Name, or to none.
    pub(crate) fn secret(&self, curve: Curve, name: &[u8], count: u64) -> PrivateKey {
        ecdaa::commit_nonce(
            curve,
            hash_algorithm(CONTEXT_HASH),
            &self.nonce,
            name,
            count,
        )
    }

    /// Opens the commit that [`counter`](Self::counter) numbers, and returns the low bits of the number, which is all that
    /// the caller sees of it. The oldest of too many commits is forgotten.
    pub(crate) const fn begin(&mut self) -> u16 {
        let count = low_bits(self.counter);
        self.open |= bit(count);
        self.counter = self.counter.wrapping_add(1);
        count
    }

    /// The whole count of an open commit, from its low bits; `None` if there is none.
    pub(crate) fn find(&self, count: u16) -> Option<u64> {
        if self.open & bit(count) == 0 {
            return None;
        }
        // Of all numbers that share the bit the greatest that was given out; the others are forgotten.
        let last = self.counter.checked_sub(1)?;
        let behind = low_bits(last).wrapping_sub(count) % OPEN_COMMITS;
        let whole = last.checked_sub(u64::from(behind))?;
        (low_bits(whole) == count).then_some(whole)
    }

    /// Ends a commit: its secret cannot be used again.
    pub(crate) const fn end(&mut self, count: u16) {
        self.open &= !bit(count);
    }
}

const fn bit(count: u16) -> u128 {
    1 << (count % OPEN_COMMITS)
}

const fn low_bits(counter: u64) -> u16 {
    let [.., high, low] = counter.to_be_bytes();
    u16::from_be_bytes([high, low])
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

#[cfg(test)]
mod tests {
    use super::{Commits, OPEN_COMMITS};

    #[test]
    fn a_commit_is_found_until_it_ends() {
        let mut commits = Commits::default();
        assert_eq!(commits.find(0), None);
        assert_eq!((commits.begin(), commits.begin()), (0, 1));
        assert_eq!((commits.find(0), commits.find(1)), (Some(0), Some(1)));
        commits.end(0);
        assert_eq!((commits.find(0), commits.find(1)), (None, Some(1)));
    }

    #[test]
    fn a_count_that_was_given_out_again_is_forgotten() {
        let mut commits = Commits::default();
        for _ in 0..=OPEN_COMMITS {
            commits.begin();
        }
        assert_eq!(commits.find(0), None);
        assert_eq!(commits.find(OPEN_COMMITS), Some(128));
        assert_eq!(commits.find(OPEN_COMMITS + 1), None);
        assert_eq!(commits.find(1), Some(1));
    }

    #[test]
    fn the_whole_count_is_found_beyond_sixteen_bits() {
        let mut commits = Commits {
            counter: 0x1_FFFF,
            ..Commits::default()
        };
        assert_eq!((commits.begin(), commits.begin()), (0xFFFF, 0));
        assert_eq!(commits.find(0xFFFF), Some(0x1_FFFF));
        assert_eq!(commits.find(0), Some(0x2_0000));
        assert_eq!(commits.find(128), None);
    }
}
