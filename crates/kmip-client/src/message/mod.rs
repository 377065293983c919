//! Requests and replies, one operation each (KMIP 1.4, 7).

mod payload;
mod reply;

pub(crate) use payload::{
    attributes, create, created, locate, located, object, query, query_answer, reason_of, same_key,
    unique_identifier, version_list, versions,
};
pub(crate) use reply::read_reply;

use crate::ttlv::{Item, Tag, encode};
use std::fmt;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolVersion {
    /// Before the dot.
    pub major: i32,
    /// After it.
    pub minor: i32,
}

impl ProtocolVersion {
    /// The versions that this client speaks, best first.
    pub const SPOKEN: [Self; 4] = [Self::v1(4), Self::v1(3), Self::v1(2), Self::v1(1)];

    /// The version in which versions are discovered: the first that knows how.
    pub(crate) const FIRST: Self = Self::v1(1);

    const fn v1(minor: i32) -> Self {
        Self { major: 1, minor }
    }

    pub(crate) fn item(self) -> Item<'static> {
        Item::structure(
            Tag::PROTOCOL_VERSION,
            vec![
                Item::integer(Tag::PROTOCOL_VERSION_MAJOR, self.major),
                Item::integer(Tag::PROTOCOL_VERSION_MINOR, self.minor),
            ],
        )
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KMIP {}.{}", self.major, self.minor)
    }
}

/// What a server is asked to do (KMIP 1.4, 9.1.3.2.27).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Makes a key.
    Create,
    /// Finds objects by their attributes.
    Locate,
    /// Fetches a key's bytes.
    Get,
    /// Fetches attributes.
    GetAttributes,
    /// Makes a key usable.
    Activate,
    /// Ends a key's use.
    Revoke,
    /// Deletes a key's bytes.
    Destroy,
    /// Asks what the server can do and who made it.
    Query,
    /// Asks which versions the server speaks.
    DiscoverVersions,
}

impl Operation {
    /// Its number.
    pub fn code(self) -> u32 {
        match self {
            Self::Create => 1,
            Self::Locate => 8,
            Self::Get => 0xa,
            Self::GetAttributes => 0xb,
            Self::Activate => 0x12,
            Self::Revoke => 0x13,
            Self::Destroy => 0x14,
            Self::Query => 0x18,
            Self::DiscoverVersions => 0x1e,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The state of a key (KMIP 1.4, 3.22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// Made, and not used yet.
    PreActive,
    /// In use.
    Active,
    /// Protects nothing new.
    Deactivated,
    /// Others may know it.
    Compromised,
    /// Its bytes are gone.
    Destroyed,
    /// Its bytes are gone, and others may know them.
    DestroyedCompromised,
}

impl KeyState {
    /// Reads the enumeration (KMIP 1.4, 9.1.3.2.18).
    pub fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::PreActive,
            2 => Self::Active,
            3 => Self::Deactivated,
            4 => Self::Compromised,
            5 => Self::Destroyed,
            6 => Self::DestroyedCompromised,
            _ => return None,
        })
    }

    /// Whether new things may be protected with the key.
    pub fn wraps(self) -> bool {
        self == Self::Active
    }

    /// Whether what the key protects already may be opened.
    pub fn unwraps(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated | Self::Compromised)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
            Self::DestroyedCompromised => "destroyed and compromised",
        })
    }
}

/// What a server tells of a key. What it does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyAttributes {
    /// Its state.
    pub state: Option<KeyState>,
    /// Whether it is an AES key.
    pub is_aes: Option<bool>,
    /// Its length in bits.
    pub bits: Option<i32>,
    /// Its names.
    pub names: Vec<String>,
}

/// Why a key's use ends (KMIP 1.4, 9.1.3.2.19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationReason {
    /// No reason that is told: the key becomes deactivated.
    Unspecified,
    /// Others may know the key: it becomes compromised, with the time (seconds since 1970) when that happened.
    KeyCompromise {
        /// When others came to know it.
        since: i64,
    },
    /// Another key takes its place: it becomes deactivated.
    Superseded,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerDescription {
    /// The version that was agreed on.
    pub version: ProtocolVersion,
    /// Its maker's name for it; may be empty.
    pub vendor: String,
    /// The numbers of the operations that it does.
    pub operations: Vec<u32>,
}

impl ServerDescription {
    /// Whether the server does it.
    pub fn does(&self, operation: Operation) -> bool {
        self.operations.contains(&operation.code())
    }
}

/// Writes a request. `None` if it is too long for a length.
pub(crate) fn request(
    version: ProtocolVersion,
    max_reply: u32,
    operation: Operation,
    payload: Vec<Item<'_>>,
) -> Option<Vec<u8>> {
    let max_reply = i32::try_from(max_reply).unwrap_or(i32::MAX);
    encode(&Item::structure(
        Tag::REQUEST_MESSAGE,
        vec![
            Item::structure(
                Tag::REQUEST_HEADER,
                vec![
                    version.item(),
                    Item::integer(Tag::MAXIMUM_RESPONSE_SIZE, max_reply),
                    Item::integer(Tag::BATCH_COUNT, 1),
                ],
            ),
            Item::structure(
                Tag::BATCH_ITEM,
                vec![
                    Item::enumeration(Tag::OPERATION, operation.code()),
                    Item::structure(Tag::REQUEST_PAYLOAD, payload),
                ],
            ),
        ],
    ))
}
