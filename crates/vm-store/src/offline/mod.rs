//! Looking at a VM's files without a daemon: what they are, whether they are whole, and the rescue of an older state.

mod examine;
mod rescue;

pub use examine::{
    Examination, Finding, NvramReport, SectionReport, Severity, SlotReport, SnapshotReport,
    TpmReport, examine,
};
pub(crate) use rescue::is_kept_copy;
pub use rescue::{Rescue, use_older_slot};

use crate::{
    backend::{Backend, BackendFile, Folder},
    error::StoreError,
    vm_file::{self, LOCK_NAME, vmx_name},
};
use std::{io, path::Path, sync::Arc};

/// A VM's folder, found by the path of the folder or of one of its files.
#[derive(Debug)]
pub struct Place {
    folder: Arc<dyn Folder>,
    /// The VM's name; `None` if there is no `.vmx` here.
    name: Option<String>,
    /// The one file that was asked for, if it is not the `.vmx`.
    only: Option<String>,
}

impl Place {
    /// Finds the VM of a folder, a `.vmx`, an `.nvram` or a `.vmsn`. A state folder stands for the one VM in it.
    pub fn find(backend: &dyn Backend, path: &Path) -> Result<Self, StoreError> {
        match backend.open_folder(path) {
            Ok(folder) => Self::in_folder(backend, path, folder),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                Self::of_file(backend, path)
            }
            Err(error) => Err(StoreError::io("open", path)(error)),
        }
    }

    fn in_folder(
        backend: &dyn Backend,
        path: &Path,
        folder: Arc<dyn Folder>,
    ) -> Result<Self, StoreError> {
        let mut names = names(&*folder)?;
        let name = names.pop();
        if !names.is_empty() {
            return Err(StoreError::NotOneVm {
                path: path.to_path_buf(),
                what: "more than one .vmx; name the one that is meant",
            });
        }
        if name.is_none() {
            let inner = path.join(crate::STATE_NAME);
            let has_state = folder
                .open_folder(crate::STATE_NAME)
                .is_ok_and(|inner| names_of(&*inner).is_ok_and(|names| !names.is_empty()));
            if has_state {
                return Self::find(backend, &inner);
            }
            return Err(StoreError::NotOneVm {
                path: path.to_path_buf(),
                what: "no .vmx; name the folder of a VM, or one of its files",
            });
        }
        Ok(Self {
            folder,
            name,
            only: None,
        })
    }

    fn of_file(backend: &dyn Backend, path: &Path) -> Result<Self, StoreError> {
        let not_ours = || StoreError::NotOneVm {
            path: path.to_path_buf(),
            what: "no folder and no file that ends in .vmx, .nvram or .vmsn",
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let file = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(not_ours)?;
        let folder = backend
            .open_folder(parent)
            .map_err(StoreError::io("open", parent))?;
        if let Some(name) = file.strip_suffix(".vmx") {
            return Ok(Self {
                folder,
                name: Some(name.to_owned()),
                only: None,
            });
        }
        if !file.ends_with(".nvram") && !file.ends_with(".vmsn") {
            return Err(not_ours());
        }
        let mut names = names(&*folder)?;
        let name = names.pop().filter(|_| names.is_empty());
        Ok(Self {
            folder,
            name,
            only: Some(file.to_owned()),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What the VM's settings say, read without its key and so not verified; `None` if there are none.
    pub fn locator(&self) -> Option<crate::KeyLocator> {
        let (settings, path) = vm_file::read_settings(&*self.folder, self.name.as_ref()?).ok()?;
        let binding = crate::TpmBinding::read(&settings, &path).ok()??;
        Some(binding.locator)
    }

    /// Keeps the VM as it is while it is looked at; an error if another process has it open. Changes nothing.
    pub fn hold(&self) -> Result<Held, StoreError> {
        hold(&*self.folder, LOCK_NAME, self.path())
    }

    fn vm(&self) -> Result<&str, StoreError> {
        self.name.as_deref().ok_or_else(|| StoreError::NotOneVm {
            path: self.path().to_path_buf(),
            what: "no .vmx, without which nothing can be repaired",
        })
    }
}

/// As long as this lives, nobody else opens the VM.
#[derive(Debug)]
pub struct Held {
    _lock: Option<Box<dyn BackendFile>>,
}

/// Takes a lock whose file is there already; where there is none, nobody has it.
fn hold(folder: &dyn Folder, lock: &str, shown: &Path) -> Result<Held, StoreError> {
    let path = folder.path().join(lock);
    let file = match folder.open_read_only(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held { _lock: None }),
        Err(error) => return Err(StoreError::io("open", &path)(error)),
    };
    if file.try_lock().map_err(StoreError::io("lock", &path))? {
        return Ok(Held { _lock: Some(file) });
    }
    Err(StoreError::Locked {
        path: shown.to_path_buf(),
        lock: lock.to_owned(),
    })
}

/// The names of the VMs that have a `.vmx` in a folder.
fn names(folder: &dyn Folder) -> Result<Vec<String>, StoreError> {
    names_of(folder).map_err(StoreError::io("list", folder.path()))
}

fn names_of(folder: &dyn Folder) -> io::Result<Vec<String>> {
    let names = folder.entries()?.into_iter().filter_map(|entry| {
        let name = entry.name.strip_suffix(".vmx")?;
        (!name.starts_with('.') && vmx_name(name) == entry.name).then(|| name.to_owned())
    });
    Ok(names.collect())
}
