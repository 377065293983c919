//! Handles and the interface types that say which of them a field accepts (Part 2, 7 and 9).

use crate::codec::{Input, Limits, Marshal, Nullable, Parse, Parsed, refuse};
use crate::describe::{Describe, Stop, Value, Walker};
use crate::rc::Rc;
use alloc::vec::Vec;
use core::fmt;

/// `TPM_HANDLE`: the name by which a command refers to an entity.
#[doc(alias = "TPM_HANDLE")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TpmHandle(pub u32);

/// `TPM_HT`: what a handle's most significant byte says of it (Part 2, 7.2).
#[doc(alias = "TPM_HT")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Part 2")]
pub enum TpmHt {
    Pcr,
    NvIndex,
    HmacSession,
    PolicySession,
    ExternalNv,
    PermanentNv,
    Permanent,
    Transient,
    Persistent,
    Ac,
}

impl TpmHt {
    /// The first handle of the type.
    #[must_use]
    pub const fn first(self) -> TpmHandle {
        TpmHandle(match self {
            Self::Pcr => 0x0000_0000,
            Self::NvIndex => 0x0100_0000,
            Self::HmacSession => 0x0200_0000,
            Self::PolicySession => 0x0300_0000,
            Self::ExternalNv => 0x1100_0000,
            Self::PermanentNv => 0x1200_0000,
            Self::Permanent => 0x4000_0000,
            Self::Transient => 0x8000_0000,
            Self::Persistent => 0x8100_0000,
            Self::Ac => 0x9000_0000,
        })
    }

    /// Handle `index` of the type.
    #[must_use]
    pub const fn handle(self, index: u32) -> TpmHandle {
        TpmHandle(self.first().0 | (index & 0x00FF_FFFF))
    }
}

#[expect(missing_docs, reason = "the names are those of Part 2, table 28")]
impl TpmHandle {
    pub const OWNER: Self = Self(0x4000_0001);
    pub const NULL: Self = Self(0x4000_0007);
    pub const UNASSIGNED: Self = Self(0x4000_0008);
    pub const PASSWORD: Self = Self(0x4000_0009);
    pub const LOCKOUT: Self = Self(0x4000_000A);
    pub const ENDORSEMENT: Self = Self(0x4000_000B);
    pub const PLATFORM: Self = Self(0x4000_000C);
    pub const PLATFORM_NV: Self = Self(0x4000_000D);
    pub const ACT_0: Self = Self(0x4000_0110);
    pub const FW_OWNER: Self = Self(0x4000_0140);
    pub const FW_ENDORSEMENT: Self = Self(0x4000_0141);
    pub const FW_PLATFORM: Self = Self(0x4000_0142);
    pub const FW_NULL: Self = Self(0x4000_0143);
    pub const SVN_OWNER_BASE: Self = Self(0x4001_0000);
    pub const SVN_ENDORSEMENT_BASE: Self = Self(0x4002_0000);
    pub const SVN_PLATFORM_BASE: Self = Self(0x4003_0000);
    pub const SVN_NULL_BASE: Self = Self(0x4004_0000);
}

impl TpmHandle {
    /// The type in the most significant byte; `None` for a byte that Part 2 does not name.
    #[must_use]
    pub const fn kind(self) -> Option<TpmHt> {
        Some(match self.0 >> 24 {
            0x00 => TpmHt::Pcr,
            0x01 => TpmHt::NvIndex,
            0x02 => TpmHt::HmacSession,
            0x03 => TpmHt::PolicySession,
            0x11 => TpmHt::ExternalNv,
            0x12 => TpmHt::PermanentNv,
            0x40 => TpmHt::Permanent,
            0x80 => TpmHt::Transient,
            0x81 => TpmHt::Persistent,
            0x90 => TpmHt::Ac,
            _ => return None,
        })
    }

    /// The low 24 bits.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 & 0x00FF_FFFF
    }

    /// Whether the handle names an HMAC, policy or trial session.
    #[must_use]
    pub const fn is_session(self) -> bool {
        matches!(self.kind(), Some(TpmHt::HmacSession | TpmHt::PolicySession))
    }

    /// Whether the handle names an NV Index of any kind.
    #[must_use]
    pub const fn is_nv_index(self) -> bool {
        matches!(
            self.kind(),
            Some(TpmHt::NvIndex | TpmHt::ExternalNv | TpmHt::PermanentNv)
        )
    }

    const fn is_object(self, limits: &Limits) -> bool {
        match self.kind() {
            Some(TpmHt::Transient) => self.index() < limits.transient_objects,
            Some(TpmHt::Persistent) => true,
            _ => false,
        }
    }

    const fn is_active_session(self, limits: &Limits) -> bool {
        self.is_session() && self.index() < limits.active_sessions
    }

    const fn is_pcr(self, limits: &Limits) -> bool {
        matches!(self.kind(), Some(TpmHt::Pcr)) && self.index() < limits.pcr_count
    }

    const fn is_base_hierarchy(self) -> bool {
        matches!(self, Self::OWNER | Self::ENDORSEMENT | Self::PLATFORM)
    }

    const fn is_limited_hierarchy(self) -> bool {
        matches!(self.0, 0x4000_0140..=0x4000_0142 | 0x4001_0000..=0x4003_FFFF)
    }

    const fn is_act(self, limits: &Limits) -> bool {
        self.0 >= Self::ACT_0.0 && self.0 < Self::ACT_0.0 + limits.act_count
    }
}

impl fmt::Debug for TpmHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::OWNER => "OWNER",
            Self::NULL => "NULL",
            Self::PASSWORD => "PASSWORD",
            Self::LOCKOUT => "LOCKOUT",
            Self::ENDORSEMENT => "ENDORSEMENT",
            Self::PLATFORM => "PLATFORM",
            Self::PLATFORM_NV => "PLATFORM_NV",
            _ => return write!(f, "{:#010x}", self.0),
        })
    }
}

impl Parse for TpmHandle {
    fn parse(input: Input<'_>) -> Parsed<'_, Self> {
        u32::parse(input).map(|(rest, handle)| (rest, Self(handle)))
    }
}

impl Marshal for TpmHandle {
    fn marshal(&self, out: &mut Vec<u8>) {
        self.0.marshal(out);
    }
}

/// A field of the handle area: any interface type of handles.
pub trait HandleField {
    /// The handle; `TPM_RH_NULL` for an absent optional one.
    fn handle(&self) -> TpmHandle;

    /// The field's value from a handle that its parser accepted.
    fn from_handle(handle: TpmHandle) -> Self;
}

impl HandleField for TpmHandle {
    fn handle(&self) -> TpmHandle {
        *self
    }

    fn from_handle(handle: TpmHandle) -> Self {
        handle
    }
}

impl<T: HandleField> HandleField for Option<T> {
    fn handle(&self) -> TpmHandle {
        self.as_ref().map_or(TpmHandle::NULL, HandleField::handle)
    }

    fn from_handle(handle: TpmHandle) -> Self {
        (handle != TpmHandle::NULL).then(|| T::from_handle(handle))
    }
}

/// Declares an interface type of handles: a handle that one field accepts, by the rule given; others are `TPM_RC_VALUE`.
macro_rules! handle_interface {
    ($($(#[$meta:meta])* $type:ident = |$handle:ident, $limits:ident| $accepts:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $type(pub TpmHandle);

        impl Parse for $type {
            fn parse(input: Input<'_>) -> Parsed<'_, Self> {
                let (rest, $handle) = TpmHandle::parse(input)?;
                let $limits = input.limits;
                let _ = $limits;
                if $accepts { Ok((rest, Self($handle))) } else { refuse(Rc::VALUE) }
            }
        }

        impl Marshal for $type {
            fn marshal(&self, out: &mut Vec<u8>) { self.0.marshal(out); }
        }

        impl Describe for $type {
            fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> { TpmHandle::describe(walker) }
        }

        impl Nullable for $type {
            const NULL: &'static [u8] = &[0x40, 0x00, 0x00, 0x07];
        }

        impl HandleField for $type {
            fn handle(&self) -> TpmHandle { self.0 }
            fn from_handle(handle: TpmHandle) -> Self { Self(handle) }
        }

        impl From<TpmHandle> for $type {
            fn from(handle: TpmHandle) -> Self { Self(handle) }
        }

        impl From<$type> for TpmHandle {
            fn from(handle: $type) -> Self { handle.0 }
        }
    )*};
}

handle_interface! {
    /// A transient or persistent object (Part 2, 9.3).
    #[doc(alias = "TPMI_DH_OBJECT")]
    TpmiDhObject = |handle, limits| handle.is_object(limits);
    /// An object or a hierarchy, to create under (Part 2, 9.4).
    #[doc(alias = "TPMI_DH_PARENT")]
    TpmiDhParent = |handle, limits| handle.is_object(limits) || handle.is_base_hierarchy() || handle.is_limited_hierarchy();
    /// A persistent object (Part 2, 9.5).
    #[doc(alias = "TPMI_DH_PERSISTENT")]
    TpmiDhPersistent = |handle, limits| matches!(handle.kind(), Some(TpmHt::Persistent));
    /// Anything that has an authorization value (Part 2, 9.6).
    #[doc(alias = "TPMI_DH_ENTITY")]
    TpmiDhEntity = |handle, limits| handle.is_object(limits)
        || handle.is_nv_index() || handle.is_pcr(limits) || handle.is_base_hierarchy() || handle == TpmHandle::LOCKOUT
        || matches!(handle.0, 0x4000_0010..=0x4000_010F);
    /// A PCR (Part 2, 9.7).
    #[doc(alias = "TPMI_DH_PCR")]
    TpmiDhPcr = |handle, limits| handle.is_pcr(limits);
    /// An authorization session or a password (Part 2, 9.8).
    #[doc(alias = "TPMI_SH_AUTH_SESSION")]
    TpmiShAuthSession = |handle, limits| handle.is_active_session(limits) || handle == TpmHandle::PASSWORD;
    /// An HMAC session (Part 2, 9.9).
    #[doc(alias = "TPMI_SH_HMAC")]
    TpmiShHmac = |handle, limits| matches!(handle.kind(), Some(TpmHt::HmacSession)) && handle.is_active_session(limits);
    /// A policy or trial session (Part 2, 9.10).
    #[doc(alias = "TPMI_SH_POLICY")]
    TpmiShPolicy = |handle, limits| matches!(handle.kind(), Some(TpmHt::PolicySession)) && handle.is_active_session(limits);
    /// What can be saved, loaded or flushed (Part 2, 9.11).
    #[doc(alias = "TPMI_DH_CONTEXT")]
    TpmiDhContext = |handle, limits| handle.is_active_session(limits)
        || matches!(handle.kind(), Some(TpmHt::Transient)) && handle.is_object(limits);
    /// What a saved context was (Part 2, 9.12).
    #[doc(alias = "TPMI_DH_SAVED")]
    TpmiDhSaved = |handle, limits| handle.is_active_session(limits) || matches!(handle.0, 0x8000_0000..=0x8000_0002);
    /// A hierarchy (Part 2, 9.13).
    #[doc(alias = "TPMI_RH_HIERARCHY")]
    TpmiRhHierarchy = |handle, limits| handle.is_base_hierarchy() || handle.is_limited_hierarchy();
    /// What `TPM2_HierarchyControl` switches (Part 2, 9.14).
    #[doc(alias = "TPMI_RH_ENABLES")]
    TpmiRhEnables = |handle, limits| handle.is_base_hierarchy() || handle == TpmHandle::PLATFORM_NV;
    /// What has an authorization value that can be changed (Part 2, 9.15).
    #[doc(alias = "TPMI_RH_HIERARCHY_AUTH")]
    TpmiRhHierarchyAuth = |handle, limits| handle.is_base_hierarchy() || handle == TpmHandle::LOCKOUT;
    /// What has an authorization policy that can be changed (Part 2, 9.16).
    #[doc(alias = "TPMI_RH_HIERARCHY_POLICY")]
    TpmiRhHierarchyPolicy = |handle, limits| handle.is_base_hierarchy() || handle == TpmHandle::LOCKOUT || handle.is_act(limits);
    /// One of the three hierarchies that exist by themselves (Part 2, 9.17).
    #[doc(alias = "TPMI_RH_BASE_HIERARCHY")]
    TpmiRhBaseHierarchy = |handle, limits| handle.is_base_hierarchy();
    /// The platform (Part 2, 9.18).
    #[doc(alias = "TPMI_RH_PLATFORM")]
    TpmiRhPlatform = |handle, limits| handle == TpmHandle::PLATFORM;
    /// The owner (Part 2, 9.19).
    #[doc(alias = "TPMI_RH_OWNER")]
    TpmiRhOwner = |handle, limits| handle == TpmHandle::OWNER;
    /// The privacy administrator (Part 2, 9.20).
    #[doc(alias = "TPMI_RH_ENDORSEMENT")]
    TpmiRhEndorsement = |handle, limits| handle == TpmHandle::ENDORSEMENT;
    /// Who may allocate persistent resources (Part 2, 9.21).
    #[doc(alias = "TPMI_RH_PROVISION")]
    TpmiRhProvision = |handle, limits| matches!(handle, TpmHandle::OWNER | TpmHandle::PLATFORM);
    /// Who may clear the TPM (Part 2, 9.22).
    #[doc(alias = "TPMI_RH_CLEAR")]
    TpmiRhClear = |handle, limits| matches!(handle, TpmHandle::LOCKOUT | TpmHandle::PLATFORM);
    /// Who may authorize the use of an NV Index (Part 2, 9.23).
    #[doc(alias = "TPMI_RH_NV_AUTH")]
    TpmiRhNvAuth = |handle, limits| matches!(handle, TpmHandle::OWNER | TpmHandle::PLATFORM) || handle.is_nv_index();
    /// The lockout administrator (Part 2, 9.24).
    #[doc(alias = "TPMI_RH_LOCKOUT")]
    TpmiRhLockout = |handle, limits| handle == TpmHandle::LOCKOUT;
    /// An NV Index (Part 2, 9.25).
    #[doc(alias = "TPMI_RH_NV_INDEX")]
    TpmiRhNvIndex = |handle, limits| handle.is_nv_index();
    /// An NV Index that can be defined and undefined (Part 2, 9.26).
    #[doc(alias = "TPMI_RH_NV_DEFINED_INDEX")]
    TpmiRhNvDefinedIndex = |handle, limits| matches!(handle.kind(), Some(TpmHt::NvIndex | TpmHt::ExternalNv));
    /// An NV Index with attributes of 32 bits (Part 2, 9.27).
    #[doc(alias = "TPMI_RH_NV_LEGACY_INDEX")]
    TpmiRhNvLegacyIndex = |handle, limits| matches!(handle.kind(), Some(TpmHt::NvIndex));
    /// An NV Index with attributes of 64 bits (Part 2, 9.28).
    #[doc(alias = "TPMI_RH_NV_EXP_INDEX")]
    TpmiRhNvExpIndex = |handle, limits| matches!(handle.kind(), Some(TpmHt::ExternalNv));
    /// An attached component (Part 2, 9.29).
    #[doc(alias = "TPMI_RH_AC")]
    TpmiRhAc = |handle, limits| matches!(handle.kind(), Some(TpmHt::Ac));
    /// An authenticated countdown timer (Part 2, 9.30).
    #[doc(alias = "TPMI_RH_ACT")]
    TpmiRhAct = |handle, limits| handle.is_act(limits);
}
