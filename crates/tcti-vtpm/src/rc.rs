//! The response codes of the TCTI layer (TCG TSS 2.0 Overview and Common Structures, 3.2).

/// A response code of the TCTI layer, other than success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TctiRc(pub(crate) u32);

/// Success.
pub(crate) const SUCCESS: u32 = 0;
const LAYER: u32 = 10 << 16;

impl TctiRc {
    pub(crate) const GENERAL_FAILURE: Self = Self(LAYER | 1);
    pub(crate) const NOT_IMPLEMENTED: Self = Self(LAYER | 2);
    pub(crate) const BAD_CONTEXT: Self = Self(LAYER | 3);
    pub(crate) const BAD_REFERENCE: Self = Self(LAYER | 5);
    pub(crate) const INSUFFICIENT_BUFFER: Self = Self(LAYER | 6);
    pub(crate) const BAD_SEQUENCE: Self = Self(LAYER | 7);
    pub(crate) const TRY_AGAIN: Self = Self(LAYER | 9);
    pub(crate) const IO_ERROR: Self = Self(LAYER | 10);
    pub(crate) const BAD_VALUE: Self = Self(LAYER | 11);
}
