//! Response codes (Part 2, 6.6) and the place in a command that one points at.

use core::fmt;

/// `TPM_RC`: what the TPM answers, `0` for success.
#[doc(alias = "TPM_RC")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rc(u32);

/// Which handle, session or parameter of a command a format-one response code is about (Part 1, 39.4 and Part 2, 6.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(u32);

const FORMAT_ONE: u32 = 0x080;
const PARAMETER: u32 = 0x040;
const SESSION: u32 = 0x800;

impl Position {
    /// The `number`-th handle, counted from 1.
    #[must_use]
    pub const fn handle(number: u8) -> Self {
        Self(((number as u32) & 0x7) << 8)
    }

    /// The `number`-th session, counted from 1.
    #[must_use]
    pub const fn session(number: u8) -> Self {
        Self(SESSION | (((number as u32) & 0x7) << 8))
    }

    /// The `number`-th parameter, counted from 1.
    #[must_use]
    pub const fn parameter(number: u8) -> Self {
        Self(PARAMETER | (((number as u32) & 0xF) << 8))
    }
}

impl Rc {
    /// A response code from its number on the wire.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether the code has a place for a handle, session or parameter number.
    #[must_use]
    pub const fn is_format_one(self) -> bool {
        self.0 & FORMAT_ONE != 0
    }

    /// The code without the place it points at.
    #[must_use]
    pub const fn base(self) -> Self {
        if self.is_format_one() {
            Self(self.0 & 0xBF)
        } else {
            self
        }
    }

    /// The same code, pointing at `position`. Codes that have no room for a position, or have one already, stay as they are.
    #[must_use]
    pub const fn at(self, position: Position) -> Self {
        if self.is_format_one() && self.0 & !0xBF == 0 {
            Self(self.0 | position.0)
        } else {
            self
        }
    }

    /// `TPM_RC_REFERENCE_H0` and following: the `index`-th handle (from 0) is not loaded.
    #[must_use]
    pub const fn reference_handle(index: u8) -> Self {
        Self(0x910 + (index as u32 & 0x7))
    }

    /// `TPM_RC_REFERENCE_S0` and following: the `index`-th session (from 0) is not loaded.
    #[must_use]
    pub const fn reference_session(index: u8) -> Self {
        Self(0x918 + (index as u32 & 0x7))
    }

    /// The name of the base code, without `TPM_RC_`; `None` for a number that no specification names.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let base = self.base();
        NAMES
            .iter()
            .find(|(code, _)| *code == base)
            .map(|(_, name)| *name)
    }

    /// The handle, session or parameter that the code points at, as words: `handle 1`, `session 2`, `parameter 3`.
    #[must_use]
    pub const fn place(self) -> Option<(&'static str, u8)> {
        if !self.is_format_one() {
            return None;
        }
        let number = ((self.0 >> 8) & 0xF) as u8;
        match (self.0 & PARAMETER != 0, self.0 & SESSION != 0, number) {
            (true, _, 1..) => Some(("parameter", number)),
            (false, true, _) => Some(("session", number & 0x7)),
            (false, false, 1..) => Some(("handle", number)),
            _ => None,
        }
    }
}

impl fmt::Debug for Rc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Rc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "TPM_RC_{name}")?,
            None => f.write_str("unknown response code")?,
        }
        if let Some((kind, number)) = self.place() {
            write!(f, " ({kind} {number})")?;
        }
        write!(f, " [{:#05x}]", self.0)
    }
}

/// Declares each response code as an associated constant and as a row of the table of names, from one list.
macro_rules! response_codes {
    ($($name:ident = $value:expr;)*) => {
        #[expect(missing_docs, reason = "the names are those of Part 2, table 16")]
        impl Rc { $(pub const $name: Self = Self($value);)* }
        static NAMES: &[(Rc, &str)] = &[$((Rc::$name, stringify!($name)),)*];
    };
}

response_codes! {
    SUCCESS = 0x000;
    BAD_TAG = 0x01E;
    INITIALIZE = 0x100;
    FAILURE = 0x101;
    SEQUENCE = 0x103;
    PRIVATE = 0x10B;
    HMAC = 0x119;
    DISABLED = 0x120;
    EXCLUSIVE = 0x121;
    AUTH_TYPE = 0x124;
    AUTH_MISSING = 0x125;
    POLICY = 0x126;
    PCR = 0x127;
    PCR_CHANGED = 0x128;
    UPGRADE = 0x12D;
    TOO_MANY_CONTEXTS = 0x12E;
    AUTH_UNAVAILABLE = 0x12F;
    REBOOT = 0x130;
    UNBALANCED = 0x131;
    COMMAND_SIZE = 0x142;
    COMMAND_CODE = 0x143;
    AUTHSIZE = 0x144;
    AUTH_CONTEXT = 0x145;
    NV_RANGE = 0x146;
    NV_SIZE = 0x147;
    NV_LOCKED = 0x148;
    NV_AUTHORIZATION = 0x149;
    NV_UNINITIALIZED = 0x14A;
    NV_SPACE = 0x14B;
    NV_DEFINED = 0x14C;
    BAD_CONTEXT = 0x150;
    CPHASH = 0x151;
    PARENT = 0x152;
    NEEDS_TEST = 0x153;
    NO_RESULT = 0x154;
    SENSITIVE = 0x155;
    READ_ONLY = 0x156;
    ASYMMETRIC = 0x081;
    ATTRIBUTES = 0x082;
    HASH = 0x083;
    VALUE = 0x084;
    HIERARCHY = 0x085;
    KEY_SIZE = 0x087;
    MGF = 0x088;
    MODE = 0x089;
    TYPE = 0x08A;
    HANDLE = 0x08B;
    KDF = 0x08C;
    RANGE = 0x08D;
    AUTH_FAIL = 0x08E;
    NONCE = 0x08F;
    PP = 0x090;
    SCHEME = 0x092;
    SIZE = 0x095;
    SYMMETRIC = 0x096;
    TAG = 0x097;
    SELECTOR = 0x098;
    INSUFFICIENT = 0x09A;
    SIGNATURE = 0x09B;
    KEY = 0x09C;
    POLICY_FAIL = 0x09D;
    INTEGRITY = 0x09F;
    TICKET = 0x0A0;
    RESERVED_BITS = 0x0A1;
    BAD_AUTH = 0x0A2;
    EXPIRED = 0x0A3;
    POLICY_CC = 0x0A4;
    BINDING = 0x0A5;
    CURVE = 0x0A6;
    ECC_POINT = 0x0A7;
    FW_LIMITED = 0x0A8;
    SVN_LIMITED = 0x0A9;
    CHANNEL = 0x0B0;
    CHANNEL_KEY = 0x0B1;
    CONTEXT_GAP = 0x901;
    OBJECT_MEMORY = 0x902;
    SESSION_MEMORY = 0x903;
    MEMORY = 0x904;
    SESSION_HANDLES = 0x905;
    OBJECT_HANDLES = 0x906;
    LOCALITY = 0x907;
    YIELDED = 0x908;
    CANCELED = 0x909;
    TESTING = 0x90A;
    REFERENCE_H0 = 0x910;
    REFERENCE_H1 = 0x911;
    REFERENCE_H2 = 0x912;
    REFERENCE_H3 = 0x913;
    REFERENCE_H4 = 0x914;
    REFERENCE_H5 = 0x915;
    REFERENCE_H6 = 0x916;
    REFERENCE_S0 = 0x918;
    REFERENCE_S1 = 0x919;
    REFERENCE_S2 = 0x91A;
    REFERENCE_S3 = 0x91B;
    REFERENCE_S4 = 0x91C;
    REFERENCE_S5 = 0x91D;
    REFERENCE_S6 = 0x91E;
    NV_RATE = 0x920;
    LOCKOUT = 0x921;
    RETRY = 0x922;
    NV_UNAVAILABLE = 0x923;
}

#[cfg(test)]
mod tests {
    use super::{Position, Rc};
    use alloc::string::ToString;

    #[test]
    fn positions_are_coded_as_in_part_2() {
        assert_eq!(Rc::VALUE.at(Position::handle(1)).number(), 0x184);
        assert_eq!(Rc::VALUE.at(Position::parameter(2)).number(), 0x2C4);
        assert_eq!(Rc::AUTH_FAIL.at(Position::session(1)).number(), 0x98E);
        assert_eq!(Rc::NV_RANGE.at(Position::parameter(2)), Rc::NV_RANGE);
    }

    #[test]
    fn a_second_position_does_not_overwrite_the_first() {
        let first = Rc::SIZE.at(Position::parameter(3));
        assert_eq!(first.at(Position::handle(1)), first);
    }

    #[test]
    fn text_names_code_and_place() {
        assert_eq!(
            Rc::from_number(0x9A2).to_string(),
            "TPM_RC_BAD_AUTH (session 1) [0x9a2]"
        );
        assert_eq!(Rc::from_number(0x2C4).base(), Rc::VALUE);
    }
}
