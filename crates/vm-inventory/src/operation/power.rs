//! Powering VMs on and off.

use super::{Job, Operations, PowerOn};
use crate::inventory::{Stored, Transaction};
use crate::model::{PowerState, Vm};
use crate::task::{self, Task, TaskStatus};
use crate::{Error, Result};
use std::sync::Arc;

impl Operations {
    /// Checks that the VM (a name or an id) may be powered on and records the task.
    ///
    /// With `accept_rollback` files that are older than they were known to be are taken as they are.
    ///
    /// # Errors
    /// When there is no such VM, it runs already, or it has no TPM.
    pub fn power_on(self: &Arc<Self>, reference: &str, accept_rollback: bool) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "being powered on")?;
        if vm.record.power == PowerState::On {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: PowerState::On,
                hint: "`vtpm vm show` says where its TPM is",
            });
        }
        if vm.record.tpm.is_none() {
            return Err(Error::NoTpm {
                vm: vm.record.name.clone(),
            });
        }
        let task = self.record_task("power_on", &vm)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            this.start(&task, &vm.record, accept_rollback)?;
            if accept_rollback {
                task.notes
                    .push("an older state was accepted: counters and failed authorizations since then are forgotten".to_owned());
            }
            this.record_power(task, &vm, PowerState::On)
        }))
    }

    /// Checks that the VM (a name or an id) may be powered off and records the task.
    ///
    /// # Errors
    /// When there is no such VM, or it is off.
    pub fn power_off(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "being powered off")?;
        if vm.record.power == PowerState::Off {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: PowerState::Off,
                hint: "there is nothing to do",
            });
        }
        let task = self.record_task("power_off", &vm)?;
        Ok(self.job(task, vec![busy], move |this, task| {
            this.report(&task, 20, "shutting the TPM down");
            let stopped = this.machines.power_off(vm.record.id);
            // It does not run any more, saved or not.
            let done = this.record_power(task, &vm, PowerState::Off)?;
            match stopped {
                Ok(generation) => {
                    this.inventory.raise_floors(&[(vm.record.id, generation)])?;
                    Ok(done)
                }
                Err(reason) => Err(Error::Machine {
                    vm: vm.record.name.clone(),
                    reason,
                }),
            }
        }))
    }

    /// Powers on every VM that was on when the daemon stopped. One that does not start is recorded as off; its task says why.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn resume(self: &Arc<Self>) -> Result<Vec<Task>> {
        let mut ended = Vec::new();
        for vm in self.inventory.all::<Vm>()? {
            if vm.record.power != PowerState::On || self.machines.endpoint(vm.record.id).is_some() {
                continue;
            }
            let busy = self.occupy(vm.record.id, &vm.record.name, "being powered on")?;
            let task = self.record_task("power_on", &vm)?;
            let job = self.job(task, vec![busy], {
                let vm = vm.clone();
                move |this, task| {
                    this.start(&task, &vm.record, false)?;
                    this.record_power(task, &vm, PowerState::On)
                }
            });
            let task = job.run();
            if task.status == TaskStatus::Error {
                let mut off = vm.record.clone();
                off.power = PowerState::Off;
                let mut transaction = Transaction::default();
                transaction.update(&vm, &off)?;
                self.inventory.commit(transaction)?;
            }
            ended.push(task);
        }
        task::prune(&self.inventory)?;
        Ok(ended)
    }

    /// Shuts every running VM down in good order. They stay recorded as on, and are powered on at the next start.
    pub fn shut_down(&self) -> Vec<(crate::model::VmId, String)> {
        let mut failed = Vec::new();
        let mut floors = Vec::new();
        for (vm, _) in self.machines.generations() {
            match self.machines.power_off(vm) {
                Ok(generation) => floors.push((vm, generation)),
                Err(reason) => failed.push((vm, reason)),
            }
        }
        if let Err(error) = self.inventory.raise_floors(&floors) {
            failed.extend(floors.first().map(|(vm, _)| (*vm, error.to_string())));
        }
        failed
    }

    fn start(&self, task: &Task, vm: &Vm, accept_rollback: bool) -> Result<()> {
        self.report(task, 20, "opening the files");
        let floor = self.inventory.generation_floor(vm.id)?;
        let minimum = (!accept_rollback).then_some(floor);
        let (files, contents) = self.files.open(vm, &self.datastore_of(vm)?, minimum)?;
        self.report(task, 60, "starting the TPM");
        let request = PowerOn {
            vm: vm.clone(),
            files,
            contents,
        };
        let started = self
            .machines
            .power_on(request)
            .map_err(|reason| Error::Machine {
                vm: vm.name.clone(),
                reason,
            })?;
        if accept_rollback {
            self.inventory.accept_floor(vm.id, started.generation)
        } else {
            self.inventory.raise_floors(&[(vm.id, started.generation)])
        }
    }

    fn record_task(&self, operation: &str, vm: &Stored<Vm>) -> Result<Task> {
        let task = Task::new(operation, vm.record.id, &vm.record.name);
        let mut transaction = Transaction::default();
        transaction.unchanged(vm);
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    fn record_power(&self, task: Task, vm: &Stored<Vm>, power: PowerState) -> Result<Task> {
        let task = task.succeeded();
        let mut changed = vm.record.clone();
        changed.power = power;
        let mut transaction = Transaction::default();
        transaction.update(vm, &changed)?;
        transaction.put(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }
}
