//! TTLV: how KMIP writes tag, type, length and value (KMIP 1.4 specification, 9.1).
//!
//! The decoder borrows from the bytes it reads, so a key in a reply lies in one buffer only, and that buffer is wiped.

mod decode;
mod encode;

pub use decode::{MAX_DEPTH, MAX_ITEMS, TtlvError, decode};
pub use encode::encode;

use std::fmt;

/// One item: a tag and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// What the item is.
    pub tag: Tag,
    /// What it holds.
    pub value: Value<'a>,
}

/// A value of one of the ten types (KMIP 1.4, 9.1.1.2).
#[derive(Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Items, in their order.
    Structure(Vec<Item<'a>>),
    /// A 32-bit number.
    Integer(i32),
    /// A 64-bit number.
    LongInteger(i64),
    /// A number of any length, two's complement, a multiple of eight bytes.
    BigInteger(&'a [u8]),
    /// One of the values that the specification lists.
    Enumeration(u32),
    /// Yes or no.
    Boolean(bool),
    /// UTF-8 text.
    TextString(&'a str),
    /// Bytes; those of a key among them.
    ByteString(&'a [u8]),
    /// Seconds since 1970.
    DateTime(i64),
    /// Seconds.
    Interval(u32),
}

impl Value<'_> {
    /// The type in words.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Structure(_) => "structure",
            Self::Integer(_) => "integer",
            Self::LongInteger(_) => "long integer",
            Self::BigInteger(_) => "big integer",
            Self::Enumeration(_) => "enumeration",
            Self::Boolean(_) => "boolean",
            Self::TextString(_) => "text string",
            Self::ByteString(_) => "byte string",
            Self::DateTime(_) => "date-time",
            Self::Interval(_) => "interval",
        }
    }

    fn type_code(&self) -> u8 {
        match self {
            Self::Structure(_) => 1,
            Self::Integer(_) => 2,
            Self::LongInteger(_) => 3,
            Self::BigInteger(_) => 4,
            Self::Enumeration(_) => 5,
            Self::Boolean(_) => 6,
            Self::TextString(_) => 7,
            Self::ByteString(_) => 8,
            Self::DateTime(_) => 9,
            Self::Interval(_) => 10,
        }
    }
}

/// Bytes are counted, never shown: they may be those of a key.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Structure(items) => f.debug_list().entries(items).finish(),
            Self::Integer(value) => write!(f, "{value}"),
            Self::LongInteger(value) => write!(f, "{value}"),
            Self::Enumeration(value) => write!(f, "0x{value:08x}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::TextString(text) => write!(f, "{text:?}"),
            Self::BigInteger(bytes) | Self::ByteString(bytes) => {
                write!(f, "{} bytes", bytes.len())
            }
            Self::DateTime(seconds) => write!(f, "@{seconds}"),
            Self::Interval(seconds) => write!(f, "{seconds} s"),
        }
    }
}

impl<'a> Item<'a> {
    /// A structure of items.
    pub fn structure(tag: Tag, items: Vec<Self>) -> Self {
        Self::new(tag, Value::Structure(items))
    }

    /// A text string.
    pub fn text(tag: Tag, text: &'a str) -> Self {
        Self::new(tag, Value::TextString(text))
    }

    /// An integer.
    pub fn integer(tag: Tag, value: i32) -> Self {
        Self::new(tag, Value::Integer(value))
    }

    /// An enumeration.
    pub fn enumeration(tag: Tag, value: u32) -> Self {
        Self::new(tag, Value::Enumeration(value))
    }

    /// An item of any type.
    pub fn new(tag: Tag, value: Value<'a>) -> Self {
        Self { tag, value }
    }

    /// The items inside; none if it is no structure.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::Structure(items) => items,
            _ => &[],
        }
    }

    /// The first item inside with that tag.
    pub fn child(&self, tag: Tag) -> Option<&Self> {
        self.items().iter().find(|item| item.tag == tag)
    }
}

/// A 24-bit tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u32);

/// The tags by name: constants, and names for messages, from one list.
macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl Tag {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// The name that the specification gives it.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

tags! {
    /// Attribute (KMIP 1.4, 9.1.3.1, as all here).
    ATTRIBUTE = 0x42_0008, "Attribute";
    /// Attribute Name.
    ATTRIBUTE_NAME = 0x42_000a, "Attribute Name";
    /// Attribute Value.
    ATTRIBUTE_VALUE = 0x42_000b, "Attribute Value";
    /// Batch Count.
    BATCH_COUNT = 0x42_000d, "Batch Count";
    /// Batch Item.
    BATCH_ITEM = 0x42_000f, "Batch Item";
    /// Compromise Occurrence Date.
    COMPROMISE_OCCURRENCE_DATE = 0x42_0021, "Compromise Occurrence Date";
    /// Cryptographic Algorithm.
    CRYPTOGRAPHIC_ALGORITHM = 0x42_0028, "Cryptographic Algorithm";
    /// Cryptographic Length.
    CRYPTOGRAPHIC_LENGTH = 0x42_002a, "Cryptographic Length";
    /// Cryptographic Usage Mask.
    CRYPTOGRAPHIC_USAGE_MASK = 0x42_002c, "Cryptographic Usage Mask";
    /// Key Block.
    KEY_BLOCK = 0x42_0040, "Key Block";
    /// Key Format Type.
    KEY_FORMAT_TYPE = 0x42_0042, "Key Format Type";
    /// Key Material.
    KEY_MATERIAL = 0x42_0043, "Key Material";
    /// Key Value.
    KEY_VALUE = 0x42_0045, "Key Value";
    /// Key Wrapping Data.
    KEY_WRAPPING_DATA = 0x42_0046, "Key Wrapping Data";
    /// Maximum Items.
    MAXIMUM_ITEMS = 0x42_004f, "Maximum Items";
    /// Maximum Response Size.
    MAXIMUM_RESPONSE_SIZE = 0x42_0050, "Maximum Response Size";
    /// Name.
    NAME = 0x42_0053, "Name";
    /// Name Type.
    NAME_TYPE = 0x42_0054, "Name Type";
    /// Name Value.
    NAME_VALUE = 0x42_0055, "Name Value";
    /// Object Type.
    OBJECT_TYPE = 0x42_0057, "Object Type";
    /// Operation.
    OPERATION = 0x42_005c, "Operation";
    /// Protocol Version.
    PROTOCOL_VERSION = 0x42_0069, "Protocol Version";
    /// Protocol Version Major.
    PROTOCOL_VERSION_MAJOR = 0x42_006a, "Protocol Version Major";
    /// Protocol Version Minor.
    PROTOCOL_VERSION_MINOR = 0x42_006b, "Protocol Version Minor";
    /// Query Function.
    QUERY_FUNCTION = 0x42_0074, "Query Function";
    /// Request Header.
    REQUEST_HEADER = 0x42_0077, "Request Header";
    /// Request Message.
    REQUEST_MESSAGE = 0x42_0078, "Request Message";
    /// Request Payload.
    REQUEST_PAYLOAD = 0x42_0079, "Request Payload";
    /// Response Header.
    RESPONSE_HEADER = 0x42_007a, "Response Header";
    /// Response Message.
    RESPONSE_MESSAGE = 0x42_007b, "Response Message";
    /// Response Payload.
    RESPONSE_PAYLOAD = 0x42_007c, "Response Payload";
    /// Result Message.
    RESULT_MESSAGE = 0x42_007d, "Result Message";
    /// Result Reason.
    RESULT_REASON = 0x42_007e, "Result Reason";
    /// Result Status.
    RESULT_STATUS = 0x42_007f, "Result Status";
    /// Revocation Message.
    REVOCATION_MESSAGE = 0x42_0080, "Revocation Message";
    /// Revocation Reason.
    REVOCATION_REASON = 0x42_0081, "Revocation Reason";
    /// Revocation Reason Code.
    REVOCATION_REASON_CODE = 0x42_0082, "Revocation Reason Code";
    /// State.
    STATE = 0x42_008d, "State";
    /// Symmetric Key.
    SYMMETRIC_KEY = 0x42_008f, "Symmetric Key";
    /// Template-Attribute.
    TEMPLATE_ATTRIBUTE = 0x42_0091, "Template-Attribute";
    /// Time Stamp.
    TIME_STAMP = 0x42_0092, "Time Stamp";
    /// Unique Identifier.
    UNIQUE_IDENTIFIER = 0x42_0094, "Unique Identifier";
    /// Vendor Identification.
    VENDOR_IDENTIFICATION = 0x42_009d, "Vendor Identification";
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "tag 0x{:06x}", self.0),
        }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
