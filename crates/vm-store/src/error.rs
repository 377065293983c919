//! What can go wrong with a VM's files and with key providers. Each message names the thing, the reason and what to do.

use crate::{backend::NotRegular, key_provider::KeyId};
use std::{
    io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the operating system gave no random bytes; nothing was written. Look at the kernel log, then try again"
)]
pub struct EntropyFailure;

/// Why an operation on a VM's files was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A link, folder, FIFO or device stands where a file should be.
    #[error("{} was not opened: {reason}. Put the VM's own file back", path.display())]
    NotRegular {
        /// The name that is not a file.
        path: PathBuf,
        /// What it is.
        reason: NotRegular,
    },
    /// There is no such VM.
    #[error("there is no VM {name:?} in the datastore {}. List the datastore to see the names", datastore.display())]
    NoSuchVm {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        datastore: PathBuf,
    },
    /// The name is taken.
    #[error("{} exists already. Choose another name, or delete it first", path.display())]
    AlreadyExists {
        /// What exists.
        path: PathBuf,
    },
    /// The name breaks a rule.
    #[error("{name:?} cannot be the name of a {what}: {rule}")]
    InvalidName {
        /// What was to be named.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Somebody else has the VM or the datastore open.
    #[error("{} is in use by another process (lock file {lock:?}). Stop that one first, or talk to it", path.display())]
    Locked {
        /// The VM's or datastore's folder.
        path: PathBuf,
        /// The file that is locked.
        lock: String,
    },
    /// A file is larger than any file of its kind may be.
    #[error("{} has {size} bytes, more than the {limit} that such a file may have; it was not read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The contents to save are larger than a file may hold.
    #[error("the state of {} has {size} bytes, more than the {limit} that its file can hold; the old state was kept", path.display())]
    ContentsTooLarge {
        /// The file.
        path: PathBuf,
        /// Size of the contents.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A file is not what was written.
    #[error("{} is damaged or was changed: {reason}. It was left as it is; restore .vmx and .nvram from a backup of this VM", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A `.vmx` that cannot be read as text pairs.
    #[error("{}, line {line}: {reason}. Correct the line or restore the file; it was left as it is", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The `.nvram` is of another VM.
    #[error("{} belongs to another VM: it is of {found}, expected {expected}. Put this VM's own .nvram back", path.display())]
    WrongVm {
        /// The file.
        path: PathBuf,
        /// Whose file it should be.
        expected: String,
        /// Whose file it says to be.
        found: String,
    },
    /// An older copy of the file was put back.
    #[error(
        "{} was rolled back: it holds generation {found}, but generation {expected} was acknowledged ({source_of_expectation}). \
         Put the newer files back, or accept the rollback if it is wanted",
        path.display()
    )]
    RolledBack {
        /// The file.
        path: PathBuf,
        /// The generation in the file.
        found: u64,
        /// The generation it must have at least.
        expected: u64,
        /// Who knows: the `.vmx` or the caller's inventory.
        source_of_expectation: &'static str,
    },
    /// A file of a format that this version does not know.
    #[error("{} has format version {found}; this program reads version {supported}. Use the newer program that wrote it", path.display())]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The version that is understood.
        supported: u16,
    },
    /// A registered VM lacks its `.nvram`.
    #[error(
        "{} is missing, but {vmx:?} says that this VM has a TPM. No empty TPM is made in its place: \
         restore the file from a backup, or remove the TPM from the VM",
        path.display()
    )]
    MissingNvram {
        /// The missing file.
        path: PathBuf,
        /// The settings file that names it.
        vmx: String,
    },
    /// A path that does not lead to one VM.
    #[error("{} is not a VM: there is {what}", path.display())]
    NotOneVm {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The VM has no TPM.
    #[error("the VM of {} has no TPM. Add one first", path.display())]
    NoTpm {
        /// The settings file.
        path: PathBuf,
    },
    /// The VM has a TPM already.
    #[error("the VM of {} has a TPM already. Remove it first; that destroys what it holds", path.display())]
    HasTpm {
        /// The settings file.
        path: PathBuf,
    },
    /// The VM has snapshots, which an operation does not allow.
    #[error("the VM of {} has {count} snapshots, which need its TPM and its data key. Forget them first", path.display())]
    HasSnapshots {
        /// The VM's folder.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// No provider of the name that the VM's file gives.
    #[error(
        "{} needs key provider {provider:?} (key id {key_id}), which is not registered here (registered: {registered}). \
         Restore its backup under that name, or register it",
        path.display()
    )]
    NoSuchProvider {
        /// The settings file.
        path: PathBuf,
        /// The provider's name.
        provider: String,
        /// The key that it should hold.
        key_id: KeyId,
        /// The names that are known, or "none".
        registered: String,
    },
    /// The provider would not wrap or unwrap the VM's data key.
    #[error("{}: {source}", path.display())]
    Provider {
        /// The settings file.
        path: PathBuf,
        /// What the provider said.
        source: KeyProviderError,
    },
    /// A setting that cannot be set this way.
    #[error("{}: the key {key:?} {reason}", path.display())]
    Setting {
        /// The settings file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Why not.
        reason: &'static str,
    },
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyFailure),
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| {
            let reason = source.get_ref().and_then(|inner| inner.downcast_ref());
            match reason {
                Some(reason) => Self::NotRegular {
                    path,
                    reason: *reason,
                },
                None => Self::Io {
                    action,
                    path,
                    source,
                },
            }
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_path_buf(),
            reason: reason.into(),
        }
    }

    pub(crate) fn provider(path: &Path) -> impl FnOnce(KeyProviderError) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Provider { path, source }
    }

    /// Whether trying again can help once there is room on the file system (no space, quota, or a limit).
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ))
    }
}

/// What to do about an error of the operating system; begins with a full stop where there is anything to say.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => ". Make room on that file system",
        io::ErrorKind::QuotaExceeded => ". Make room within the quota, or raise it",
        io::ErrorKind::FileTooLarge => ". Raise the limit for the size of files (ulimit -f)",
        io::ErrorKind::ReadOnlyFilesystem => {
            ". Mount that file system writable; after a fault of the disk, check it first"
        }
        io::ErrorKind::PermissionDenied => {
            ". Check the owner and the mode of the file and its folder"
        }
        // EIO has no kind of its own.
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            ". The disk fails: see the kernel's log, and save what you can"
        }
        _ => "",
    }
}

/// Why a key provider refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyProviderError {
    /// A native provider that was never backed up.
    #[error(
        "key provider {provider:?} was not backed up yet, so it encrypts nothing: losing its key file would lose every TPM under it. \
         Back it up first (vtpm provider backup {provider})"
    )]
    NotBackedUp {
        /// The provider.
        provider: String,
    },
    /// The provider cannot be reached or does not work now.
    #[error("key provider {provider:?} cannot be used now: {reason}")]
    Unavailable {
        /// The provider.
        provider: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A key server did not give a key, or did not make one.
    #[error("{message}")]
    KeyServer {
        /// The provider.
        provider: String,
        /// The key, if it was about one.
        key_id: Option<KeyId>,
        /// What kind of fault.
        fault: KeyServerFault,
        /// Which provider, server and key, what happened, and what to do.
        message: String,
    },
    /// Same name, other key bytes.
    #[error(
        "key provider {provider:?} has another key under this name: key {key_id} has check value {found} here, the VM's file says {expected}. \
         Restore the backup of the provider that encrypted the VM"
    )]
    OtherKey {
        /// The provider.
        provider: String,
        /// The key.
        key_id: KeyId,
        /// What the file says.
        expected: String,
        /// What the provider has.
        found: String,
    },
    /// The wrapped data key does not unwrap though the key is right.
    #[error(
        "key {key_id} of key provider {provider:?} does not open the VM's wrapped data key, which is damaged or of another key. \
         Restore the VM's .vmx from a backup"
    )]
    DoesNotUnwrap {
        /// The provider.
        provider: String,
        /// The key.
        key_id: KeyId,
    },
    /// There is no such provider.
    #[error("there is no key provider {provider:?} in {}. Create it, or restore its backup under that name", folder.display())]
    NoSuchProvider {
        /// The provider.
        provider: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The name is taken by a provider with another key.
    #[error("key provider {provider:?} exists already in {}, with another key. Nothing was changed; use another name, or remove that one first", folder.display())]
    AlreadyExists {
        /// The provider.
        provider: String,
        /// Where.
        folder: PathBuf,
    },
    /// The name breaks a rule.
    #[error("{name:?} cannot be the name of a key provider: {rule}")]
    InvalidName {
        /// The name as given.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The provider's own file is not readable.
    #[error("the key file {} is damaged: {reason}. It was left as it is; restore the provider from its backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The password does not open the backup.
    #[error(
        "the backup {file} does not open with this password, or the file was changed; give the password that it was made with"
    )]
    WrongPassword {
        /// The backup file, as the user named it.
        file: String,
    },
    /// The backup is of another provider than was asked for.
    #[error(
        "the backup {file} is of key provider {found:?}, not of {wanted:?}. Restore it as {found:?}, or give the right file"
    )]
    WrongProvider {
        /// The backup file.
        file: String,
        /// The provider in the file.
        found: String,
        /// The provider asked for.
        wanted: String,
    },
    /// Something else is wrong with a backup.
    #[error("the backup {file} cannot be used: {reason}")]
    Backup {
        /// The backup file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A key file given by hand.
    #[error("the key file {file} cannot be used: {reason}")]
    KeyFile {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyFailure),
}

/// What kind of fault it is that a key server gives no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyServerFault {
    /// No server answers as one should: later may be better.
    Unavailable,
    /// There is no such key.
    KeyMissing,
    /// The key's state does not allow the use.
    KeyState,
    /// A server, or this side's settings, refuse.
    Refused,
}

impl KeyProviderError {
    /// Whether the key cannot be had now, so that what it protects is locked until it can.
    pub fn locks(&self) -> bool {
        matches!(
            self,
            Self::KeyServer { .. }
                | Self::Unavailable { .. }
                | Self::OtherKey { .. }
                | Self::NoSuchProvider { .. }
        )
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
