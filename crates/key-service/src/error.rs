//! Why a host gets no key.

use std::fmt;

use crate::address::Address;
use crate::protocol::{Refusal, RefusalKind};

/// Why a host got no key, with everything that a person needs to act.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's own TPM cannot be used.
    #[error("key provider {provider:?}: the host's TPM ({tpm}) cannot attest: {reason}")]
    HostTpm {
        /// The provider.
        provider: String,
        /// Where the TPM is.
        tpm: String,
        /// What it said.
        reason: String,
    },
    /// No key service gave what was asked for.
    #[error("key provider {provider:?} gives no key{}: {}", of_key(key_id.as_deref()), listed(faults))]
    Services {
        /// The provider.
        provider: String,
        /// The key that was asked for; `None` for a new one.
        key_id: Option<String>,
        /// What each service said.
        faults: Vec<(Address, ServerFault)>,
    },
    /// The settings cannot be used.
    #[error("key provider {provider:?}: {reason}")]
    Settings {
        /// The provider.
        provider: String,
        /// What is wrong with them.
        reason: String,
    },
}

/// What one key service did wrong, or said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// It cannot be reached, or answers what makes no sense.
    Unusable(String),
    /// It refuses.
    Refused(Refusal),
    /// What it sent cannot be opened by the host's TPM.
    Sealed(String),
}

impl ServerFault {
    /// Whether the service itself gave a reasoned no of this kind.
    #[must_use]
    pub fn is(&self, kind: RefusalKind) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.kind == kind)
    }
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(reason) => f.write_str(reason),
            Self::Refused(refusal) => write!(f, "refused: {}", refusal.reason),
            Self::Sealed(reason) => write!(
                f,
                "the key that it sent does not open in the host's TPM: {reason}"
            ),
        }
    }
}

fn of_key(key_id: Option<&str>) -> String {
    key_id.map_or_else(String::new, |key_id| format!(" {key_id:?}"))
}

fn listed(faults: &[(Address, ServerFault)]) -> String {
    let list: Vec<String> = faults
        .iter()
        .map(|(address, fault)| format!("key service {address}: {fault}"))
        .collect();
    list.join("; ")
}
