//! Settings of a VM that stand in its files for people.

use super::Files;
use crate::model::{Datastore, Vm};
use crate::{Name, Result};
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
