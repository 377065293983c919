//! Constants of Part 2, clause 6: algorithm identifiers, structure tags, capabilities, properties and the small enumerations.

use crate::codec::{Input, Marshal, Parse, Parsed, refuse};
use crate::describe::{Describe, Stop, Value, Walker};
use crate::rc::Rc;
use alloc::vec::Vec;
use core::fmt;

/// Declares a group of named numbers that the wire carries: any number is accepted, the named ones print their name.
macro_rules! constants {
    ($(#[$meta:meta])* pub struct $type:ident($integer:ty) { $($name:ident = $value:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub $integer);

        #[allow(missing_docs, reason = "the names are those of Part 2")]
        impl $type { $(pub const $name: Self = Self($value);)* }

        impl $type {
            /// The name of the number, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                #[allow(unreachable_patterns, reason = "some numbers have two names")]
                match self { $(Self::$name => Some(stringify!($name)),)* _ => None }
            }

            /// Every number that has a name, in the order of Part 2.
            pub const NAMED: &'static [Self] = &[$(Self::$name),*];
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() { Some(name) => f.write_str(name), None => write!(f, "{:#x}", self.0) }
            }
        }

        impl Parse for $type {
            fn parse(input: Input<'_>) -> Parsed<'_, Self> {
                <$integer>::parse(input).map(|(rest, number)| (rest, Self(number)))
            }
        }

        impl Marshal for $type {
            fn marshal(&self, out: &mut Vec<u8>) { self.0.marshal(out); }
        }

        impl Describe for $type {
            fn describe(walker: &mut Walker<'_>) -> Result<Value, Stop> {
                let number = walker.number(size_of::<$integer>())?;
                let name = <$integer>::try_from(number).ok().and_then(|number| Self(number).name());
                Ok(crate::describe::constant(stringify!($type), number, name))
            }
        }
    };
}

/// Declares an interface type: the numbers of a constants group that one field accepts, as an enum.
macro_rules! interface {
    ($(#[$meta:meta])* pub enum $type:ident($base:ident) refuses $rc:ident { $($arm:ident = $name:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "an arm is named after its number")]
        pub enum $type { $($arm),* }

        impl $type {
            /// Every value, in the order of Part 2.
            pub const ALL: &'static [Self] = &[$(Self::$arm),*];

            /// The number on the wire.
            #[must_use]
            pub const fn id(self) -> $base {
                match self { $(Self::$arm => $base::$name),* }
            }

            /// The value with this number.
            #[must_use]
            pub const fn from_id(id: $base) -> Option<Self> {
                match id { $($base::$name => Some(Self::$arm),)* _ => None }
            }
        }

        impl From<$type> for $base {
            fn from(value: $type) -> Self { value.id() }
        }

        impl Marshal for $type {
            fn marshal(&self, out: &mut Vec<u8>) { self.id().marshal(out); }
        }

        impl Parse for $type {
            fn parse(input: Input<'_>) -> Parsed<'_, Self> {
                let (rest, id) = $base::parse(input)?;
                match Self::from_id(id) {
                    Some(value) if id.is_implemented(input.limits) => Ok((rest, value)),
                    _ => refuse(Rc::$rc),
                }
            }
        }

        impl $crate::describe::Describe for $type {
            fn describe(walker: &mut $crate::describe::Walker<'_>) -> Result<$crate::describe::Value, $crate::describe::Stop> {
                <$base as $crate::describe::Describe>::describe(walker)
            }
        }
    };
}

pub(crate) use interface;

constants! {
    /// Algorithm identifiers (Part 2, 6.3).
    #[doc(alias = "TPM_ALG_ID")]
    pub struct TpmAlgId(u16) {
        ERROR = 0x0000;
        RSA = 0x0001;
        TDES = 0x0003;
        SHA1 = 0x0004;
        HMAC = 0x0005;
        AES = 0x0006;
        MGF1 = 0x0007;
        KEYEDHASH = 0x0008;
        XOR = 0x000A;
        SHA256 = 0x000B;
        SHA384 = 0x000C;
        SHA512 = 0x000D;
        NULL = 0x0010;
        SM3_256 = 0x0012;
        SM4 = 0x0013;
        RSASSA = 0x0014;
        RSAES = 0x0015;
        RSAPSS = 0x0016;
        OAEP = 0x0017;
        ECDSA = 0x0018;
        ECDH = 0x0019;
        ECDAA = 0x001A;
        SM2 = 0x001B;
        ECSCHNORR = 0x001C;
        ECMQV = 0x001D;
        KDF1_SP800_56A = 0x0020;
        KDF2 = 0x0021;
        KDF1_SP800_108 = 0x0022;
        ECC = 0x0023;
        SYMCIPHER = 0x0025;
        CAMELLIA = 0x0026;
        SHA3_256 = 0x0027;
        SHA3_384 = 0x0028;
        SHA3_512 = 0x0029;
        CMAC = 0x003F;
        CTR = 0x0040;
        OFB = 0x0041;
        CBC = 0x0042;
        CFB = 0x0043;
        ECB = 0x0044;
    }
}

constants! {
    /// Curves (Part 2, 6.4).
    #[doc(alias = "TPM_ECC_CURVE")]
    pub struct TpmEccCurve(u16) {
        NONE = 0x0000;
        NIST_P192 = 0x0001;
        NIST_P224 = 0x0002;
        NIST_P256 = 0x0003;
        NIST_P384 = 0x0004;
        NIST_P521 = 0x0005;
        BN_P256 = 0x0010;
        BN_P638 = 0x0011;
        SM2_P256 = 0x0020;
    }
}

constants! {
    /// Structure tags (Part 2, 6.9).
    #[doc(alias = "TPM_ST")]
    pub struct TpmSt(u16) {
        RSP_COMMAND = 0x00C4;
        NULL = 0x8000;
        NO_SESSIONS = 0x8001;
        SESSIONS = 0x8002;
        ATTEST_NV = 0x8014;
        ATTEST_COMMAND_AUDIT = 0x8015;
        ATTEST_SESSION_AUDIT = 0x8016;
        ATTEST_CERTIFY = 0x8017;
        ATTEST_QUOTE = 0x8018;
        ATTEST_TIME = 0x8019;
        ATTEST_CREATION = 0x801A;
        ATTEST_NV_DIGEST = 0x801C;
        CREATION = 0x8021;
        VERIFIED = 0x8022;
        AUTH_SECRET = 0x8023;
        HASHCHECK = 0x8024;
        AUTH_SIGNED = 0x8025;
        FU_MANIFEST = 0x8029;
    }
}

constants! {
    /// Capabilities (Part 2, 6.12).
    #[doc(alias = "TPM_CAP")]
    pub struct TpmCap(u32) {
        ALGS = 0x0;
        HANDLES = 0x1;
        COMMANDS = 0x2;
        PP_COMMANDS = 0x3;
        AUDIT_COMMANDS = 0x4;
        PCRS = 0x5;
        TPM_PROPERTIES = 0x6;
        PCR_PROPERTIES = 0x7;
        ECC_CURVES = 0x8;
        AUTH_POLICIES = 0x9;
        ACT = 0xA;
        PUB_KEYS = 0xB;
        SPDM_SESSION_INFO = 0xC;
        VENDOR_PROPERTY = 0x100;
    }
}

constants! {
    /// Property tags (Part 2, 6.13).
    #[doc(alias = "TPM_PT")]
    pub struct TpmPt(u32) {
        NONE = 0x000;
        FAMILY_INDICATOR = 0x100;
        LEVEL = 0x101;
        REVISION = 0x102;
        DAY_OF_YEAR = 0x103;
        YEAR = 0x104;
        MANUFACTURER = 0x105;
        VENDOR_STRING_1 = 0x106;
        VENDOR_STRING_2 = 0x107;
        VENDOR_STRING_3 = 0x108;
        VENDOR_STRING_4 = 0x109;
        VENDOR_TPM_TYPE = 0x10A;
        FIRMWARE_VERSION_1 = 0x10B;
        FIRMWARE_VERSION_2 = 0x10C;
        INPUT_BUFFER = 0x10D;
        HR_TRANSIENT_MIN = 0x10E;
        HR_PERSISTENT_MIN = 0x10F;
        HR_LOADED_MIN = 0x110;
        ACTIVE_SESSIONS_MAX = 0x111;
        PCR_COUNT = 0x112;
        PCR_SELECT_MIN = 0x113;
        CONTEXT_GAP_MAX = 0x114;
        NV_COUNTERS_MAX = 0x116;
        NV_INDEX_MAX = 0x117;
        MEMORY = 0x118;
        CLOCK_UPDATE = 0x119;
        CONTEXT_HASH = 0x11A;
        CONTEXT_SYM = 0x11B;
        CONTEXT_SYM_SIZE = 0x11C;
        ORDERLY_COUNT = 0x11D;
        MAX_COMMAND_SIZE = 0x11E;
        MAX_RESPONSE_SIZE = 0x11F;
        MAX_DIGEST = 0x120;
        MAX_OBJECT_CONTEXT = 0x121;
        MAX_SESSION_CONTEXT = 0x122;
        PS_FAMILY_INDICATOR = 0x123;
        PS_LEVEL = 0x124;
        PS_REVISION = 0x125;
        PS_DAY_OF_YEAR = 0x126;
        PS_YEAR = 0x127;
        SPLIT_MAX = 0x128;
        TOTAL_COMMANDS = 0x129;
        LIBRARY_COMMANDS = 0x12A;
        VENDOR_COMMANDS = 0x12B;
        NV_BUFFER_MAX = 0x12C;
        MODES = 0x12D;
        MAX_CAP_BUFFER = 0x12E;
        FIRMWARE_SVN = 0x12F;
        FIRMWARE_MAX_SVN = 0x130;
        PERMANENT = 0x200;
        STARTUP_CLEAR = 0x201;
        HR_NV_INDEX = 0x202;
        HR_LOADED = 0x203;
        HR_LOADED_AVAIL = 0x204;
        HR_ACTIVE = 0x205;
        HR_ACTIVE_AVAIL = 0x206;
        HR_TRANSIENT_AVAIL = 0x207;
        HR_PERSISTENT = 0x208;
        HR_PERSISTENT_AVAIL = 0x209;
        NV_COUNTERS = 0x20A;
        NV_COUNTERS_AVAIL = 0x20B;
        ALGORITHM_SET = 0x20C;
        LOADED_CURVES = 0x20D;
        LOCKOUT_COUNTER = 0x20E;
        MAX_AUTH_FAIL = 0x20F;
        LOCKOUT_INTERVAL = 0x210;
        LOCKOUT_RECOVERY = 0x211;
        NV_WRITE_RECOVERY = 0x212;
        AUDIT_COUNTER_0 = 0x213;
        AUDIT_COUNTER_1 = 0x214;
    }
}

constants! {
    /// PCR properties (Part 2, 6.14).
    #[doc(alias = "TPM_PT_PCR")]
    pub struct TpmPtPcr(u32) {
        SAVE = 0x00;
        EXTEND_L0 = 0x01;
        RESET_L0 = 0x02;
        EXTEND_L1 = 0x03;
        RESET_L1 = 0x04;
        EXTEND_L2 = 0x05;
        RESET_L2 = 0x06;
        EXTEND_L3 = 0x07;
        RESET_L3 = 0x08;
        EXTEND_L4 = 0x09;
        RESET_L4 = 0x0A;
        NO_INCREMENT = 0x11;
        DRTM_RESET = 0x12;
        POLICY = 0x13;
        AUTH = 0x14;
    }
}

constants! {
    /// Startup types (Part 2, 6.10).
    pub struct TpmSuId(u16) {
        CLEAR = 0x0000;
        STATE = 0x0001;
    }
}

constants! {
    /// Session types (Part 2, 6.11).
    pub struct TpmSeId(u8) {
        HMAC = 0x00;
        POLICY = 0x01;
        TRIAL = 0x03;
    }
}

constants! {
    /// Arithmetic operations (Part 2, 6.8).
    pub struct TpmEoId(u16) {
        EQ = 0x0000;
        NEQ = 0x0001;
        SIGNED_GT = 0x0002;
        UNSIGNED_GT = 0x0003;
        SIGNED_LT = 0x0004;
        UNSIGNED_LT = 0x0005;
        SIGNED_GE = 0x0006;
        UNSIGNED_GE = 0x0007;
        SIGNED_LE = 0x0008;
        UNSIGNED_LE = 0x0009;
        BITSET = 0x000A;
        BITCLEAR = 0x000B;
    }
}

constants! {
    /// Clock rate steps (Part 2, 6.7), as their bytes.
    pub struct TpmClockAdjustId(u8) {
        COARSE_SLOWER = 0xFD;
        MEDIUM_SLOWER = 0xFE;
        FINE_SLOWER = 0xFF;
        NO_CHANGE = 0x00;
        FINE_FASTER = 0x01;
        MEDIUM_FASTER = 0x02;
        COARSE_FASTER = 0x03;
    }
}

constants! {
    /// Attached component capabilities (Part 2, 16.1).
    #[doc(alias = "TPM_AT")]
    pub struct TpmAt(u32) {
        ANY = 0x0;
        ERROR = 0x1;
        PV1 = 0x2;
        VEND = 0x8000_0000;
    }
}

/// `TPM_GENERATED_VALUE`: the first word of every structure that a TPM signs of its own (Part 2, 6.2).
pub const TPM_GENERATED: u32 = 0xFF54_4347;

use crate::codec::Limits;

impl TpmAlgId {
    pub(crate) const fn is_implemented(self, limits: &Limits) -> bool {
        limits.has_algorithm(self)
    }
}

impl TpmEccCurve {
    pub(crate) const fn is_implemented(self, limits: &Limits) -> bool {
        limits.has_curve(self.0)
    }
}

macro_rules! always_implemented {
    ($($type:ident),*) => {$(
        impl $type {
            pub(crate) const fn is_implemented(self, _: &Limits) -> bool {
                true
            }
        }
    )*};
}

always_implemented!(TpmSuId, TpmSeId, TpmEoId, TpmClockAdjustId);

interface! {
    /// How the TPM starts or stops (Part 2, 6.10).
    #[doc(alias = "TPM_SU")]
    pub enum TpmSu(TpmSuId) refuses VALUE { Clear = CLEAR, State = STATE }
}

interface! {
    /// Kind of a session to start (Part 2, 6.11).
    #[doc(alias = "TPM_SE")]
    pub enum TpmSe(TpmSeId) refuses VALUE { Hmac = HMAC, Policy = POLICY, Trial = TRIAL }
}

interface! {
    /// A comparison of a policy (Part 2, 6.8).
    #[doc(alias = "TPM_EO")]
    pub enum TpmEo(TpmEoId) refuses VALUE {
        Eq = EQ, Neq = NEQ, SignedGt = SIGNED_GT, UnsignedGt = UNSIGNED_GT, SignedLt = SIGNED_LT, UnsignedLt = UNSIGNED_LT,
        SignedGe = SIGNED_GE, UnsignedGe = UNSIGNED_GE, SignedLe = SIGNED_LE, UnsignedLe = UNSIGNED_LE,
        Bitset = BITSET, Bitclear = BITCLEAR,
    }
}

interface! {
    /// A step of the clock's rate (Part 2, 6.7).
    #[doc(alias = "TPM_CLOCK_ADJUST")]
    pub enum TpmClockAdjust(TpmClockAdjustId) refuses VALUE {
        CoarseSlower = COARSE_SLOWER, MediumSlower = MEDIUM_SLOWER, FineSlower = FINE_SLOWER, NoChange = NO_CHANGE,
        FineFaster = FINE_FASTER, MediumFaster = MEDIUM_FASTER, CoarseFaster = COARSE_FASTER,
    }
}
