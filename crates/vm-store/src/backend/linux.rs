//! The real backend: files by descriptor through rustix.

use super::{Backend, BackendFile, Device, Folder, FolderEntry, NotRegular, direct::Direct};
use rustix::{
    fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags},
    io::Errno,
};
use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinuxBackend;

impl Backend for LinuxBackend {
    fn open_folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Arc::new(LinuxFolder {
            descriptor,
            path: path.to_path_buf(),
        }))
    }

    fn ensure_folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        match rustix::fs::mkdir(path, FOLDER_MODE) {
            Ok(()) => {
                if let Some(parent) = parent_of(path) {
                    self.open_folder(parent)?.sync()?;
                }
            }
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => match parent_of(path) {
                Some(parent) => {
                    let parent = self.ensure_folder(parent)?;
                    match rustix::fs::mkdir(path, FOLDER_MODE) {
                        Ok(()) | Err(Errno::EXIST) => parent.sync()?,
                        Err(error) => return Err(error.into()),
                    }
                }
                None => return Err(Errno::NOENT.into()),
            },
            Err(error) => return Err(error.into()),
        }
        self.open_folder(path)
    }
}

/// A folder by its descriptor.
#[derive(Debug)]
struct LinuxFolder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl LinuxFolder {
    fn open_file(&self, name: &str, access: OFlags) -> io::Result<Box<dyn BackendFile>> {
        // NONBLOCK: opening a FIFO must not wait for its other end.
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let descriptor = match rustix::fs::openat(&self.descriptor, name, flags, FILE_MODE) {
            Ok(descriptor) => descriptor,
            Err(Errno::LOOP) => return Err(NotRegular("a symbolic link").into()),
            Err(Errno::ISDIR) => return Err(NotRegular("a folder").into()),
            Err(Errno::NXIO) => return Err(NotRegular("a socket or a FIFO").into()),
            Err(error) => return Err(error.into()),
        };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode);
        match kind {
            FileType::RegularFile => Ok(Box::new(LinuxFile::new(descriptor))),
            FileType::Directory => Err(NotRegular("a folder").into()),
            FileType::Fifo => Err(NotRegular("a FIFO").into()),
            _ => Err(NotRegular("a device or a socket").into()),
        }
    }
}

impl Folder for LinuxFolder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        self.open_file(name, OFlags::RDWR)
    }

    fn open_read_only(&self, name: &str) -> io::Result<Box<dyn BackendFile>> {
        self.open_file(name, OFlags::RDONLY)
    }

    fn create_folder(&self, name: &str) -> io::Result<Arc<dyn Folder>> {
        rustix::fs::mkdirat(&self.descriptor, name, FOLDER_MODE)?;
        self.open_folder(name)
    }

    fn open_folder(&self, name: &str) -> io::Result<Arc<dyn Folder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let descriptor = rustix::fs::openat(&self.descriptor, name, flags, Mode::empty())?;
        Ok(Arc::new(Self {
            descriptor,
            path: self.path.join(name),
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(
            &self.descriptor,
            from,
            &self.descriptor,
            to,
        )?)
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let result = rustix::fs::renameat_with(
            &self.descriptor,
            from,
            &self.descriptor,
            to,
            RenameFlags::NOREPLACE,
        );
        match result {
            // File systems without the flag: look first. Who owns the folder's lock is alone here.
            Err(Errno::INVAL | Errno::NOSYS) => {
                match rustix::fs::statat(&self.descriptor, to, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => self.rename(from, to),
                    Ok(_) => Err(Errno::EXIST.into()),
                    Err(error) => Err(error.into()),
                }
            }
            other => Ok(other?),
        }
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.descriptor,
            name,
            AtFlags::empty(),
        )?)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.descriptor,
            name,
            AtFlags::REMOVEDIR,
        )?)
    }

    fn entries(&self) -> io::Result<Vec<FolderEntry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.descriptor)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours; the replacement only has to be shown.
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "." || name == ".." {
                continue;
            }
            let is_folder = match entry.file_type() {
                FileType::Unknown => {
                    let status = rustix::fs::statat(
                        &self.descriptor,
                        entry.file_name(),
                        AtFlags::SYMLINK_NOFOLLOW,
                    )?;
                    FileType::from_raw_mode(status.st_mode) == FileType::Directory
                }
                kind => kind == FileType::Directory,
            };
            entries.push(FolderEntry { name, is_folder });
        }
        entries.sort();
        Ok(entries)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.descriptor)?)
    }
}

/// A file by its descriptor.
#[derive(Debug)]
pub(super) struct LinuxFile {
    descriptor: OwnedFd,
    direct: Mutex<Direct>,
}

impl LinuxFile {
    /// A file that was opened elsewhere.
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        Self {
            descriptor,
            direct: Mutex::default(),
        }
    }

    fn direct(&self) -> MutexGuard<'_, Direct> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LinuxFile {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread starts at this moment has a copy of the descriptor until it
        // executes its program, and would keep the lock for so long.
        let _ = rustix::fs::flock(&self.descriptor, FlockOperation::Unlock);
    }
}

impl BackendFile for LinuxFile {
    fn size(&self) -> io::Result<u64> {
        let size = rustix::fs::fstat(&self.descriptor)?.st_size;
        u64::try_from(size).map_err(io::Error::other)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.direct().leave(&self.descriptor)?;
        let (mut rest, mut offset) = (buffer, offset);
        while !rest.is_empty() {
            match rustix::io::pread(&self.descriptor, &mut *rest, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    let (_, tail) = rest
                        .split_at_mut_checked(count)
                        .ok_or(io::ErrorKind::InvalidData)?;
                    rest = tail;
                    offset = advance(offset, count)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.direct().leave(&self.descriptor)?;
        let (mut rest, mut offset) = (bytes, offset);
        while !rest.is_empty() {
            match rustix::io::pwrite(&self.descriptor, rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    (_, rest) = rest
                        .split_at_checked(count)
                        .ok_or(io::ErrorKind::InvalidData)?;
                    offset = advance(offset, count)?;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_to_device(&self, bytes: &[u8], offset: u64) -> io::Result<Option<Device>> {
        let written = self.direct().write(&self.descriptor, bytes, offset)?;
        if written.is_none() {
            self.write_all_at(bytes, offset)?;
        }
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.descriptor)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.descriptor)?)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn advance(offset: u64, count: usize) -> io::Result<u64> {
    let count = u64::try_from(count).map_err(io::Error::other)?;
    offset
        .checked_add(count)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn parent_of(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        other => other,
    }
}

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER_MODE: Mode = Mode::RWXU;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_0600_and_folders_0700() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/b");
        let folder = LinuxBackend.ensure_folder(&path).unwrap();
        folder.create("file").unwrap();
        folder.create_folder("inner").unwrap();
        // The group's bit may come from the folder above.
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o5777;
        assert_eq!(mode(&path.join("file")), 0o600);
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("inner")), 0o700);
    }

    #[test]
    fn links_fifos_and_folders_are_not_files() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = LinuxBackend.open_folder(scratch.path()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", scratch.path().join("link")).unwrap();
        let status = std::process::Command::new("mkfifo")
            .arg(scratch.path().join("fifo"))
            .status()
            .unwrap();
        assert!(status.success());
        folder.create_folder("folder").unwrap();
        for name in ["link", "fifo", "folder"] {
            for error in [
                folder.open(name).unwrap_err(),
                folder.open_read_only(name).unwrap_err(),
            ] {
                assert!(
                    error
                        .get_ref()
                        .is_some_and(|reason| reason.is::<NotRegular>()),
                    "{name}: {error}"
                );
            }
        }
        assert!(folder.open_folder("link").is_err());
        assert!(folder.create("link").is_err());
    }

    #[test]
    fn a_second_open_file_does_not_get_the_lock() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = LinuxBackend.open_folder(scratch.path()).unwrap();
        let first = folder.create("lock").unwrap();
        assert!(first.try_lock().unwrap());
        let second = folder.open("lock").unwrap();
        assert!(!second.try_lock().unwrap());
        drop(first);
        assert!(second.try_lock().unwrap());
    }

    #[test]
    fn rename_new_refuses_a_name_in_use() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = LinuxBackend.open_folder(scratch.path()).unwrap();
        folder.create("a").unwrap();
        folder.create("b").unwrap();
        let error = folder.rename_new("a", "b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        folder.rename("a", "b").unwrap();
        assert_eq!(folder.entries().unwrap().len(), 1);
    }
}
