//! What can go wrong, and at which provider, server and key.

use crate::{message::KeyState, message::Operation, message::ProtocolVersion, ttlv::TtlvError};
use std::fmt;

/// Why a call had no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The provider's settings cannot be used; no server was asked.
    #[error("key provider {provider:?}: {reason}")]
    Configuration {
        /// The provider.
        provider: String,
        /// What to change.
        reason: String,
    },
    /// No server gave an answer that could be used.
    #[error("key provider {provider:?}: no server could do {operation}{}: {failures}", of_key(.key_id.as_deref()))]
    Unavailable {
        /// The provider.
        provider: String,
        /// What was asked for.
        operation: Operation,
        /// The key, if it was about one.
        key_id: Option<String>,
        /// What happened at each server.
        failures: Failures,
    },
    /// A server answered that it has no such key, and no other had it.
    #[error(
        "key provider {provider:?} has no key {key_id:?}: {failures}. Restore the key at the key server"
    )]
    KeyMissing {
        /// The provider.
        provider: String,
        /// The key.
        key_id: String,
        /// What each server said.
        failures: Failures,
    },
    /// A server refused, and asking another would not change that.
    #[error("key provider {provider:?}: server {server} refused {operation}{}: {refusal}", of_key(.key_id.as_deref()))]
    Refused {
        /// The provider.
        provider: String,
        /// The server that refused.
        server: String,
        /// What was asked for.
        operation: Operation,
        /// The key, if it was about one.
        key_id: Option<String>,
        /// The reason.
        refusal: Refusal,
    },
    /// The key's state forbids the use.
    #[error(
        "key provider {provider:?}: server {server} says that key {key_id:?} is {state}, so it {purpose}"
    )]
    KeyState {
        /// The provider.
        provider: String,
        /// The server that told the state.
        server: String,
        /// The key.
        key_id: String,
        /// Its state.
        state: KeyState,
        /// What the state forbids.
        purpose: Purpose,
    },
    /// The object is no AES key of 256 bits in the clear.
    #[error(
        "key provider {provider:?}: server {server} holds no AES-256 key under {key_id:?}: {reason}"
    )]
    KeyShape {
        /// The provider.
        provider: String,
        /// The server that has it.
        server: String,
        /// The key.
        key_id: String,
        /// What it is instead.
        reason: String,
    },
}

/// What a key was wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To protect something new.
    Wrap,
    /// To open what it protects already.
    Unwrap,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrap => "protects nothing new; re-key to an active key",
            Self::Unwrap => "opens nothing",
        })
    }
}

/// What happened at each server that was asked, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures(pub Vec<ServerFailure>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, failure) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "; " };
            write!(f, "{comma}server {}: {}", failure.server, failure.fault)?;
        }
        Ok(())
    }
}

/// What happened at one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFailure {
    /// The server, `HOST:PORT`.
    pub server: String,
    /// What happened.
    pub fault: Fault,
}

/// What can happen at one server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Its name has no address, or none can be reached.
    #[error("cannot be reached ({0})")]
    Unreachable(String),
    /// It took too long.
    #[error("took longer than the limit for the {0}")]
    TimedOut(Phase),
    /// Its certificate is not the one that is trusted, or its TLS is not ours.
    #[error("is not trusted ({0}). Check the server certificate that the provider was given")]
    Untrusted(String),
    /// It does not accept the client certificate.
    #[error(
        "does not accept the client certificate ({0}). Make the certificate known to the key server"
    )]
    ClientRefused(String),
    /// The connection ended in the middle.
    #[error("ended the connection before its reply was whole")]
    Cut,
    /// The connection failed.
    #[error("lost the connection ({0})")]
    Connection(String),
    /// The reply is longer than what is accepted.
    #[error("sent a reply of {length} bytes; at most {limit} are accepted")]
    TooLarge {
        /// The length that the reply gives itself.
        length: u32,
        /// The limit.
        limit: u32,
    },
    /// The reply is no TTLV.
    #[error("sent a reply that cannot be read: {0}")]
    Ttlv(#[from] TtlvError),
    /// The reply is not the one to what was asked.
    #[error("sent a reply that does not fit: {0}")]
    WrongReply(String),
    /// The reply is of another protocol version.
    #[error("answered in {found}, asked in {asked}")]
    OtherVersion {
        /// The version of the request.
        asked: ProtocolVersion,
        /// The version of the reply.
        found: ProtocolVersion,
    },
    /// It speaks none of the versions that this client speaks.
    #[error("speaks none of KMIP 1.1 to 1.4 (it names {0})")]
    NoVersion(String),
    /// It refused.
    #[error("{0}")]
    Refused(Refusal),
    /// What it holds is no AES-256 key.
    #[error("holds no AES-256 key under that id: {0}")]
    KeyShape(String),
}

impl Fault {
    /// Whether the same server may well answer a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Cut | Self::Connection(_) => true,
            Self::Refused(refusal) => refusal.reason == ResultReason::GENERAL_FAILURE,
            _ => false,
        }
    }

    /// Whether the fault is the decision of a working server, which no other server would change.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::KeyShape(_) => true,
            Self::Refused(refusal) => !matches!(
                refusal.reason,
                ResultReason::ITEM_NOT_FOUND | ResultReason::GENERAL_FAILURE
            ),
            _ => false,
        }
    }

    pub(crate) fn is_missing_key(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.reason == ResultReason::ITEM_NOT_FOUND)
    }
}

/// What a time limit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connection and TLS handshake.
    Connect,
    /// One request and its reply.
    Request,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connection and its handshake",
            Self::Request => "request",
        })
    }
}

/// A server's refusal (KMIP 1.4, 6.10 and 6.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason's number.
    pub reason: ResultReason,
    /// What the server says about it; may be empty.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if !self.message.is_empty() {
            // A server's text goes to logs and terminals: control characters are escaped, and it is no longer than it needs.
            let text: String = self.message.chars().take(300).collect();
            write!(f, " ({text:?})")?;
        }
        Ok(())
    }
}

/// Why a server refuses (KMIP 1.4, 9.1.3.2.29).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultReason(pub u32);

impl ResultReason {
    /// There is no such object.
    pub const ITEM_NOT_FOUND: Self = Self(1);
    /// The client is not who it has to be.
    pub const AUTHENTICATION_NOT_SUCCESSFUL: Self = Self(3);
    /// The server does not do that.
    pub const OPERATION_NOT_SUPPORTED: Self = Self(5);
    /// The object's state does not allow it.
    pub const ILLEGAL_OPERATION: Self = Self(0xb);
    /// The client may not do that.
    pub const PERMISSION_DENIED: Self = Self(0xc);
    /// Something else went wrong.
    pub const GENERAL_FAILURE: Self = Self(0x100);
}

impl fmt::Display for ResultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "item not found",
            2 => "response too large",
            3 => "authentication not successful",
            4 => "invalid message",
            5 => "operation not supported",
            6 => "missing data",
            7 => "invalid field",
            8 => "feature not supported",
            0xa => "cryptographic failure",
            0xb => "illegal operation",
            0xc => "permission denied",
            0xd => "object archived",
            0x10 => "key format type not supported",
            0x13 => "key value not present",
            0x100 => "general failure",
            other => return write!(f, "reason 0x{other:x}"),
        };
        f.write_str(name)
    }
}

fn of_key(key_id: Option<&str>) -> String {
    key_id.map_or_else(String::new, |key_id| format!(" of key {key_id:?}"))
}
