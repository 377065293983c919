//! The folder of one `vtpm run`: its sockets, for its user alone, gone with it.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rand::TryRng;
use rand::rngs::SysRng;
use rustix::fs::{Access, FlockOperation, OFlags, access, flock};

const PREFIX: &str = "vtpm-run-";
/// A folder that was made so recently may not have been locked yet by who made it.
const YOUNG: Duration = Duration::from_secs(10);
/// The longest path of a folder whose sockets can still be told to the kernel, which takes 107 bytes.
const LONGEST_PATH: usize = 80;

/// A folder for this process alone, in memory if the machine has a place for that; gone when it is dropped. As long as its process
/// lives it is locked, so that another can tell when it was left behind.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    path: PathBuf,
    _lock: File,
}

impl PrivateFolder {
    /// Makes a folder, and removes those that were left behind beside it.
    pub(super) fn new() -> io::Result<Self> {
        Self::announced(|_| {})
    }

    /// The same, after `announce` has heard where it will be: at no moment is it there and nobody knows of it.
    pub(super) fn announced(announce: impl FnOnce(&Path)) -> io::Result<Self> {
        let base = base();
        sweep(&base);
        let mut random = [0; 8];
        SysRng
            .try_fill_bytes(&mut random)
            .map_err(io::Error::other)?;
        let path = base.join(format!(
            "{PREFIX}{}-{}",
            std::process::id(),
            hex::encode(random)
        ));
        announce(&path);
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = open_folder(&path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, folder = %self.path.display(), "a private folder was left behind");
        }
    }
}

fn base() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let candidates = [runtime, Some("/dev/shm".into()), Some(std::env::temp_dir())];
    candidates
        .into_iter()
        .flatten()
        .find(|path| path.as_os_str().len() <= LONGEST_PATH - 32 && is_writable(path))
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}

fn is_writable(path: &Path) -> bool {
    path.is_dir() && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Removes what a `vtpm run` left that was killed together with the process that watched it.
fn sweep(base: &Path) {
    sweep_at(SystemTime::now(), base);
}

fn sweep_at(now: SystemTime, base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else {
        return;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    for name in names.filter(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let path = base.join(name);
        if is_abandoned(now, &path) {
            // Whoever is faster did our work.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

fn is_abandoned(now: SystemTime, path: &Path) -> bool {
    let Ok(folder) = open_folder(path) else {
        return false;
    };
    let Ok(metadata) = folder.metadata() else {
        return false;
    };
    let age = metadata
        .modified()
        .ok()
        .and_then(|time| now.duration_since(time).ok());
    metadata.uid() == rustix::process::geteuid().as_raw()
        && age.is_some_and(|age| age > YOUNG)
        && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Opens a folder, never through a link: others may write beside it.
fn open_folder(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).map_err(io::Error::other)?)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_private_folder_is_private_and_goes() {
        let folder = PrivateFolder::new().unwrap();
        let path = folder.path().to_path_buf();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_nobody_holds_any_more_is_swept_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let long_ago = now - 2 * YOUNG;
        let make = |name: &str| {
            let path = base.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("tpm"), "").unwrap();
            File::open(&path).unwrap().set_modified(long_ago).unwrap();
            path
        };
        let (abandoned, held) = (make("vtpm-run-1-a"), make("vtpm-run-2-b"));
        let (young, other) = (make("vtpm-run-3-c"), make("vtpm-4"));
        let link = base.path().join("vtpm-run-5-d");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let lock = open_folder(&held).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let made = now - YOUNG / 2;
        File::open(&young).unwrap().set_modified(made).unwrap();
        sweep_at(now, base.path());
        assert!(!abandoned.exists());
        for kept in [held, young, other, link] {
            assert!(kept.exists(), "{}", kept.display());
        }
    }
}
