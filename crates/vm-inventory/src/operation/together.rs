//! Several VMs powered on or off as one task, and what follows an operation as a part of its task.

use super::pace::Pace;
use super::power::{AT_ONCE, side_by_side};
use super::{Job, Operations, Then};
use crate::inventory::Transaction;
use crate::model::PowerState;
use crate::task::{TargetKind, Task, TaskStatus};
use crate::{Error, Result, acting};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl Job {
    /// Powers on what the job made or changed, as the last step of its task: the VM, or every VM of the vApp.
    #[must_use]
    pub fn then_power_on(mut self) -> Self {
        let before = self.then.take();
        self.then = Some(Box::new(|operations, task| {
            if let Some(before) = before {
                before(operations, task)?;
            }
            match task.target {
                TargetKind::Vapp => operations.power_members(task, PowerState::On),
                TargetKind::Vm => {
                    let vm = operations.inventory.vm(&task.vm.to_string())?.record;
                    if vm.power == PowerState::On {
                        return Ok(());
                    }
                    succeeded(operations.power_on(&vm.id.to_string(), false)?.run())
                }
                TargetKind::Template | TargetKind::Catalog => Ok(()),
            }
        }));
        self
    }
}

impl Operations {
    /// Powers every VM of a vApp on or off, or suspends those that run; those that are so already stay as they are.
    ///
    /// # Errors
    /// When there is no such vApp, or it has nothing to power on or off.
    pub fn power_vapp(self: &Arc<Self>, vapp: &str, power: PowerState) -> Result<Job> {
        let stored = self.find_vapp(vapp)?;
        let vapp = &stored.record;
        let changes = self
            .members(vapp)?
            .iter()
            .any(|vm| turns(vm.record.power, power));
        if !changes {
            return Err(Error::Power {
                vm: vapp.name.clone(),
                is: power,
                hint: "none of its VMs is in another state",
            });
        }
        let operation = match power {
            PowerState::On => "power_on_vapp",
            PowerState::Off => "power_off_vapp",
            PowerState::Suspended => "suspend_vapp",
        };
        let mut task = Task::new(operation, super::plan::as_busy(vapp.id), &vapp.name);
        task.target = TargetKind::Vapp;
        task.organization = Some(vapp.organization.clone());
        let mut transaction = Transaction::default();
        transaction.unchanged(&stored);
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        let everything = Arc::clone(self);
        Ok(self.job(task, Vec::new(), move |this, task| {
            everything.power_members(&task, power)?;
            let task = task.succeeded();
            let mut transaction = Transaction::default();
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            Ok(task)
        }))
    }

    /// Discards the memory of every suspended VM of a vApp; what runs, runs on.
    ///
    /// # Errors
    /// When there is no such vApp, or none of its VMs is suspended.
    pub fn discard_suspended_vapp(self: &Arc<Self>, vapp: &str) -> Result<Job> {
        let id = self.find_vapp(vapp)?.record.id.to_string();
        self.each_member(&id, "discard_suspended_vapp", |this, vm| match vm.power {
            PowerState::Suspended => succeeded(this.power_off(&vm.id.to_string())?.run()),
            PowerState::On | PowerState::Off => Ok(()),
        })
    }

    fn power_members(self: &Arc<Self>, task: &Task, power: PowerState) -> Result<()> {
        let vapp = self.find_vapp(&task.vm.to_string())?;
        let mut members = self.members(&vapp.record)?;
        members.retain(|vm| turns(vm.record.power, power));
        let total = members.len();
        let (percent, doing) = match power {
            PowerState::On => (98, "on"),
            PowerState::Off | PowerState::Suspended => (50, "off"),
        };
        let pace = Pace::begin(total);
        let failed = AtomicBool::new(false);
        let ended = side_by_side(AT_ONCE, members, |vm| {
            // Those that have not begun when one fails stay as they are.
            if failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let reference = vm.record.id.to_string();
            // Tasks and the audit log name who asked on this thread, too.
            let job = acting::on_behalf_of_whoever(task.owner.clone(), || match power {
                PowerState::On => self.power_on(&reference, false),
                PowerState::Off => self.power_off(&reference),
                PowerState::Suspended => self.suspend_vm(&reference),
            });
            let outcome = job.and_then(|job| succeeded(job.run()));
            failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            self.report(task, percent, pace.step(&format!("powering VMs {doing}")));
            outcome
        });
        ended.into_iter().collect()
    }

    /// Does what follows a task that succeeded; if that fails the task ends as failed, while what it made stays.
    pub(super) fn go_on(self: &Arc<Self>, ended: Task, then: Then) -> Task {
        let Err(error) = then(self, &ended) else {
            return ended;
        };
        let failed = ended.failed(&error);
        let mut transaction = Transaction::default();
        let recorded = transaction
            .put(&failed)
            .and_then(|()| self.inventory.commit(transaction));
        if let Err(error) = recorded {
            tracing::error!(task = %failed.id, "the end of a task was not recorded: {error}");
        }
        failed
    }
}

/// Whether a VM that is so becomes otherwise: of a vApp that is suspended, those that are off stay off.
fn turns(is: PowerState, wanted: PowerState) -> bool {
    match wanted {
        PowerState::On | PowerState::Off => is != wanted,
        PowerState::Suspended => is == PowerState::On,
    }
}

/// The end of a part as the end of the whole.
pub(super) fn succeeded(task: Task) -> Result<()> {
    match (task.status, task.error) {
        (TaskStatus::Success, _) => Ok(()),
        (TaskStatus::Canceled, _) => Err(Error::Canceled),
        (_, Some(error)) => Err(Error::Machine {
            vm: task.vm_name,
            reason: error.detail,
        }),
        (_, None) => Err(Error::Internal("a part of the task failed".to_owned())),
    }
}
