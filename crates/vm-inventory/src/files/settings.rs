//! Settings of a VM that stand in its files for people.

use super::Files;
use crate::model::{Datastore, Vm};
use crate::operation::StoredFile;
use crate::{Error, Name, Result};
use vm_store::{Datastore as _, VmDescription};

impl Files {
    /// What a folder of a datastore holds, if it is a VM; nothing of it is verified.
    pub(crate) fn describe(&self, datastore: &Datastore, folder: &Name) -> Result<VmDescription> {
        Ok(self.datastore(datastore)?.describe(folder.as_str())?)
    }

    /// How many bytes the storage behind a datastore has, and how many of them are free.
    pub(crate) fn space(&self, datastore: &Datastore) -> Result<(u64, u64)> {
        let open = self.datastore(datastore)?;
        let path = open.location();
        let found =
            rustix::fs::statvfs(path).map_err(|error| super::file_error(path, &error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok((bytes(found.f_blocks), bytes(found.f_bavail)))
    }

    /// The folders of VMs of a datastore, or the files of one of them; what is hidden is ours.
    pub(crate) fn list(
        &self,
        datastore: &Datastore,
        folder: Option<&Name>,
    ) -> Result<Vec<StoredFile>> {
        let mut at = self.location(datastore)?;
        let missing = |path: &std::path::Path| Error::NotFound {
            what: "folder of a datastore",
            name: path.display().to_string(),
            hint: "look at the datastore itself",
        };
        if let Some(folder) = folder {
            let inner = at.open_folder(folder.as_str());
            at = inner.map_err(|_| missing(&at.path().join(folder.as_str())))?;
        }
        let entries = at
            .entries()
            .map_err(|error| super::file_error(at.path(), &error))?;
        let mut found = Vec::new();
        for entry in entries {
            if entry.name.starts_with('.') || entry.name == "vm.lock" {
                continue;
            }
            let bytes = match entry.is_folder {
                true => None,
                // One that went meanwhile is not there.
                false => match at.open_read_only(&entry.name).and_then(|it| it.size()) {
                    Ok(bytes) => Some(bytes),
                    Err(_) => continue,
                },
            };
            found.push(StoredFile {
                name: entry.name,
                bytes,
            });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Changes settings of a VM that is off, other than those that its TPM depends on.
    pub(crate) fn edit(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        changes: &[(&str, Option<&str>)],
    ) -> Result<()> {
        self.datastore(datastore)?
            .edit(vm.folder.as_str(), changes)?;
        Ok(())
    }
}
