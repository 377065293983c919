//! The data folder: private, and one daemon's at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

/// A data folder that belongs to this process until it is dropped.
#[derive(Debug)]
pub(crate) struct OwnedFolder {
    path: PathBuf,
    lock: File,
}

impl Drop for OwnedFolder {
    fn drop(&mut self) {
        // A process that is just being started has the descriptor too, until it executes its program, and would keep the lock for so long.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl OwnedFolder {
    /// Makes the folder if it is not there (0700) and takes it; a second daemon is refused.
    pub(crate) fn claim(path: &Path) -> anyhow::Result<Self> {
        Self::claim_for(path, "vtpm serve")
    }

    /// The same for another server than the daemon; `whose` names it in the message to a second one.
    pub(crate) fn claim_for(path: &Path, whose: &str) -> anyhow::Result<Self> {
        let shown = path.display();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("the data folder {shown} cannot be made"))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("the data folder {shown} cannot be opened"))?;
        let facts = fs::metadata(&path)
            .with_context(|| format!("the data folder {shown} cannot be opened"))?;
        if facts.uid() != rustix::process::geteuid().as_raw() {
            bail!(
                "the data folder {} belongs to another user (uid {}); use a folder of your own with --data",
                path.display(),
                facts.uid()
            );
        }
        if facts.mode() & 0o077 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
                .with_context(|| format!("the data folder {shown} cannot be made private"))?;
        }
        let lock = take_lock(&path, whose)?;
        Ok(Self { path, lock })
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn take_lock(folder: &Path, whose: &str) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .with_context(|| format!("the lock file {} cannot be opened", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _ = (&mut file).take(20).read_to_string(&mut holder);
        let holder = match holder.trim().parse::<u32>() {
            Ok(pid) => format!("process {pid}"),
            Err(_) => "another process".to_owned(),
        };
        bail!(
            "the data folder {} is in use by another `{whose}` ({holder}); stop that one, or use another folder with --data",
            folder.display()
        );
    }
    // Only for the message above; the lock itself is what counts.
    file.set_len(0)
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .with_context(|| format!("the lock file {} cannot be written", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_a_second_owner_is_refused_by_name() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        let first = OwnedFolder::claim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let refused = OwnedFolder::claim(&path).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        assert!(
            refused.contains(&path.canonicalize().unwrap().display().to_string()),
            "{refused}"
        );
        drop(first);
        OwnedFolder::claim(&path).unwrap();
    }

    #[test]
    fn an_open_folder_is_made_private() {
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let owned = OwnedFolder::claim(base.path()).unwrap();
        assert_eq!(fs::metadata(owned.path()).unwrap().mode() & 0o777, 0o700);
    }
}
