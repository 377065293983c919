//! Names, marks, and what takes several operations, as one user has them.

use super::scoped::exact;
use super::{Right, Scoped};
use crate::model::{Catalog, Privilege, Vdc};
use crate::operation::{Job, ReconfigureVm, TakeSnapshot};
use crate::task::{TaskError, TaskId};
use crate::{Name, Result, acting};
use uuid::Uuid;

impl Scoped {
    /// See [`crate::Operations::rename_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn rename_vm(&self, vm: &str, name: &Name) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.act(|operations| operations.rename_vm(&vm.id.to_string(), name))
    }

    /// See [`crate::Operations::rename_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn rename_vapp(&self, vapp: &str, name: &Name) -> Result<Job> {
        let vapp = self.own_vapp(vapp)?;
        self.principal.need(Right::Build)?;
        self.act(|operations| operations.rename_vapp(&exact(&vapp), name))
    }

    /// See [`crate::Operations::rename_template`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn rename_template(&self, template: &str, name: &Name) -> Result<Job> {
        let (_, template) = self.own_template(template)?;
        self.principal.need(Right::Catalogs)?;
        self.act(|operations| operations.rename_template(&template, name))
    }

    /// See [`crate::Operations::rename_catalog`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn rename_catalog(&self, catalog: &str, name: &Name) -> Result<Catalog> {
        let (_, catalog) = self.own_catalog(catalog)?;
        self.principal.need(Right::Catalogs)?;
        self.act(|operations| operations.rename_catalog(&catalog, name))
    }

    /// See [`crate::Operations::delete_catalog`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn delete_catalog(&self, catalog: &str) -> Result<()> {
        let (_, catalog) = self.own_catalog(catalog)?;
        self.principal.need(Right::Catalogs)?;
        self.act(|operations| operations.delete_catalog(&catalog))
    }

    /// See [`crate::Operations::mark_vm`]. What is marked belongs to a vCenter.
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn mark_vm(&self, vm: &str, template: bool) -> Result<()> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.mark_vm(&vm.id.to_string(), template))
    }

    /// See [`crate::Operations::restart_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn restart_vm(&self, vm: &str) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Power)?;
        self.act(|operations| operations.restart_vm(&vm.id.to_string()))
    }

    /// See [`crate::Operations::restart_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn restart_vapp(&self, vapp: &str) -> Result<Job> {
        let vapp = self.own_vapp(vapp)?;
        self.principal.need(Right::Power)?;
        self.act(|operations| operations.restart_vapp(&exact(&vapp)))
    }

    /// See [`crate::Operations::reconfigure_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn reconfigure_vm(&self, vm: &str, change: ReconfigureVm) -> Result<Job> {
        let vm = self.may_reconfigure(vm, &change)?;
        self.act(|operations| operations.reconfigure_vm(&vm, change))
    }

    /// See [`crate::Operations::snapshot_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn snapshot_vapp(&self, vapp: &str, take: TakeSnapshot) -> Result<Job> {
        let vapp = self.own_vapp(vapp)?;
        self.principal.need(Right::Build)?;
        self.act(|operations| operations.snapshot_vapp(&exact(&vapp), take))
    }

    /// See [`crate::Operations::revert_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn revert_vapp(&self, vapp: &str) -> Result<Job> {
        let vapp = self.own_vapp(vapp)?;
        self.principal.need(Right::Build)?;
        self.act(|operations| operations.revert_vapp(&exact(&vapp)))
    }

    /// See [`crate::Operations::forget_vapp_snapshots`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn forget_vapp_snapshots(&self, vapp: &str) -> Result<Job> {
        let vapp = self.own_vapp(vapp)?;
        self.principal.need(Right::Build)?;
        self.act(|operations| operations.forget_vapp_snapshots(&exact(&vapp)))
    }

    /// See [`crate::Operations::forget_snapshots`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn forget_snapshots(&self, vm: &str) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.act(|operations| operations.forget_snapshots(&vm.id.to_string()))
    }

    /// Does `work`, of which the first task has that identifier.
    pub fn numbered<T>(&self, id: Uuid, work: impl FnOnce() -> T) -> T {
        acting::numbered(id, work)
    }

    /// Records that what one of the user's own tasks began failed in the end, after it was undone.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn fail_task(&self, id: TaskId, error: TaskError) -> Result<()> {
        let own = self
            .task(id)
            .is_ok_and(|task| task.owner == Some(self.principal.to_string()));
        if own {
            self.operations.fail_task(id, error)?;
        }
        Ok(())
    }

    /// See [`crate::Operations::unregister_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn unregister_vm(&self, vm: &str) -> Result<()> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.unregister_vm(&vm.id.to_string()))
    }

    /// See [`crate::Operations::register_vm`]. It may have a TPM, whose key is fetched.
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn register_vm(
        &self,
        vcenter: &Name,
        datastore: &Name,
        folder: &Name,
        name: Option<&Name>,
    ) -> Result<Job> {
        self.principal.need(Right::Infrastructure)?;
        self.principal.need_privilege(Privilege::RegisterVm)?;
        self.act(|operations| operations.register_vm(vcenter, datastore, folder, name))
    }

    /// That the user may change a VM in these ways; gives what means this VM and nothing else.
    fn may_reconfigure(&self, vm: &str, change: &ReconfigureVm) -> Result<String> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        match change.tpm {
            Some(true) if vm.tpm.is_none() => {
                self.principal.need_privilege(Privilege::Encrypt)?;
            }
            Some(false) if vm.tpm.is_some() => {
                self.principal.need_privilege(Privilege::Decrypt)?;
            }
            _ => {}
        }
        Ok(vm.id.to_string())
    }

    /// See [`crate::Operations::reconfigure_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn reconfigure_vapp(&self, vapp: &str, changes: &[(String, ReconfigureVm)]) -> Result<Job> {
        let vapp = self.own_vapp(vapp)?;
        let changes = self.exact_changes(changes)?;
        self.act(|operations| operations.reconfigure_vapp(&exact(&vapp), changes))
    }

    /// A job with changes of VMs that there are as its next step.
    ///
    /// # Errors
    /// When the user may not do that.
    pub fn and_reconfigure(&self, job: Job, changes: &[(String, ReconfigureVm)]) -> Result<Job> {
        Ok(job.then_reconfigure(self.exact_changes(changes)?))
    }

    /// The VMs by their identifiers, if the user may change them so.
    fn exact_changes(
        &self,
        changes: &[(String, ReconfigureVm)],
    ) -> Result<Vec<(String, ReconfigureVm)>> {
        changes
            .iter()
            .map(|(vm, change)| Ok((self.may_reconfigure(vm, change)?, change.clone())))
            .collect()
    }

    /// Where the files of new VMs of a virtual data center go, by the name of the datastore.
    ///
    /// # Errors
    /// When the user sees no such virtual data center, or its vCenter no datastore.
    pub fn datastore_of_vdc(&self, vdc: &Vdc) -> Result<Name> {
        if !self.sees(&vdc.organization) {
            return Err(super::scoped::no_organization(vdc.organization.as_str()));
        }
        let inventory = self.operations.inventory();
        let found = inventory.datastore_on(&vdc.vcenter, vdc.datastore.as_ref())?;
        Ok(found.record.name)
    }

    /// See [`crate::Operations::datastore_space`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn datastore_space(&self, name: &Name) -> Result<(u64, u64)> {
        self.principal.need(Right::Infrastructure)?;
        self.operations.datastore_space(name)
    }
}
