//! Reading what other implementations of a TPM have kept: swtpm's files, and libtpms's state in them.

mod libtpms;
mod reader;
mod swtpm;

pub(crate) use libtpms::{Libtpms, read_state};
pub(crate) use swtpm::{STATE_FILE, VOLATILE_FILE, open_file};

/// Why a state could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ImportError {
    /// It is something else.
    #[error("it does not begin like a state file of swtpm")]
    NotSwtpm,
    /// A later version has written it.
    #[error(
        "its {what} has version {version}, of which this program knows nothing; it knows up to {known}"
    )]
    TooNew {
        /// Which part.
        what: &'static str,
        /// Its version.
        version: u16,
        /// The last one that is known.
        known: u16,
    },
    /// It is encrypted and there is no key.
    #[error(
        "it is encrypted with a {0}-bit key; give the one that swtpm was started with: --key file=..|pwdfile=.."
    )]
    NeedsKey(u16),
    /// The key has another size.
    #[error(
        "it is encrypted with a {wanted}-bit key, and a {given}-bit key was given; add mode=aes-256-cbc or take it away"
    )]
    KeySize {
        /// What it needs.
        wanted: u16,
        /// What was given.
        given: usize,
    },
    /// It does not open.
    #[error("it does not open with this key: it is another one, or the file was cut or altered")]
    WrongKey,
    /// It is cut or altered.
    #[error("its {0} is cut or altered")]
    Damaged(&'static str),
    /// It holds something for which there is no place.
    #[error("it holds {0:#010x}, which is neither an NV index nor a persistent object")]
    UnknownHandle(u32),
}
