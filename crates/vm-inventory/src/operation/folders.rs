//! Folders of VMs, as vSphere has them: an order for people, which no rule depends on.

use super::Operations;
use crate::inventory::{Stored, Transaction};
use crate::model::{Datastore, Record, Timestamp, Vm, VmId};
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A folder of VMs on a vCenter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmFolder {
    /// Identifies it.
    pub id: Uuid,
    /// Its vCenter.
    pub vcenter: Name,
    /// Its name, unique among its siblings.
    pub name: Name,
    /// The folder that it is in; `None` for the vCenter's folder of all VMs.
    #[serde(default)]
    pub parent: Option<Uuid>,
    /// When it was made.
    pub created: Timestamp,
}

impl Record for VmFolder {
    const PREFIX: &'static str = "vm-folder/";
    fn key(&self) -> String {
        let parent = self
            .parent
            .map_or_else(|| "-".to_owned(), |id| id.to_string());
        format!("{}{}/{parent}/{}", Self::PREFIX, self.vcenter, self.name)
    }
}

impl VmFolder {
    fn prefix_of(vcenter: &Name) -> String {
        format!("{}{vcenter}/", Self::PREFIX)
    }
}

/// A file or folder on a datastore.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// Its length; `None` for a folder.
    pub bytes: Option<u64>,
}

impl Operations {
    /// The folders of a vCenter, in no order.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vm_folders(&self, vcenter: &Name) -> Result<Vec<VmFolder>> {
        let found = self.inventory.within(&VmFolder::prefix_of(vcenter))?;
        Ok(super::records(found))
    }

    /// The folders that VMs were put into; those that are in none are left out, as are folders that are gone.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vms_in_folders(&self, vcenter: &Name) -> Result<BTreeMap<VmId, Uuid>> {
        let folders = self.vm_folders(vcenter)?;
        if folders.is_empty() {
            return Ok(BTreeMap::new());
        }
        let known = folders.iter().map(|folder| folder.id).collect();
        Ok(self.inventory.index().in_folders(&known))
    }

    /// Makes a folder in another one, or in the vCenter's folder of all VMs.
    ///
    /// # Errors
    /// When there is no such vCenter or folder, or one of that name is there.
    pub fn create_vm_folder(
        &self,
        vcenter: &Name,
        parent: Option<Uuid>,
        name: &Name,
    ) -> Result<VmFolder> {
        let mut transaction = Transaction::default();
        transaction.unchanged(&self.inventory.vcenter(vcenter.as_str())?);
        if let Some(parent) = parent {
            transaction.unchanged(&self.vm_folder(vcenter, parent)?);
        }
        let folder = VmFolder {
            id: VmId::random().0,
            vcenter: vcenter.clone(),
            name: name.clone(),
            parent,
            created: Timestamp::now(),
        };
        transaction.insert(&folder)?;
        self.commit_folder(transaction, &folder)?;
        Ok(folder)
    }

    /// Gives a folder another name, or puts it into another folder.
    ///
    /// # Errors
    /// When there is no such folder, one of that name is there, or it would be in itself.
    pub fn change_vm_folder(
        &self,
        vcenter: &Name,
        id: Uuid,
        change: impl FnOnce(&mut VmFolder),
    ) -> Result<()> {
        let stored = self.vm_folder(vcenter, id)?;
        let mut after = stored.record.clone();
        change(&mut after);
        (after.id, after.vcenter) = (id, vcenter.clone());
        if after.key() == stored.record.key() {
            return Ok(());
        }
        let mut transaction = Transaction::default();
        let mut above = after.parent;
        while let Some(parent) = above {
            if parent == id {
                return Err(Error::BadValue(format!(
                    "the folder {} cannot be in itself",
                    after.name
                )));
            }
            let parent = self.vm_folder(vcenter, parent)?;
            transaction.unchanged(&parent);
            above = parent.record.parent;
        }
        transaction.remove(&stored);
        transaction.insert(&after)?;
        self.commit_folder(transaction, &after)
    }

    /// Removes a folder that is empty.
    ///
    /// # Errors
    /// When there is no such folder, or something is in it.
    pub fn remove_vm_folder(&self, vcenter: &Name, id: Uuid) -> Result<()> {
        let stored = self.vm_folder(vcenter, id)?;
        let folders = self.vm_folders(vcenter)?;
        let mut held = folders.iter().any(|other| other.parent == Some(id));
        for (vm, _) in self
            .vms_in_folders(vcenter)?
            .into_iter()
            .filter(|(_, folder)| *folder == id)
        {
            held |= self.inventory.find::<Vm>(&Vm::key_of(vm))?.is_some();
        }
        if held {
            return Err(Error::NotEmpty {
                folder: stored.record.name,
            });
        }
        let mut transaction = Transaction::default();
        transaction.remove(&stored);
        self.inventory.commit(transaction)
    }

    /// Puts a VM (a name or an id) that belongs to no vApp into a folder of its vCenter.
    ///
    /// # Errors
    /// When there is no such VM or folder, or the VM belongs to a vApp.
    pub fn place_vm(&self, reference: &str, folder: Option<Uuid>) -> Result<()> {
        let vm = self.inventory.vm(reference)?;
        if vm.record.vapp.is_some() {
            return Err(Error::BadValue(format!(
                "{} belongs to a vApp, which has a folder of its own",
                vm.record.name
            )));
        }
        let mut hardware = self.vm_hardware(&vm.record.id.to_string())?;
        let mut transaction = Transaction::default();
        transaction.unchanged(&vm);
        if let Some(folder) = folder {
            transaction.unchanged(&self.vm_folder(&vm.record.vcenter, folder)?);
        }
        hardware.folder = folder;
        transaction.put(&hardware)?;
        self.inventory.commit(transaction)
    }

    /// What is in a datastore, or in one of its folders: folders of VMs and their files.
    ///
    /// # Errors
    /// When there is no such datastore or folder.
    pub fn stored_files(&self, datastore: &Name, folder: Option<&Name>) -> Result<Vec<StoredFile>> {
        let datastore: Datastore = self.inventory.datastore(datastore.as_str())?.record;
        self.files.list(&datastore, folder)
    }

    fn vm_folder(&self, vcenter: &Name, id: Uuid) -> Result<Stored<VmFolder>> {
        let found = self
            .inventory
            .within::<VmFolder>(&VmFolder::prefix_of(vcenter))?;
        found
            .into_iter()
            .find(|stored| stored.record.id == id)
            .ok_or_else(|| super::plan::missing("folder", &id.to_string()))
    }

    fn commit_folder(&self, transaction: Transaction, folder: &VmFolder) -> Result<()> {
        self.inventory
            .commit(transaction)
            .map_err(|error| match error {
                Error::Conflict { key } if key == folder.key() => Error::Exists {
                    what: "folder",
                    name: folder.name.clone(),
                    place: "that folder".to_owned(),
                },
                other => other,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, done, name};

    #[test]
    fn folders_hold_folders_and_vms_and_go_when_they_are_empty() {
        let world = World::with_vcenter("8.0.3");
        let ops = &world.operations;
        world.create("vm");
        let vcenter = ops.vm("vm").unwrap().vcenter;
        let outer = ops
            .create_vm_folder(&vcenter, None, &name("outer"))
            .unwrap();
        let inner = ops
            .create_vm_folder(&vcenter, Some(outer.id), &name("inner"))
            .unwrap();
        let twice = ops.create_vm_folder(&vcenter, None, &name("outer"));
        assert!(matches!(twice, Err(Error::Exists { .. })), "{twice:?}");
        let lost = ops.create_vm_folder(&vcenter, Some(Uuid::nil()), &name("x"));
        assert!(matches!(lost, Err(Error::NotFound { .. })), "{lost:?}");
        let into_itself = ops.change_vm_folder(&vcenter, outer.id, |it| it.parent = Some(inner.id));
        assert!(into_itself.is_err());
        ops.place_vm("vm", Some(inner.id)).unwrap();
        let id = ops.vm("vm").unwrap().id;
        let placed = ops.vms_in_folders(&vcenter).unwrap();
        assert_eq!(placed.get(&id), Some(&inner.id));
        for folder in [outer.id, inner.id] {
            let held = ops.remove_vm_folder(&vcenter, folder);
            assert!(matches!(held, Err(Error::NotEmpty { .. })), "{held:?}");
        }
        ops.change_vm_folder(&vcenter, inner.id, |it| {
            it.name = name("moved");
            it.parent = None;
        })
        .unwrap();
        ops.remove_vm_folder(&vcenter, outer.id).unwrap();
        done(ops.delete_vm("vm"));
        ops.remove_vm_folder(&vcenter, inner.id).unwrap();
        assert!(ops.vm_folders(&vcenter).unwrap().is_empty());
    }
}
