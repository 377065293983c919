//! What takes several operations one after another, as one task: VMs restarted or changed in several ways at once, snapshots of whole vApps.

use super::plan::as_busy;
use super::together::succeeded;
use super::{EditTpm, Job, Operations, TakeSnapshot};
use crate::guest::GuestOs;
use crate::inventory::{Stored, Transaction};
use crate::model::{Firmware, PowerState, Record, Vapp, VappMember, Vm, id_in};
use crate::task::{TargetKind, Task, TaskError, TaskId, TaskStatus};
use crate::{Error, Name, Result, acting};
use std::sync::Arc;
use uuid::Uuid;

/// What is to become of a VM besides what it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReconfigureVm {
    /// Another name.
    pub name: Option<Name>,
    /// Another number of processors.
    pub cpus: Option<u32>,
    /// Another number of cores of a socket.
    pub cores_per_socket: Option<u32>,
    /// Other memory, in mebibytes.
    pub memory_mb: Option<u32>,
    /// Other notes.
    pub annotation: Option<String>,
    /// Other settings, as the vSphere API keeps them.
    pub settings: Option<String>,
    /// Another firmware.
    pub firmware: Option<Firmware>,
    /// Another hardware version.
    pub hardware_version: Option<u16>,
    /// Another guest.
    pub guest: Option<GuestOs>,
    /// Whether it is to have a TPM.
    pub tpm: Option<bool>,
}

impl ReconfigureVm {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Job {
    /// Changes VMs as the next step of the job's task: each by its identifier, or by its name in the vApp that the job makes.
    #[must_use]
    pub fn then_reconfigure(mut self, changes: Vec<(String, ReconfigureVm)>) -> Self {
        if changes.is_empty() {
            return self;
        }
        let after = self.then.take();
        self.then = Some(Box::new(move |operations, task| {
            for (vm, change) in changes {
                let vm = match task.target {
                    _ if id_in(&vm).is_some() => vm,
                    TargetKind::Vapp => operations.member_called(task.vm.0, &vm)?,
                    _ => task.vm.to_string(),
                };
                succeeded(operations.reconfigure_vm(&vm, change)?.run())?;
            }
            match after {
                Some(after) => after(operations, task),
                None => Ok(()),
            }
        }));
        self
    }

    /// Gives the vApp that the job changes another name, as the next step of its task.
    #[must_use]
    pub fn then_rename_vapp(mut self, name: Name) -> Self {
        let after = self.then.take();
        self.then = Some(Box::new(move |operations, task| {
            succeeded(operations.rename_vapp(&task.vm.to_string(), &name)?.run())?;
            match after {
                Some(after) => after(operations, task),
                None => Ok(()),
            }
        }));
        self
    }
}

impl Operations {
    /// The identifier of the VM of that name in a vApp.
    fn member_called(&self, vapp: Uuid, name: &str) -> Result<String> {
        let found = self
            .inventory
            .find::<VappMember>(&VappMember::key_of(vapp, name))?;
        let member = found.ok_or_else(|| crate::inventory::no_vm(name))?;
        Ok(member.record.vm.to_string())
    }

    /// Changes several VMs of a vApp, one after another, as one task.
    ///
    /// # Errors
    /// When there is no such vApp.
    pub fn reconfigure_vapp(
        self: &Arc<Self>,
        reference: &str,
        changes: Vec<(String, ReconfigureVm)>,
    ) -> Result<Job> {
        let vapp = self.find_vapp(reference)?;
        let task = of_vapp("reconfigure_vapp", &vapp.record);
        self.in_turn(task, &vapp, move |this, _| {
            for (vm, change) in changes {
                succeeded(this.reconfigure_vm(&vm, change)?.run())?;
            }
            Ok(())
        })
    }

    /// Powers a VM off and on again: its TPM is shut down in good order and started anew.
    ///
    /// # Errors
    /// When there is no such VM, or it is off.
    pub fn restart_vm(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let vm = self.inventory.vm(reference)?;
        need_on(&vm.record)?;
        let task = Task::of("reset_vm", &vm.record);
        let id = vm.record.id.to_string();
        self.in_turn(task, &vm, move |this, _| this.restart(&id))
    }

    fn restart(self: &Arc<Self>, vm: &str) -> Result<()> {
        succeeded(self.power_off(vm)?.run())?;
        succeeded(self.power_on(vm, false)?.run())
    }

    /// The same with every VM of a vApp that runs.
    ///
    /// # Errors
    /// When there is no such vApp, or none of its VMs runs.
    pub fn restart_vapp(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let vapp = self.find_vapp(reference)?;
        if !self
            .members(&vapp.record)?
            .iter()
            .any(|vm| is_on(&vm.record))
        {
            return Err(Error::Power {
                vm: vapp.record.name.clone(),
                is: PowerState::Off,
                hint: "none of its VMs runs",
            });
        }
        let task = of_vapp("reset_vapp", &vapp.record);
        let id = vapp.record.id.to_string();
        self.in_turn(task, &vapp, move |this, _| {
            for vm in this.members(&this.find_vapp(&id)?.record)? {
                if is_on(&vm.record) {
                    this.restart(&vm.record.id.to_string())?;
                }
            }
            Ok(())
        })
    }

    /// Changes a VM in several ways, as one: what it is made for and its TPM, then what is said about it, its name last. If the TPM is
    /// refused, nothing has changed.
    ///
    /// # Errors
    /// When there is no such VM, or a rule is not met that can be looked at before; then nothing was changed.
    pub fn reconfigure_vm(self: &Arc<Self>, reference: &str, change: ReconfigureVm) -> Result<Job> {
        let vm = self.inventory.vm(reference)?;
        let record = &vm.record;
        let edit = change
            .tpm
            .filter(|present| *present != record.tpm.is_some())
            .map(|present| EditTpm {
                present,
                provider: None,
                profile: None,
                confirm: true,
            });
        let id = record.id.to_string();
        let settled = self.check_settings(record, &change)?.is_some();
        if let Some(edit) = &edit {
            let preview = self.preview_edit_tpm(&id, edit)?;
            // With other settings it may be possible.
            if !preview.possible && !settled {
                return Err(Error::Rules {
                    operation: if edit.present {
                        "add_tpm"
                    } else {
                        "remove_tpm"
                    },
                    failures: preview.failures,
                });
            }
        }
        self.check_vm_hardware(&id, |hardware| change.apply(hardware))?;
        if let Some(name) = &change.name
            && *name != record.name
        {
            self.check_vm_name(record, name)?;
        }
        let task = Task::of("reconfigure_vm", record);
        let before = ReconfigureVm {
            firmware: Some(record.firmware),
            hardware_version: Some(record.hardware_version),
            guest: Some(record.guest.clone()),
            ..ReconfigureVm::default()
        };
        self.in_turn(task, &vm, move |this, task| {
            this.change_settings(&id, &change)?;
            if let Some(edit) = &edit {
                this.report(task, 10, "changing the TPM");
                let edited = this
                    .edit_tpm(&id, edit)
                    .and_then(|job| succeeded(job.run()));
                if edited.is_err() && settled {
                    this.change_settings(&id, &before)?;
                }
                edited?;
            }
            if change.is_about_hardware() {
                this.report(task, 60, "changing processors, memory, notes and settings");
                this.change_vm_hardware(&id, |hardware| change.apply(hardware))?;
            }
            if let Some(name) = &change.name {
                this.report(task, 80, "renaming");
                succeeded(this.rename_vm(&id, name)?.run())?;
            }
            Ok(())
        })
    }

    /// Records that what a task of several operations was a part of failed after all: what it did was undone.
    ///
    /// # Errors
    /// When the inventory fails.
    pub(crate) fn fail_task(&self, id: TaskId, error: TaskError) -> Result<()> {
        let Some(stored) = self.inventory.find::<Task>(&Task::key_of(id))? else {
            return Ok(());
        };
        if stored.record.status != TaskStatus::Success {
            return Ok(());
        }
        let mut failed = stored.record.clone();
        failed.status = TaskStatus::Error;
        "failed".clone_into(&mut failed.step);
        failed.error = Some(error);
        let mut transaction = Transaction::default();
        transaction.update(&stored, &failed)?;
        self.inventory.commit(transaction)
    }

    /// Powers a vApp's VMs off, those that are not, and deletes it, as one task.
    ///
    /// # Errors
    /// When there is no such vApp.
    pub fn delete_running_vapp(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let vapp = self.find_vapp(reference)?;
        let task = of_vapp("delete_vapp", &vapp.record);
        let id = vapp.record.id.to_string();
        self.in_turn(task, &vapp, move |this, _| {
            let mut members = this.members(&this.find_vapp(&id)?.record)?.into_iter();
            if members.any(|vm| vm.record.power != PowerState::Off) {
                succeeded(this.power_vapp(&id, PowerState::Off)?.run())?;
            }
            succeeded(this.delete_vapp(&id)?.run())
        })
    }

    /// Takes a snapshot of every VM of a vApp.
    ///
    /// # Errors
    /// When there is no such vApp, or no VM in it.
    pub fn snapshot_vapp(self: &Arc<Self>, reference: &str, take: TakeSnapshot) -> Result<Job> {
        self.each_member(reference, "snapshot_vapp", move |this, vm| {
            succeeded(this.take_snapshot(&vm.id.to_string(), take.clone())?.run())
        })
    }

    /// Brings every VM of a vApp back to its current snapshot; those that have none stay as they are.
    ///
    /// # Errors
    /// When there is no such vApp, or no VM in it.
    pub fn revert_vapp(self: &Arc<Self>, reference: &str) -> Result<Job> {
        self.each_member(reference, "revert_vapp", |this, vm| {
            match this.tree(vm.id)?.current {
                Some(current) => succeeded(
                    this.revert_vm(&vm.id.to_string(), &current.to_string())?
                        .run(),
                ),
                None => Ok(()),
            }
        })
    }

    /// Forgets every snapshot of every VM of a vApp.
    ///
    /// # Errors
    /// When there is no such vApp, or no VM in it.
    pub fn forget_vapp_snapshots(self: &Arc<Self>, reference: &str) -> Result<Job> {
        self.each_member(reference, "forget_vapp_snapshots", |this, vm| {
            this.forget_all(vm)
        })
    }

    /// Forgets every snapshot of a VM.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn forget_snapshots(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let vm = self.inventory.vm(reference)?;
        let task = Task::of("forget_snapshots", &vm.record);
        let record = vm.record.clone();
        self.in_turn(task, &vm, move |this, _| this.forget_all(&record))
    }

    fn forget_all(self: &Arc<Self>, vm: &Vm) -> Result<()> {
        let id = vm.id.to_string();
        // The last ones first, so that what is left is a tree at every moment.
        for snapshot in self.tree(vm.id)?.snapshots.into_iter().rev() {
            succeeded(self.forget_snapshot(&id, &snapshot.id.to_string())?.run())?;
        }
        Ok(())
    }

    pub(super) fn each_member(
        self: &Arc<Self>,
        reference: &str,
        operation: &'static str,
        work: impl Fn(&Arc<Self>, &Vm) -> Result<()> + Send + 'static,
    ) -> Result<Job> {
        let vapp = self.find_vapp(reference)?;
        if self.members(&vapp.record)?.is_empty() {
            return Err(Error::BadValue(format!(
                "the vApp {} has no VM, so there is nothing to do",
                vapp.record.name
            )));
        }
        let task = of_vapp(operation, &vapp.record);
        let id = vapp.record.id.to_string();
        self.in_turn(task, &vapp, move |this, _| {
            for vm in this.members(&this.find_vapp(&id)?.record)? {
                work(this, &vm.record)?;
            }
            Ok(())
        })
    }

    /// Records a task, and gives the job that does `work` as that task. The operations in it are tasks too.
    fn in_turn<T: Record>(
        self: &Arc<Self>,
        task: Task,
        about: &Stored<T>,
        work: impl FnOnce(&Arc<Self>, &Task) -> Result<()> + Send + 'static,
    ) -> Result<Job> {
        let mut transaction = Transaction::default();
        transaction.unchanged(about);
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        let everything = Arc::clone(self);
        Ok(self.job(task, Vec::new(), move |this, task| {
            match task.owner.clone() {
                Some(owner) => acting::on_behalf_of(owner, || work(&everything, &task))?,
                None => work(&everything, &task)?,
            }
            let task = task.succeeded();
            let mut transaction = Transaction::default();
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            Ok(task)
        }))
    }
}

impl ReconfigureVm {
    fn is_about_hardware(&self) -> bool {
        self.cpus.is_some()
            || self.cores_per_socket.is_some()
            || self.memory_mb.is_some()
            || self.annotation.is_some()
            || self.settings.is_some()
    }

    fn apply(&self, hardware: &mut super::VmHardware) {
        hardware.cpus = self.cpus.unwrap_or(hardware.cpus);
        hardware.cores_per_socket = match self.cores_per_socket {
            Some(cores) => cores,
            // Sockets that the processors do not fill any more are not asked for.
            None if !hardware.cpus.is_multiple_of(hardware.cores_per_socket) => 1,
            None => hardware.cores_per_socket,
        };
        hardware.memory_mb = self.memory_mb.unwrap_or(hardware.memory_mb);
        if let Some(annotation) = &self.annotation {
            hardware.annotation.clone_from(annotation);
        }
        if let Some(settings) = &self.settings {
            hardware.settings.clone_from(settings);
        }
    }
}

fn is_on(vm: &Vm) -> bool {
    vm.power == PowerState::On
}

fn need_on(vm: &Vm) -> Result<()> {
    if is_on(vm) {
        return Ok(());
    }
    Err(Error::Power {
        vm: vm.name.clone(),
        is: vm.power,
        hint: "power it on first with `vtpm vm start`",
    })
}

fn of_vapp(operation: &str, vapp: &Vapp) -> Task {
    let mut task = Task::new(operation, as_busy(vapp.id), &vapp.name);
    task.target = TargetKind::Vapp;
    task.organization = Some(vapp.organization.clone());
    task
}
