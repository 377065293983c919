//! The requests of the control channel as bytes.

use std::ops::RangeInclusive;

use crate::frame::word;

/// The longest state that one SET_STATEBLOB may bring.
pub(super) const LONGEST_BLOB: usize = 512 * 1024;

/// The code of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    GetCapability,
    Init,
    Shutdown,
    GetTpmEstablished,
    SetLocality,
    HashStart,
    HashData,
    HashEnd,
    CancelTpmCommand,
    StoreVolatile,
    ResetTpmEstablished,
    GetStateBlob,
    SetStateBlob,
    Stop,
    GetConfig,
    SetDataDescriptor,
    SetBufferSize,
    GetInfo,
    LockStorage,
}

/// Every code, in the order of their numbers, which begin with one.
const CODES: [Code; 19] = [
    Code::GetCapability,
    Code::Init,
    Code::Shutdown,
    Code::GetTpmEstablished,
    Code::SetLocality,
    Code::HashStart,
    Code::HashData,
    Code::HashEnd,
    Code::CancelTpmCommand,
    Code::StoreVolatile,
    Code::ResetTpmEstablished,
    Code::GetStateBlob,
    Code::SetStateBlob,
    Code::Stop,
    Code::GetConfig,
    Code::SetDataDescriptor,
    Code::SetBufferSize,
    Code::GetInfo,
    Code::LockStorage,
];

/// The capability bits that tell clients what of all this is there: every one of them.
pub(super) const CAPABILITIES: u32 = 0x1_ffff;

impl Code {
    pub(super) fn from_number(number: u32) -> Option<Self> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        CODES.get(index).copied()
    }

    /// How many bytes the fixed part of the body may have. A request has no length of its own, and clients send the padding of
    /// their structures or do not: one byte of locality comes as one byte or as four. Where swtpm overlooks what is too much, so
    /// do we.
    pub(super) fn body(self) -> RangeInclusive<usize> {
        match self {
            Self::GetCapability | Self::SetDataDescriptor => 0..=usize::MAX,
            Self::SetLocality | Self::ResetTpmEstablished => 1..=usize::MAX,
            Self::SetBufferSize | Self::LockStorage => 4..=usize::MAX,
            Self::GetStateBlob => 12..=usize::MAX,
            Self::GetInfo => 16..=usize::MAX,
            Self::Init | Self::HashData => 4..=4,
            Self::SetStateBlob => 12..=12,
            Self::Shutdown
            | Self::GetTpmEstablished
            | Self::HashStart
            | Self::HashEnd
            | Self::CancelTpmCommand
            | Self::StoreVolatile
            | Self::Stop
            | Self::GetConfig => 0..=0,
        }
    }

    /// Whether data follow the fixed part, as many bytes as it says.
    pub(super) fn has_data(self) -> bool {
        matches!(self, Self::HashData | Self::SetStateBlob)
    }
}

/// The fields of a fixed part, which has the size that [`Code::body`] says; a missing one is zero.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn byte(&self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    pub(super) fn word(&self, index: usize) -> u32 {
        word(self.0, index.saturating_mul(4)).unwrap_or(0)
    }

    pub(super) fn double_word(&self) -> u64 {
        u64::from(self.word(0)) << 32 | u64::from(self.word(1))
    }
}

/// The results that this channel knows: response codes of TPM 1.2.
pub(super) mod result {
    pub(in crate::swtpm_control) const SUCCESS: u32 = 0;
    pub(in crate::swtpm_control) const BAD_PARAMETER: u32 = 0x03;
    pub(in crate::swtpm_control) const FAIL: u32 = 0x09;
    pub(in crate::swtpm_control) const BAD_ORDINAL: u32 = 0x0a;
    pub(in crate::swtpm_control) const KEY_NOT_FOUND: u32 = 0x0d;
    pub(in crate::swtpm_control) const IO_ERROR: u32 = 0x1f;
    pub(in crate::swtpm_control) const DECRYPT_ERROR: u32 = 0x21;
    pub(in crate::swtpm_control) const BAD_LOCALITY: u32 = 0x3d;
    /// There is no such thing, which is no failure.
    pub(in crate::swtpm_control) const NOTHING: u32 = 0x800;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_protocol() {
        assert_eq!(Code::from_number(0), None);
        assert_eq!(Code::from_number(1), Some(Code::GetCapability));
        assert_eq!(Code::from_number(5), Some(Code::SetLocality));
        assert_eq!(Code::from_number(12), Some(Code::GetStateBlob));
        assert_eq!(Code::from_number(16), Some(Code::SetDataDescriptor));
        assert_eq!(Code::from_number(19), Some(Code::LockStorage));
        assert_eq!(Code::from_number(20), None);
        assert_eq!(Code::from_number(u32::MAX), None);
    }

    #[test]
    fn fields_are_big_endian() {
        let fields = Fields(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(fields.double_word(), 7);
        assert_eq!(fields.word(2), 256);
        assert_eq!(fields.word(9), 0);
    }
}
