//! Folders of VMs and files on datastores, as one user has them: they are the system's.

use super::{Right, Scoped};
use crate::model::VmId;
use crate::operation::{StoredFile, VmFolder};
use crate::{Name, Result};
use std::collections::BTreeMap;
use uuid::Uuid;

impl Scoped {
    /// See [`crate::Operations::vm_folders`].
    ///
    /// # Errors
    /// When the user may not look.
    pub fn vm_folders(&self, vcenter: &Name) -> Result<Vec<VmFolder>> {
        self.principal.need(Right::Look)?;
        self.operations.vm_folders(vcenter)
    }

    /// See [`crate::Operations::vms_in_folders`].
    ///
    /// # Errors
    /// When the user may not look.
    pub fn vms_in_folders(&self, vcenter: &Name) -> Result<BTreeMap<VmId, Uuid>> {
        self.principal.need(Right::Look)?;
        self.operations.vms_in_folders(vcenter)
    }

    /// See [`crate::Operations::create_vm_folder`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_vm_folder(
        &self,
        vcenter: &Name,
        parent: Option<Uuid>,
        name: &Name,
    ) -> Result<VmFolder> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.create_vm_folder(vcenter, parent, name))
    }

    /// See [`crate::Operations::change_vm_folder`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn change_vm_folder(
        &self,
        vcenter: &Name,
        id: Uuid,
        change: impl FnOnce(&mut VmFolder),
    ) -> Result<()> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.change_vm_folder(vcenter, id, change))
    }

    /// See [`crate::Operations::remove_vm_folder`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn remove_vm_folder(&self, vcenter: &Name, id: Uuid) -> Result<()> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.remove_vm_folder(vcenter, id))
    }

    /// See [`crate::Operations::place_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn place_vm(&self, vm: &str, folder: Option<Uuid>) -> Result<()> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.place_vm(&vm.id.to_string(), folder))
    }

    /// See [`crate::Operations::stored_files`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn stored_files(&self, datastore: &Name, folder: Option<&Name>) -> Result<Vec<StoredFile>> {
        self.principal.need(Right::Infrastructure)?;
        self.operations.stored_files(datastore, folder)
    }
}
