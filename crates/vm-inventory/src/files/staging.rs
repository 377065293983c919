//! Files that arrive before the VM that will have them: in a hidden folder of the datastore, which its next owner removes should this
//! process end.

use super::transfer::{copy_file, empty_and_remove};
use super::{Files, file_error};
use crate::model::{Datastore, Vm};
use crate::ovf::Shelf;
use crate::{Error, Result};
use std::fmt;
use std::io;
use std::sync::Arc;
use uuid::Uuid;
use vm_store::Datastore as _;
use vm_store::backend::{BackendFile, Folder};

/// A hidden folder in a datastore; it goes away with the value.
pub(crate) struct Staging {
    location: Arc<dyn Folder>,
    folder: Arc<dyn Folder>,
    name: String,
    /// The file that is being written, and how much of it there is.
    open: Option<(Box<dyn BackendFile>, u64)>,
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staging").field("name", &self.name).finish()
    }
}

impl Shelf for Staging {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.open = Some((self.folder.create(name)?, 0));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, end) = self
            .open
            .as_mut()
            .ok_or_else(|| io::Error::other("no file was begun"))?;
        file.write_all_at(bytes, *end)?;
        *end += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some((file, _)) => file.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.open = None;
        if let Err(error) = empty_and_remove(&*self.location, &self.name) {
            tracing::warn!(folder = %self.name, "removed at the next start: {error}");
        }
    }
}

impl Files {
    /// A new hidden folder in a datastore.
    pub(crate) fn stage(&self, datastore: &Datastore) -> Result<Staging> {
        let location = self.location(datastore)?;
        let name = format!(".new-{}", Uuid::new_v4().simple());
        let folder = location
            .create_folder(&name)
            .map_err(|error| file_error(&location.path().join(&name), &error))?;
        Ok(Staging {
            location,
            folder,
            name,
            open: None,
        })
    }

    /// Gives staged files to a VM that was just made, and its devices their settings. A file that another VM has too is copied.
    pub(crate) fn take_in(
        &self,
        staging: &Staging,
        files: &[StagedFile],
        settings: &[(String, String)],
        vm: &Vm,
        datastore: &Datastore,
    ) -> Result<()> {
        let to = self.vm_folder(vm, datastore)?;
        for StagedFile { name, shared } in files {
            let (from, target) = (staging.folder.path().join(name), to.path().join(name));
            // Where the datastore does not let files change folders, they are copied too.
            if *shared || std::fs::rename(&from, &target).is_err() {
                copy_file(&*staging.folder, name, &*to, name)?;
            }
        }
        to.sync().map_err(|error| file_error(to.path(), &error))?;
        let changes: Vec<(&str, Option<&str>)> = settings
            .iter()
            .map(|(key, value)| (key.as_str(), Some(value.as_str())))
            .collect();
        if !changes.is_empty() {
            self.datastore(datastore)?
                .edit(vm.folder.as_str(), &changes)
                .map_err(Error::from)?;
        }
        Ok(())
    }
}

/// A staged file that a VM gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StagedFile {
    /// Its name, there and in the VM's folder.
    pub(crate) name: String,
    /// Whether another drive needs it too.
    pub(crate) shared: bool,
}
