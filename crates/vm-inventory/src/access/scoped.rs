//! The operations as one user has them: what there is to look at, VMs, snapshots, tasks.

use super::{Principal, Right};
use crate::lineage::{self, LineageNode};
use crate::model::{PowerState, Privilege, Vapp, Vm, VmId};
use crate::operation::{EditTpm, Job, Operations, Preview, TakeSnapshot, VmView};
use crate::snapshot::SnapshotTree;
use crate::task::{Task, TaskId};
use crate::{AdoptTpm, CloneVm, CreateVm, Error, Import, MoveVm, Name, Rekey, Result, acting};
use std::sync::Arc;

/// [`Operations`] as one user has them, under the same names.
///
/// Each method looks at three things in this order: what the user names is there, as far as the user may know; the role allows it;
/// and then the operation's own rules. What belongs to another organization is answered as unknown.
#[derive(Clone)]
pub struct Scoped {
    pub(crate) operations: Arc<Operations>,
    pub(super) principal: Principal,
}

impl Operations {
    /// Everything, as `principal` may have it.
    #[must_use]
    pub fn as_user(self: &Arc<Self>, principal: Principal) -> Scoped {
        Scoped {
            operations: Arc::clone(self),
            principal,
        }
    }
}

impl Scoped {
    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The user's organization; `None` for the system.
    pub(super) fn organization(&self) -> Option<&Name> {
        self.principal.organization.as_ref()
    }

    /// Does something on behalf of the user: tasks and the audit log say so.
    pub(super) fn act<T>(&self, work: impl FnOnce(&Arc<Operations>) -> Result<T>) -> Result<T> {
        acting::on_behalf_of(self.principal.to_string(), || work(&self.operations))
    }

    pub(super) fn own_vm(&self, reference: &str) -> Result<Vm> {
        Ok(self
            .operations
            .own_vm(self.organization(), reference)?
            .record)
    }

    /// A VM that the user sees and may do something with, and its id, by which nothing else can be meant.
    fn vm_for(&self, reference: &str, right: Right) -> Result<(Vm, String)> {
        let vm = self.own_vm(reference)?;
        self.principal.need(right)?;
        let id = vm.id.to_string();
        Ok((vm, id))
    }

    fn need_if(&self, condition: bool, privilege: Privilege) -> Result<()> {
        if condition {
            self.principal.need_privilege(privilege)?;
        }
        Ok(())
    }

    pub(super) fn need_for_tpm(&self, has_tpm: bool, privilege: Privilege) -> Result<()> {
        self.need_if(has_tpm, privilege)
    }

    /// Key providers belong to vCenters: only users of the system name one.
    fn no_provider_of(&self, provider: Option<&Name>) -> Result<()> {
        match provider {
            Some(_) => self.principal.need(Right::Infrastructure),
            None => Ok(()),
        }
    }

    /// Every VM that the user sees, by vCenter and name.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vms(&self) -> Result<Vec<VmView>> {
        self.principal.need(Right::Look)?;
        Ok(self.some_vms(None, usize::MAX)?.unwrap_or_default())
    }

    /// At most so many of them, after the one of that id; `None` if it is not among them.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn some_vms(&self, after: Option<VmId>, most: usize) -> Result<Option<Vec<VmView>>> {
        self.principal.need(Right::Look)?;
        let organization = self.organization();
        let mut views = self.operations.some_vms(organization, after, most)?;
        for view in views.iter_mut().flatten() {
            self.forget_source(view);
        }
        Ok(views)
    }

    /// One VM by its name or id.
    ///
    /// # Errors
    /// When the user sees none, or the name is ambiguous.
    pub fn vm(&self, reference: &str) -> Result<VmView> {
        let (_, id) = self.vm_for(reference, Right::Look)?;
        let mut view = self.operations.vm(&id)?;
        self.forget_source(&mut view);
        Ok(view)
    }

    /// A VM whose commands the user may look at: they hold what the guest keeps in its TPM.
    ///
    /// # Errors
    /// When the user sees none, or may not look into it.
    pub fn traced_vm(&self, reference: &str) -> Result<VmView> {
        let view = self.vm(reference)?;
        self.principal.need(Right::Build)?;
        self.principal.need_privilege(Privilege::Access)?;
        Ok(view)
    }

    /// See [`Operations::create_vm`]. The VM is outside vApps, so it is the system's.
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_vm(&self, request: CreateVm) -> Result<Job> {
        self.may_create(&request)?;
        self.act(|operations| operations.create_vm(request))
    }

    /// What [`Self::create_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_create_vm(&self, request: &CreateVm) -> Result<Preview> {
        self.may_create(request)?;
        self.operations.preview_create_vm(request)
    }

    fn may_create(&self, request: &CreateVm) -> Result<()> {
        self.principal.need(Right::Infrastructure)?;
        self.need_for_tpm(request.tpm, Privilege::EncryptNew)
    }

    /// See [`Operations::adopt_tpm`]. The VM is outside vApps, so it is the system's.
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn adopt_tpm(&self, request: AdoptTpm) -> Result<Job> {
        self.principal.need(Right::Infrastructure)?;
        self.need_for_tpm(true, Privilege::EncryptNew)?;
        self.act(|operations| operations.adopt_tpm(request))
    }

    /// See [`Operations::clone_vm`]. The clone is outside vApps, so it is the system's.
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn clone_vm(&self, source: &str, request: &CloneVm) -> Result<Job> {
        let id = self.may_clone(source)?;
        self.act(|operations| operations.clone_vm(&id, request))
    }

    /// What [`Self::clone_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_clone_vm(&self, source: &str, request: &CloneVm) -> Result<Preview> {
        let id = self.may_clone(source)?;
        self.operations.preview_clone_vm(&id, request)
    }

    /// What [`Self::clone_vm`] asks for besides the operation's own rules.
    fn may_clone(&self, source: &str) -> Result<String> {
        let (vm, id) = self.vm_for(source, Right::Infrastructure)?;
        self.need_for_tpm(vm.is_encrypted(), Privilege::Clone)?;
        Ok(id)
    }

    /// See [`Operations::delete_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn delete_vm(&self, reference: &str) -> Result<Job> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.act(|operations| operations.delete_vm(&id))
    }

    /// What [`Self::delete_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_delete_vm(&self, reference: &str) -> Result<Preview> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.operations.preview_delete_vm(&id)
    }

    /// See [`Operations::power_on`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn power_on(&self, reference: &str, accept_rollback: bool) -> Result<Job> {
        let id = self.may_power(reference, accept_rollback)?;
        self.act(|operations| operations.power_on(&id, accept_rollback))
    }

    fn may_power(&self, reference: &str, accept_rollback: bool) -> Result<String> {
        let (_, id) = self.vm_for(reference, Right::Power)?;
        if accept_rollback {
            self.principal.need(Right::Build)?;
        }
        Ok(id)
    }

    /// What [`Self::power_on`], [`Self::power_off`] or [`Self::suspend_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_power(
        &self,
        reference: &str,
        power: PowerState,
        accept_rollback: bool,
    ) -> Result<Preview> {
        let id = self.may_power(reference, accept_rollback)?;
        self.operations.preview_power(&id, power, accept_rollback)
    }

    /// See [`Operations::power_off`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn power_off(&self, reference: &str) -> Result<Job> {
        let (_, id) = self.vm_for(reference, Right::Power)?;
        self.act(|operations| operations.power_off(&id))
    }

    /// See [`Operations::suspend_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn suspend_vm(&self, reference: &str) -> Result<Job> {
        let (_, id) = self.vm_for(reference, Right::Power)?;
        self.act(|operations| operations.suspend_vm(&id))
    }

    /// What [`Self::edit_tpm`] asks for besides the operation's own rules.
    fn may_edit_tpm(&self, vm: &str, request: &EditTpm) -> Result<String> {
        let (_, id) = self.vm_for(vm, Right::Build)?;
        self.principal.need_privilege(if request.present {
            Privilege::Encrypt
        } else {
            Privilege::Decrypt
        })?;
        self.no_provider_of(request.provider.as_ref())?;
        Ok(id)
    }

    /// See [`Operations::edit_tpm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn edit_tpm(&self, vm: &str, request: &EditTpm) -> Result<Job> {
        let id = self.may_edit_tpm(vm, request)?;
        self.act(|operations| operations.edit_tpm(&id, request))
    }

    /// What [`Self::edit_tpm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_edit_tpm(&self, vm: &str, request: &EditTpm) -> Result<Preview> {
        let id = self.may_edit_tpm(vm, request)?;
        self.operations.preview_edit_tpm(&id, request)
    }

    /// See [`Operations::rekey_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn rekey_vm(&self, reference: &str, request: Rekey) -> Result<Job> {
        let id = self.may_rekey(reference, &request)?;
        self.act(|operations| operations.rekey_vm(&id, request))
    }

    fn may_rekey(&self, reference: &str, request: &Rekey) -> Result<String> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.principal.need_privilege(Privilege::Recrypt)?;
        self.no_provider_of(request.provider.as_ref())?;
        Ok(id)
    }

    /// What [`Self::rekey_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_rekey_vm(&self, reference: &str, request: &Rekey) -> Result<Preview> {
        let id = self.may_rekey(reference, request)?;
        self.operations.preview_rekey_vm(&id, request)
    }

    /// See [`Operations::unlock_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn unlock_vm(&self, reference: &str) -> Result<Job> {
        let id = self.may_unlock(reference)?;
        self.act(|operations| operations.unlock_vm(&id))
    }

    fn may_unlock(&self, reference: &str) -> Result<String> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.principal.need_privilege(Privilege::RegisterVm)?;
        Ok(id)
    }

    /// What [`Self::unlock_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_unlock_vm(&self, reference: &str) -> Result<Preview> {
        let id = self.may_unlock(reference)?;
        self.operations.preview_unlock_vm(&id)
    }

    /// See [`Operations::snapshots`].
    ///
    /// # Errors
    /// When the user sees no such VM.
    pub fn snapshots(&self, reference: &str) -> Result<SnapshotTree> {
        let (_, id) = self.vm_for(reference, Right::Look)?;
        self.operations.snapshots(&id)
    }

    /// See [`Operations::take_snapshot`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn take_snapshot(&self, reference: &str, request: TakeSnapshot) -> Result<Job> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.act(|operations| operations.take_snapshot(&id, request))
    }

    /// What [`Self::take_snapshot`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_take_snapshot(
        &self,
        reference: &str,
        request: &TakeSnapshot,
    ) -> Result<Preview> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.operations.preview_take_snapshot(&id, request)
    }

    /// See [`Operations::revert_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn revert_vm(&self, reference: &str, snapshot: &str) -> Result<Job> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.act(|operations| operations.revert_vm(&id, snapshot))
    }

    /// What [`Self::revert_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_revert_vm(&self, reference: &str, snapshot: &str) -> Result<Preview> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.operations.preview_revert_vm(&id, snapshot)
    }

    /// See [`Operations::forget_snapshot`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn forget_snapshot(&self, reference: &str, snapshot: &str) -> Result<Job> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.act(|operations| operations.forget_snapshot(&id, snapshot))
    }

    /// What [`Self::forget_snapshot`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_forget_snapshot(&self, reference: &str, snapshot: &str) -> Result<Preview> {
        let (_, id) = self.vm_for(reference, Right::Build)?;
        self.operations.preview_forget_snapshot(&id, snapshot)
    }

    /// What [`Self::move_vm`] asks for besides the operation's own rules.
    fn may_move_vm(&self, vm: &str, request: &MoveVm) -> Result<(String, MoveVm)> {
        let (vm, id) = self.vm_for(vm, Right::Build)?;
        let vapp = self.own_vapp(&request.vapp)?;
        self.need_for_tpm(vm.is_encrypted(), Privilege::Migrate)?;
        let exact = MoveVm {
            vapp: exact(&vapp),
            ..request.clone()
        };
        Ok((id, exact))
    }

    /// See [`Operations::move_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn move_vm(&self, vm: &str, request: &MoveVm) -> Result<Job> {
        let (id, request) = self.may_move_vm(vm, request)?;
        self.act(|operations| operations.move_vm(&id, &request))
    }

    /// What [`Self::move_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_move_vm(&self, vm: &str, request: &MoveVm) -> Result<Preview> {
        let (id, request) = self.may_move_vm(vm, request)?;
        self.operations.preview_move_vm(&id, &request)
    }

    /// What [`Self::import_vm`] asks for besides the operation's own rules.
    fn may_import(&self, vm: &str) -> Result<String> {
        let (vm, id) = self.vm_for(vm, Right::Infrastructure)?;
        self.need_for_tpm(vm.is_encrypted(), Privilege::RegisterVm)?;
        Ok(id)
    }

    /// See [`Operations::import_vm`]. VMs outside vApps are the system's.
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn import_vm(&self, vm: &str, request: &Import) -> Result<Job> {
        let id = self.may_import(vm)?;
        self.act(|operations| operations.import_vm(&id, request))
    }

    /// What [`Self::import_vm`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_import_vm(&self, vm: &str, request: &Import) -> Result<Preview> {
        let id = self.may_import(vm)?;
        self.operations.preview_import_vm(&id, request)
    }

    /// The lineage of a VM's TPM, as far as the user sees the VMs in it.
    ///
    /// # Errors
    /// When the user sees no such VM.
    pub fn lineage(&self, vm: &str) -> Result<Vec<LineageNode>> {
        let (vm, id) = self.vm_for(vm, Right::Look)?;
        let tree = self.operations.lineage(&id)?;
        let Some(organization) = self.organization() else {
            return Ok(tree);
        };
        let inventory = self.operations.inventory();
        Ok(lineage::visible(tree, vm.id, |tpm| {
            inventory.index().is_of(tpm.vm, organization)
                || tpm.organization.as_ref() == Some(organization)
        }))
    }

    /// Every task that the user sees, the newest first.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn tasks(&self) -> Result<Vec<Task>> {
        Ok(self.some_tasks(None, usize::MAX)?.unwrap_or_default())
    }

    /// At most so many of them, after the one of that id; `None` if it is not among them.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn some_tasks(&self, after: Option<TaskId>, most: usize) -> Result<Option<Vec<Task>>> {
        self.principal.need(Right::Look)?;
        let organization = self.organization();
        self.operations.some_tasks(organization, after, most)
    }

    /// One task.
    ///
    /// # Errors
    /// When the user sees none of that id.
    pub fn task(&self, id: TaskId) -> Result<Task> {
        let task = self.operations.task(id)?;
        if !self.sees_task(&task) {
            return Err(crate::task::no_task(id));
        }
        self.principal.need(Right::Look)?;
        Ok(task)
    }

    /// See [`Operations::cancel_task`]: one's own, or anybody's for who may build.
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn cancel_task(&self, id: TaskId) -> Result<Task> {
        let task = self.task(id)?;
        if task.owner != Some(self.principal.to_string()) {
            self.principal.need(Right::Build)?;
        }
        self.act(|operations| operations.cancel_task(id))
    }

    fn sees_task(&self, task: &Task) -> bool {
        self.principal.is_system() || task.organization == self.principal.organization
    }

    /// A VM may have been made from one that the user does not see.
    pub(super) fn forget_source(&self, view: &mut VmView) {
        let source = view.tpm.source.take();
        view.tpm.source = source.filter(|source| self.sees_vm(source.id));
    }

    /// Whether a VM is one of the user's organization, or of its templates. The system sees all.
    pub(super) fn sees_vm(&self, vm: VmId) -> bool {
        self.organization()
            .is_none_or(|own| self.operations.inventory().index().is_of(vm, own))
    }

    pub(super) fn own_vapp(&self, reference: &str) -> Result<Vapp> {
        let found = self.operations.own_vapp(self.organization(), reference)?;
        Ok(found.record)
    }
}

/// What means this vApp and nothing else.
pub(super) fn exact(vapp: &Vapp) -> String {
    format!("{}/{}", vapp.organization, vapp.name)
}

/// An error for what the user names and cannot know of.
pub(super) fn no_organization(name: &str) -> Error {
    Error::NotFound {
        what: "organization",
        name: crate::inventory::shown(name),
        hint: "make one with `vtpm org add NAME`",
    }
}
