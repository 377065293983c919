//! Attribute words (Part 2, 8).

use crate::codec::{Input, Marshal, Parse, Parsed, refuse};
use crate::describe::{Describe, Stop, Value, Walker};
use crate::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign};

/// Declares a word of attribute bits; a set bit outside `defined` is refused with `TPM_RC_RESERVED_BITS`.
macro_rules! attributes {
    ($(#[$meta:meta])* pub struct $type:ident($integer:ty), reserved $reserved:expr; { $($name:ident = $bit:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
        pub struct $type(pub $integer);

        #[allow(missing_docs, reason = "the names are those of Part 2")]
        impl $type { $(pub const $name: Self = Self(1 << $bit);)* }

        impl $type {
            /// No attribute.
            pub const NONE: Self = Self(0);

            /// Whether all attributes of `other` are set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool { self.0 & other.0 == other.0 }

            /// Whether any attribute of `other` is set.
            #[must_use]
            pub const fn intersects(self, other: Self) -> bool { self.0 & other.0 != 0 }

            /// The same with the attributes of `other` set.
            #[must_use]
            pub const fn with(self, other: Self) -> Self { Self(self.0 | other.0) }

            /// The same with the attributes of `other` cleared.
            #[must_use]
            pub const fn without(self, other: Self) -> Self { Self(self.0 & !other.0) }

            /// The same with the attributes of `other` set or cleared.
            #[must_use]
            pub const fn set(self, other: Self, value: bool) -> Self {
                if value { self.with(other) } else { self.without(other) }
            }
        }

        impl BitOr for $type {
            type Output = Self;
            fn bitor(self, other: Self) -> Self { Self(self.0 | other.0) }
        }

        impl BitOrAssign for $type {
            fn bitor_assign(&mut self, other: Self) { self.0 |= other.0; }
        }

        impl BitAnd for $type {
            type Output = Self;
            fn bitand(self, other: Self) -> Self { Self(self.0 & other.0) }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut separator = "";
                $(if self.contains(Self::$name) {
                    write!(f, "{separator}{}", stringify!($name))?;
                    separator = "|";
                })*
                if separator.is_empty() { write!(f, "{:#x}", self.0) } else { Ok(()) }
            }
        }

        impl Parse for $type {
            fn parse(input: Input<'_>) -> Parsed<'_, Self> {
                const RESERVED: $integer = $reserved;
                let (rest, bits) = <$integer>::parse(input)?;
                if bits | !RESERVED != !RESERVED { return refuse(Rc::RESERVED_BITS); }
                Ok((rest, Self(bits)))
            }
        }

        impl Marshal for $type {
            fn marshal(&self, out: &mut Vec<u8>) { self.0.marshal(out); }
        }

        impl Describe for $type {
            fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
                let number = walker.number(size_of::<$integer>())?;
                let bits = Self(<$integer>::try_from(number).unwrap_or_default());
                let named = Self(0 $(| Self::$name.0)*);
                let names = if bits.intersects(named) { alloc::format!("{bits:?}") } else { String::new() };
                let text = crate::describe::attribute_text(stringify!($type), number, u64::from(named.0), &names);
                Ok(Value::Named(number, text))
            }
        }
    };
}

attributes! {
    /// Object attributes (Part 2, 8.3).
    #[doc(alias = "TPMA_OBJECT")]
    pub struct TpmaObject(u32), reserved 0xFFF0_F001; {
        FIXED_TPM = 1;
        ST_CLEAR = 2;
        FIXED_PARENT = 4;
        SENSITIVE_DATA_ORIGIN = 5;
        USER_WITH_AUTH = 6;
        ADMIN_WITH_POLICY = 7;
        FIRMWARE_LIMITED = 8;
        SVN_LIMITED = 9;
        NO_DA = 10;
        ENCRYPTED_DUPLICATION = 11;
        RESTRICTED = 16;
        DECRYPT = 17;
        SIGN = 18;
        X509_SIGN = 19;
    }
}

impl TpmaObject {
    /// `sign` under its other name, for symmetric ciphers.
    pub const ENCRYPT: Self = Self::SIGN;
}

attributes! {
    /// Session attributes (Part 2, 8.4).
    #[doc(alias = "TPMA_SESSION")]
    pub struct TpmaSession(u8), reserved 0x18; {
        CONTINUE_SESSION = 0;
        AUDIT_EXCLUSIVE = 1;
        AUDIT_RESET = 2;
        DECRYPT = 5;
        ENCRYPT = 6;
        AUDIT = 7;
    }
}

attributes! {
    /// Localities as bits 0 to 4; larger numbers are extended localities (Part 2, 8.5).
    #[doc(alias = "TPMA_LOCALITY")]
    pub struct TpmaLocality(u8), reserved 0x00; {
        ZERO = 0;
        ONE = 1;
        TWO = 2;
        THREE = 3;
        FOUR = 4;
    }
}

attributes! {
    /// Permanent flags (Part 2, 8.6).
    #[doc(alias = "TPMA_PERMANENT")]
    pub struct TpmaPermanent(u32), reserved 0xFFFF_F8F8; {
        OWNER_AUTH_SET = 0;
        ENDORSEMENT_AUTH_SET = 1;
        LOCKOUT_AUTH_SET = 2;
        DISABLE_CLEAR = 8;
        IN_LOCKOUT = 9;
        TPM_GENERATED_EPS = 10;
    }
}

attributes! {
    /// Flags that `TPM2_Startup(CLEAR)` sets (Part 2, 8.7).
    #[doc(alias = "TPMA_STARTUP_CLEAR")]
    pub struct TpmaStartupClear(u32), reserved 0x7FFF_FFE0; {
        PH_ENABLE = 0;
        SH_ENABLE = 1;
        EH_ENABLE = 2;
        PH_ENABLE_NV = 3;
        READ_ONLY = 4;
        ORDERLY = 31;
    }
}

attributes! {
    /// What an algorithm is (Part 2, 8.2).
    #[doc(alias = "TPMA_ALGORITHM")]
    pub struct TpmaAlgorithm(u32), reserved 0xFFFF_F8F0; {
        ASYMMETRIC = 0;
        SYMMETRIC = 1;
        HASH = 2;
        OBJECT = 3;
        SIGNING = 8;
        ENCRYPTING = 9;
        METHOD = 10;
    }
}

attributes! {
    /// NV Index attributes (Part 2, 13.4); bits 4 to 7 hold the type.
    #[doc(alias = "TPMA_NV")]
    pub struct TpmaNv(u32), reserved 0x01F0_0300; {
        PPWRITE = 0;
        OWNERWRITE = 1;
        AUTHWRITE = 2;
        POLICYWRITE = 3;
        POLICY_DELETE = 10;
        WRITELOCKED = 11;
        WRITEALL = 12;
        WRITEDEFINE = 13;
        WRITE_STCLEAR = 14;
        GLOBALLOCK = 15;
        PPREAD = 16;
        OWNERREAD = 17;
        AUTHREAD = 18;
        POLICYREAD = 19;
        NO_DA = 25;
        ORDERLY = 26;
        CLEAR_STCLEAR = 27;
        READLOCKED = 28;
        WRITTEN = 29;
        PLATFORMCREATE = 30;
        READ_STCLEAR = 31;
    }
}

attributes! {
    /// NV Index attributes of 64 bits: those of [`TpmaNv`] and three for external memory (Part 2, 13.5).
    #[doc(alias = "TPMA_NV_EXP")]
    pub struct TpmaNvExp(u64), reserved 0xFFFF_FFF8_01F0_0300; {
        EXTERNAL_NV_ENCRYPTION = 32;
        EXTERNAL_NV_INTEGRITY = 33;
        EXTERNAL_NV_ANTIROLLBACK = 34;
    }
}

attributes! {
    /// Command attributes (Part 2, 8.9); the low 16 bits hold the command index, bits 25 to 27 the number of handles.
    #[doc(alias = "TPMA_CC")]
    pub struct TpmaCc(u32), reserved 0xC000_0000 | 0x003F_0000; {
        NV = 22;
        EXTENSIVE = 23;
        FLUSHED = 24;
        R_HANDLE = 28;
        V = 29;
    }
}

attributes! {
    /// Standards that the TPM was built for (Part 2, 8.11).
    #[doc(alias = "TPMA_MODES")]
    pub struct TpmaModes(u32), reserved 0xFFFF_FFFC; {
        FIPS_140_2 = 0;
        FIPS_140_3 = 1;
    }
}

attributes! {
    /// State of an authenticated countdown timer (Part 2, 8.12).
    #[doc(alias = "TPMA_ACT")]
    pub struct TpmaAct(u32), reserved 0xFFFF_FFFC; {
        SIGNALED = 0;
        PRESERVE_SIGNALED = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{TpmaNv, TpmaObject};
    use crate::codec::{Limits, parse_all};
    use crate::rc::Rc;

    #[test]
    fn reserved_bits_are_refused() {
        assert_eq!(
            parse_all::<TpmaObject>(&[0, 0, 0, 1], &Limits::ALL),
            Err(Rc::RESERVED_BITS)
        );
        assert_eq!(
            parse_all::<TpmaNv>(&[0, 0, 1, 0], &Limits::ALL),
            Err(Rc::RESERVED_BITS)
        );
    }
}
