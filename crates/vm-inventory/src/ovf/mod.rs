//! Packages of VMs: OVF descriptors with their files, and OVA archives (DMTF DSP0243).
//!
//! A package is data of strangers. `xml` gives a bounded tree and refuses document types, `descriptor` and `hardware` take from
//! it what a VM here has, `archive` cuts a stream into members, and `arrival` puts them together: descriptor first, every file
//! counted, hashed and handed on as it comes, nothing whole in memory. The TPM state that a package may carry is read over:
//! a package never brings secrets (rule 1.3).

mod archive;
mod arrival;
mod descriptor;
mod folder;
mod hardware;
mod inflate;
mod manifest;
mod signature;
mod write;
mod xml;

#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;

pub(crate) use archive::{Writer, length_of};
pub(crate) use arrival::{Arrived, Limits, Shelf, descriptor_of, receive};
pub(crate) use descriptor::{Descriptor, System};
pub use folder::{Pack, unpack};
#[cfg(test)]
pub(crate) use inflate::gzip;
pub(crate) use manifest::{Hashing, line as manifest_line};
pub(crate) use signature::Signature;
pub(crate) use write::{Described, DescribedFile, descriptor_text};

/// Why a package is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PackageError {
    /// Something in it breaks a rule.
    #[error("the package is refused: {part}: {reason}")]
    Refused {
        /// The file of the package.
        part: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// It is, or says that it is, larger than what is taken.
    #[error("the package is too large: {part}: {reason}")]
    TooLarge {
        /// The file of the package.
        part: String,
        /// How large, and what is allowed.
        reason: String,
    },
    /// It did not arrive whole.
    #[error("the package broke off in {part}: {reason}; nothing of it was kept, send it again")]
    Cut {
        /// Where.
        part: String,
        /// Why.
        reason: String,
    },
}

impl PackageError {
    fn refused(part: &str, reason: impl Into<String>) -> Self {
        Self::Refused {
            part: xml::shown(part),
            reason: reason.into(),
        }
    }
}
