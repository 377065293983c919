//! PCR selections and values (Part 2, 10.6 to 10.9).

use crate::algorithm::{TpmiAlgHash, TpmtHa};
use crate::buffers::Tpm2bDigest;
use crate::codec::{Input, Marshal, Parse, Parsed, refuse, structure, take};
use crate::rc::Rc;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// Bytes of a PCR bitmap: 24 PCR, as least and most (`PCR_SELECT_MIN` and `PCR_SELECT_MAX`).
pub const PCR_SELECT_SIZE: usize = 3;
/// Most banks in a list.
pub const MAX_BANKS: usize = 8;

/// `TPMS_PCR_SELECT`: a set of PCR; PCR n is bit n % 8 of byte n / 8 (Part 2, 10.6.1).
#[doc(alias = "TPMS_PCR_SELECT")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TpmsPcrSelect(pub [u8; PCR_SELECT_SIZE]);

impl TpmsPcrSelect {
    /// A set of the PCR given.
    #[must_use]
    pub fn of(pcrs: &[u32]) -> Self {
        let mut select = Self::default();
        for pcr in pcrs {
            select.insert(*pcr);
        }
        select
    }

    /// Adds a PCR; one beyond the last is ignored.
    pub fn insert(&mut self, pcr: u32) {
        if let Some(byte) = usize::try_from(pcr / 8)
            .ok()
            .and_then(|index| self.0.get_mut(index))
        {
            *byte |= 1 << (pcr % 8);
        }
    }

    /// Takes a PCR out.
    pub fn remove(&mut self, pcr: u32) {
        if let Some(byte) = usize::try_from(pcr / 8)
            .ok()
            .and_then(|index| self.0.get_mut(index))
        {
            *byte &= !(1 << (pcr % 8));
        }
    }

    /// Whether a PCR is in the set.
    #[must_use]
    pub fn contains(self, pcr: u32) -> bool {
        usize::try_from(pcr / 8)
            .ok()
            .and_then(|index| self.0.get(index))
            .is_some_and(|byte| byte & (1 << (pcr % 8)) != 0)
    }

    /// Whether no PCR is in the set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// The PCR of the set, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..8 * 3u32).filter(move |pcr| self.contains(*pcr))
    }
}

impl Parse for TpmsPcrSelect {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, size) = u8::parse(input)?;
        if usize::from(size) != PCR_SELECT_SIZE {
            return refuse(Rc::VALUE);
        }
        let (rest, bytes) = take(rest, PCR_SELECT_SIZE)?;
        Ok((rest, Self(bytes.try_into().unwrap_or_default())))
    }
}

impl Marshal for TpmsPcrSelect {
    fn marshal(&self, out: &mut Vec<u8>) {
        3u8.marshal(out);
        out.extend_from_slice(&self.0);
    }
}

structure! {
    /// PCR of one bank (Part 2, 10.6.2).
    #[doc(alias = "TPMS_PCR_SELECTION")]
    #[derive(Copy)]
    pub struct TpmsPcrSelection { hash: TpmiAlgHash, pcr_select: TpmsPcrSelect }
}

/// PCR of several banks.
#[doc(alias = "TPML_PCR_SELECTION")]
pub type TpmlPcrSelection = ArrayVec<TpmsPcrSelection, MAX_BANKS>;
/// One digest for each of several banks.
#[doc(alias = "TPML_DIGEST_VALUES")]
pub type TpmlDigestValues = ArrayVec<TpmtHa, MAX_BANKS>;
/// Digests, as `TPM2_PCR_Read` returns them.
#[doc(alias = "TPML_DIGEST")]
pub type TpmlDigest = ArrayVec<Tpm2bDigest, 8>;

/// `TPML_DIGEST` as `TPM2_PolicyOR` takes it: two to eight digests, otherwise `TPM_RC_SIZE` (Part 2, 10.9.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmlDigestBranches(pub TpmlDigest);

impl Parse for TpmlDigestBranches {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (_, count) = u32::parse(input)?;
        if count < 2 {
            return refuse(Rc::SIZE);
        }
        TpmlDigest::parse(input).map(|(rest, list)| (rest, Self(list)))
    }
}

impl Marshal for TpmlDigestBranches {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
    }
}

#[cfg(test)]
mod tests {
    use super::TpmsPcrSelect;
    use crate::codec::{Limits, parse_all};
    use crate::rc::Rc;

    #[test]
    fn only_bitmaps_of_three_bytes_are_taken() {
        assert_eq!(
            parse_all::<TpmsPcrSelect>(&[2, 0, 0], &Limits::ALL),
            Err(Rc::VALUE)
        );
        assert_eq!(
            parse_all::<TpmsPcrSelect>(&[4, 0, 0, 0, 0], &Limits::ALL),
            Err(Rc::VALUE)
        );
        let select = parse_all::<TpmsPcrSelect>(&[3, 1, 0, 0x80], &Limits::ALL).unwrap();
        assert!(select.iter().eq([0, 23]));
    }
}
