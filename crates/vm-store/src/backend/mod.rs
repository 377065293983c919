//! The I/O layer under every file of ours, behind traits so that tests can cut the power at any write or sync.
//!
//! Everything is reached through an open folder: no path is walked twice, no symbolic link is followed below the
//! folder that the caller named.

mod direct;
mod linux;
mod named_file;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
mod single_file;

pub use linux::LinuxBackend;
pub use named_file::{LARGEST_TEXT, open_named, read_named, read_named_text};
pub use single_file::SingleFileBackend;

use std::{
    fmt::{self, Debug},
    io,
    path::Path,
    sync::Arc,
};

/// A place that has folders.
pub trait Backend: Debug + Send + Sync {
    /// Opens a folder that exists. The path itself may lead through links: the caller chose it.
    fn open_folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>>;

    /// Makes a folder (0700) durably, parents included, or opens it if it is there.
    fn ensure_folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>>;
}

/// An open folder. Names are single components; what they name is never followed through a symbolic link.
pub trait Folder: Debug + Send + Sync {
    /// The path under which the folder was opened, for messages.
    fn path(&self) -> &Path;

    /// Makes a new file (0600), which must not exist.
    fn create(&self, name: &str) -> io::Result<Box<dyn BackendFile>>;

    /// Opens a regular file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn BackendFile>>;

    /// Opens a regular file for reading.
    fn open_read_only(&self, name: &str) -> io::Result<Box<dyn BackendFile>>;

    /// Makes a folder (0700), which must not exist.
    fn create_folder(&self, name: &str) -> io::Result<Arc<dyn Folder>>;

    /// Opens a folder inside this one.
    fn open_folder(&self, name: &str) -> io::Result<Arc<dyn Folder>>;

    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file or folder another name, which must be free.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, name: &str) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, name: &str) -> io::Result<()>;

    /// What is in the folder, sorted by name.
    fn entries(&self) -> io::Result<Vec<FolderEntry>>;

    /// Brings the names in this folder to stable storage.
    fn sync(&self) -> io::Result<()>;
}

/// An open regular file.
pub trait BackendFile: Debug + Send + Sync {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads exactly `buffer.len()` bytes at `offset`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, where the file has bytes already that are on stable storage. If the write has come as far
    /// as the device, says which: then `sync_data` of *any* file of that device brings it to stable storage. `None`: this file's
    /// own `sync_data` does.
    fn write_to_device(&self, bytes: &[u8], offset: u64) -> io::Result<Option<Device>> {
        self.write_all_at(bytes, offset)?;
        Ok(None)
    }

    /// Brings the contents to stable storage.
    fn sync_data(&self) -> io::Result<()>;

    /// Brings contents and metadata to stable storage.
    fn sync_all(&self) -> io::Result<()>;

    /// Takes the exclusive lock that lasts until this file is dropped; false if another open file has it.
    fn try_lock(&self) -> io::Result<bool>;
}

/// A device whose cache one `sync_data` empties for all of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device(pub(crate) u64);

/// Puts a file in place, whole or not at all, and on stable storage when this returns.
pub fn put_file(folder: &dyn Folder, name: &str, bytes: &[u8]) -> Result<(), crate::StoreError> {
    crate::nvram::put_file(folder, name, bytes, crate::nvram::IfPresent::Replace)
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderEntry {
    /// The name; never `.` or `..`.
    pub name: String,
    /// Whether it is a folder (a link to one is not).
    pub is_folder: bool,
}

/// Why something that exists was not opened: it is not a regular file.
#[derive(Debug, Clone, Copy)]
pub struct NotRegular(pub(crate) &'static str);

impl fmt::Display for NotRegular {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}, not a regular file", self.0)
    }
}

impl std::error::Error for NotRegular {}

impl From<NotRegular> for io::Error {
    fn from(reason: NotRegular) -> Self {
        Self::new(io::ErrorKind::InvalidInput, reason)
    }
}
