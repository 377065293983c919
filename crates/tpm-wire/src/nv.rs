//! NV Indices (Part 2, 13).

use crate::algorithm::TpmiAlgHash;
use crate::attributes::{TpmaNv, TpmaNvExp};
use crate::buffers::{Tpm2b, Tpm2bDigest};
use crate::codec::{Input, Marshal, Parse, Parsed, refuse, structure};
use crate::handles::{TpmHandle, TpmHt, TpmiRhNvExpIndex, TpmiRhNvIndex, TpmiRhNvLegacyIndex};
use crate::rc::Rc;
use alloc::vec::Vec;

/// Largest NV Index, bytes (`TPM_PT_NV_INDEX_MAX`).
pub const MAX_NV_INDEX: u16 = 16384;

/// `TPM_NT`: the type of an NV Index (Part 2, 13.2).
#[doc(alias = "TPM_NT")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Part 2")]
pub enum TpmNt {
    Ordinary,
    Counter,
    Bits,
    Extend,
    PinFail,
    PinPass,
}

impl TpmaNv {
    const TYPE_SHIFT: u32 = 4;

    /// The type of the Index; `None` for a number that Part 2 does not name.
    #[must_use]
    pub const fn nv_type(self) -> Option<TpmNt> {
        Some(match (self.0 >> Self::TYPE_SHIFT) & 0xF {
            0x0 => TpmNt::Ordinary,
            0x1 => TpmNt::Counter,
            0x2 => TpmNt::Bits,
            0x4 => TpmNt::Extend,
            0x8 => TpmNt::PinFail,
            0x9 => TpmNt::PinPass,
            _ => return None,
        })
    }

    /// The same attributes with another type.
    #[must_use]
    pub const fn with_type(self, nv_type: TpmNt) -> Self {
        let number = match nv_type {
            TpmNt::Ordinary => 0x0,
            TpmNt::Counter => 0x1,
            TpmNt::Bits => 0x2,
            TpmNt::Extend => 0x4,
            TpmNt::PinFail => 0x8,
            TpmNt::PinPass => 0x9,
        };
        Self(self.0 & !0xF0 | (number << Self::TYPE_SHIFT))
    }
}

/// The size of an NV Index; more than the largest is `TPM_RC_SIZE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvDataSize(pub u16);

impl Parse for NvDataSize {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, size) = u16::parse(input)?;
        if size > MAX_NV_INDEX {
            refuse(Rc::SIZE)
        } else {
            Ok((rest, Self(size)))
        }
    }
}

impl Marshal for NvDataSize {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
    }
}

structure! {
    /// The public area of an NV Index (Part 2, 13.6).
    #[doc(alias = "TPMS_NV_PUBLIC")]
    pub struct TpmsNvPublic {
        nv_index: TpmiRhNvIndex,
        name_alg: TpmiAlgHash,
        attributes: TpmaNv,
        auth_policy: Tpm2bDigest,
        data_size: NvDataSize,
    }
}

/// `TPM2B_NV_PUBLIC`: the public area of an Index with attributes of 32 bits (Part 2, 13.7).
#[doc(alias = "TPM2B_NV_PUBLIC")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tpm2bNvPublic(pub TpmsNvPublic);

impl Parse for Tpm2bNvPublic {
    const SIZED: bool = true;

    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, size) = u16::parse(input)?;
        if size != 0 {
            TpmiRhNvLegacyIndex::parse(rest)?;
        }
        Tpm2b::parse(input).map(|(rest, Tpm2b(public))| (rest, Self(public)))
    }
}

impl Marshal for Tpm2bNvPublic {
    fn marshal(&self, out: &mut Vec<u8>) {
        crate::buffers::marshal_with_size(out, |out| self.0.marshal(out));
    }
}

structure! {
    /// The public area of an NV Index with attributes of 64 bits (Part 2, 13.8).
    #[doc(alias = "TPMS_NV_PUBLIC_EXP_ATTR")]
    pub struct TpmsNvPublicExpAttr {
        nv_index: TpmiRhNvExpIndex,
        name_alg: TpmiAlgHash,
        attributes: TpmaNvExp,
        auth_policy: Tpm2bDigest,
        data_size: NvDataSize,
    }
}

/// `TPMT_NV_PUBLIC_2`: the public area of an Index of any handle type, the type in front (Part 2, 13.10).
#[doc(alias = "TPMT_NV_PUBLIC_2")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmtNvPublic2 {
    /// An ordinary handle.
    NvIndex(TpmsNvPublic),
    /// Memory outside of the TPM.
    ExternalNv(TpmsNvPublicExpAttr),
    /// An Index that exists by itself.
    PermanentNv(TpmsNvPublic),
}

impl TpmtNvPublic2 {
    /// The handle of the Index.
    #[must_use]
    pub const fn handle(&self) -> TpmHandle {
        match self {
            Self::NvIndex(public) | Self::PermanentNv(public) => public.nv_index.0,
            Self::ExternalNv(public) => public.nv_index.0,
        }
    }
}

impl Parse for TpmtNvPublic2 {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        let (rest, handle_type) = u8::parse(input)?;
        let of_type = |public: &TpmsNvPublic, kind| public.nv_index.0.kind() == Some(kind);
        match TpmHandle(u32::from(handle_type) << 24).kind() {
            Some(TpmHt::NvIndex) => {
                let (rest, public) = TpmsNvPublic::parse(rest)?;
                if of_type(&public, TpmHt::NvIndex) {
                    Ok((rest, Self::NvIndex(public)))
                } else {
                    refuse(Rc::VALUE)
                }
            }
            Some(TpmHt::ExternalNv) => {
                let (rest, public) = TpmsNvPublicExpAttr::parse(rest)?;
                Ok((rest, Self::ExternalNv(public)))
            }
            Some(TpmHt::PermanentNv) => {
                let (rest, public) = TpmsNvPublic::parse(rest)?;
                if of_type(&public, TpmHt::PermanentNv) {
                    Ok((rest, Self::PermanentNv(public)))
                } else {
                    refuse(Rc::VALUE)
                }
            }
            _ => refuse(Rc::SELECTOR),
        }
    }
}

impl Marshal for TpmtNvPublic2 {
    fn marshal(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(self.handle().0 >> 24).unwrap_or_default());
        match self {
            Self::NvIndex(public) | Self::PermanentNv(public) => public.marshal(out),
            Self::ExternalNv(public) => public.marshal(out),
        }
    }
}

/// A sized [`TpmtNvPublic2`].
#[doc(alias = "TPM2B_NV_PUBLIC_2")]
pub type Tpm2bNvPublic2 = Tpm2b<TpmtNvPublic2>;

structure! {
    /// The value of a PIN Index (Part 2, 13.3).
    #[doc(alias = "TPMS_NV_PIN_COUNTER_PARAMETERS")]
    #[derive(Copy)]
    pub struct TpmsNvPinCounterParameters { pin_count: u32, pin_limit: u32 }
}
