//! The encrypted files of VMs with virtual TPMs, and the named key providers that hold their keys.
//!
//! `docs/vm-file-format.md` describes every byte. A [`Datastore`] keeps VMs; an open VM is a [`VmFile`], whose
//! [`save`](VmFile::save) returns when the state is on stable storage. The keys come from a [`KeyProvider`].
//! What a TPM is, this crate does not know: it stores [`Contents`], sections of bytes.

pub mod backend;
mod binding;
mod committer;
mod contents;
mod datastore;
mod directory;
mod envelope;
mod error;
mod format;
#[cfg(any(test, feature = "testing"))]
pub mod fuzzing;
mod identity;
pub mod key_provider;
mod name;
mod nvram;
pub mod offline;
mod seal;
mod snapshots;
mod state_folder;
mod vm_file;
mod vmx;

#[cfg(test)]
mod tests;

pub use backend::{LinuxBackend, SingleFileBackend};
pub use binding::{Encryption, TpmBinding, TpmProvisioning};
pub use committer::{Committer, SaveResult, SharedVmFile};
pub use contents::{Contents, SectionKind};
pub use datastore::{Datastore, Deleted, NewVm, VmDescription};
pub use directory::FolderDatastore;
pub use envelope::Envelope;
pub use error::{EntropyFailure, KeyProviderError, KeyServerFault, StoreError};
pub use identity::Identity;
pub use key_provider::{KeyId, KeyLocator, KeyProvider, KeyProviderLookup};
pub use name::{MAX_NAME_BYTES, MAX_NAME_CHARACTERS, check_file_name, check_name};
pub use nvram::OpenReport;
pub use seal::{DataKey, WRAPPED_KEY_LENGTH, WrappedKey, unwrap as unwrap_key, wrap as wrap_key};
pub use snapshots::{
    MAX_DESCRIPTION_BYTES, NewSnapshot, SnapshotId, SnapshotInfo, check_snapshot_text,
};
pub use state_folder::{STATE_NAME, StateFolder, StateKey};
pub use vm_file::{OpenOptions, VmFile};
pub use vmx::Vmx;
