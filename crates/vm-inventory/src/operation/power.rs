//! Powering VMs on and off.

use super::{Job, Operations, PowerOn, VmView, lock};
use crate::inventory::{Stored, Transaction};
use crate::model::{PowerState, Vm, VmId};
use crate::task::{Task, TaskStatus};
use crate::{Error, Result};
use std::sync::{Arc, Mutex};
use std::thread;

impl Operations {
    /// Checks that the VM (a name or an id) may be powered on and records the task.
    ///
    /// With `accept_rollback` files that are older than they were known to be are taken as they are.
    ///
    /// # Errors
    /// When there is no such VM, it runs already, or it is a vSphere template.
    pub fn power_on(self: &Arc<Self>, reference: &str, accept_rollback: bool) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "being powered on")?;
        if vm.record.power == PowerState::On {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: PowerState::On,
                hint: "`vtpm vm show` says where its TPM is",
            });
        }
        if self.vm_hardware(&vm.record.id.to_string())?.template {
            return Err(Error::BadValue(format!(
                "{} is a vSphere template, which is not powered on: clone it, or mark it as a VM again",
                vm.record.name
            )));
        }
        let task = self.record_task("power_on", &vm)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            if vm.record.tpm.is_none() {
                if vm.record.encrypted {
                    this.report(&task, 20, "trying the key");
                    this.need_key_of(&vm.record)?;
                }
                task.notes.push(format!(
                    "{} has no TPM: it counts as running, and nothing answers for it",
                    vm.record.name
                ));
                return this.record_power(task, &vm, PowerState::On, None);
            }
            let generation = this.start_or_lock(&task, &vm.record, accept_rollback)?;
            if accept_rollback {
                task.notes
                    .push("an older state was accepted: counters and failed authorizations since then are forgotten".to_owned());
            }
            this.note_twins(&vm.record, &mut task)?;
            this.record_power(task, &vm, PowerState::On, Some(generation))
        }))
    }

    /// Notes, for the audit log, which other VMs run with the same TPM identity. An organization's notes name none of another's.
    fn note_twins(&self, vm: &Vm, task: &mut Task) -> Result<()> {
        let twins = self.running_twins(vm);
        for id in twins.iter().take(NAMED_TWINS) {
            let Some(twin) = self.inventory.find::<Vm>(&Vm::key_of(*id))? else {
                continue;
            };
            let twin = twin.record;
            tracing::warn!(vm = %vm.id, twin = %twin.id, "two VMs with one TPM identity run");
            let of = |vm: &Vm| vm.vapp.as_ref().map(|vapp| vapp.organization.clone());
            let twin = match &twin.vapp {
                _ if vm.vapp.is_some() && of(vm) != of(&twin) => {
                    "a VM outside the organization".to_owned()
                }
                Some(vapp) => format!("the VM {vapp}/{}", twin.name),
                None => format!("the VM {}", twin.name),
            };
            task.notes.push(format!(
                "event: {twin} runs with the same endorsement key: to a verifier both are one machine"
            ));
        }
        if let Some(more @ 1..) = twins.len().checked_sub(NAMED_TWINS) {
            task.notes.push(format!(
                "event: {more} more VMs run with the same endorsement key"
            ));
        }
        Ok(())
    }

    /// The other VMs that run with the same TPM identity.
    fn running_twins(&self, vm: &Vm) -> Vec<VmId> {
        let Some(own) = &vm.tpm else {
            return Vec::new();
        };
        let mut twins = self.inventory.with_ek(&own.ek_name);
        twins.retain(|id| *id != vm.id && self.machines.endpoint(*id).is_some());
        twins
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
            if vm.record.tpm.is_none() {
                return this.record_power(task, &vm, PowerState::Off, None);
            }
            this.report(&task, 20, "shutting the TPM down");
            let stopped = match vm.record.power {
                PowerState::Suspended => Ok(this.discard_suspended(&vm.record)?),
                PowerState::On | PowerState::Off => this.machines.power_off(vm.record.id),
            };
            // It does not run any more, saved or not.
            let generation = stopped.as_ref().ok().copied();
            let done = this.record_power(task, &vm, PowerState::Off, generation)?;
            match stopped {
                Ok(_) => Ok(done),
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
        let mut waiting = Vec::new();
        self.inventory.in_parts::<Vm>(|part| {
            waiting.extend(part.into_iter().filter(|vm| {
                vm.record.power == PowerState::On
                    && vm.record.tpm.is_some()
                    && self.machines.endpoint(vm.record.id).is_none()
            }));
            Ok(())
        })?;
        side_by_side(AT_ONCE, waiting, |vm| self.resume_one(vm))
            .into_iter()
            .collect()
    }

    /// So many of the VMs that run, by name, and how many there are.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn running_vms(&self, most: usize) -> Result<(Vec<VmView>, usize)> {
        let mut all = Vec::new();
        for (id, _) in self.machines.generations() {
            all.extend(self.inventory.find::<Vm>(&Vm::key_of(id))?);
        }
        let number = all.len();
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        let some = all.into_iter().take(most);
        let views = some.map(|vm| self.view(vm.record));
        Ok((views.collect::<Result<_>>()?, number))
    }

    fn resume_one(self: &Arc<Self>, vm: Stored<Vm>) -> Result<Task> {
        let busy = self.occupy(vm.record.id, &vm.record.name, "being powered on")?;
        let task = self.record_task("power_on", &vm)?;
        let job = self.job(task, vec![busy], {
            let vm = vm.clone();
            move |this, mut task| {
                let generation = this.start_or_lock(&task, &vm.record, false)?;
                this.note_twins(&vm.record, &mut task)?;
                this.record_power(task, &vm, PowerState::On, Some(generation))
            }
        });
        let task = job.run();
        if task.status != TaskStatus::Success {
            // Read again: it may have been recorded as locked.
            let now = self.inventory.vm(&vm.record.id.to_string())?;
            let mut off = now.record.clone();
            off.power = PowerState::Off;
            let mut transaction = Transaction::default();
            transaction.update(&now, &off)?;
            self.inventory.commit(transaction)?;
        }
        Ok(task)
    }

    /// Shuts every running VM down in good order. They stay recorded as on, and are powered on at the next start. Returns
    /// those that failed, and why.
    pub fn shut_down(&self) -> Vec<(VmId, String)> {
        let running: Vec<VmId> = self
            .machines
            .generations()
            .into_iter()
            .map(|(vm, _)| vm)
            .collect();
        let mut failed = Vec::new();
        let mut floors = Vec::new();
        for (vm, outcome) in side_by_side(AT_ONCE, running, |vm| (vm, self.machines.power_off(vm)))
        {
            match outcome {
                Ok(generation) => floors.push((vm, generation)),
                Err(reason) => failed.push((vm, reason)),
            }
        }
        if let Err(error) = self.inventory.raise_floors(&floors) {
            failed.extend(floors.first().map(|(vm, _)| (*vm, error.to_string())));
        }
        failed
    }

    /// Starts a VM; one whose key cannot be had is recorded as locked.
    fn start_or_lock(&self, task: &Task, vm: &Vm, accept_rollback: bool) -> Result<u64> {
        self.start(task, vm, accept_rollback).inspect_err(|error| {
            self.note_lock(vm.id, error);
        })
    }

    /// Starts a VM; gives the generation of its state, which is for the caller to record.
    pub(super) fn start(&self, task: &Task, vm: &Vm, accept_rollback: bool) -> Result<u64> {
        self.report(task, 20, "opening the files");
        let floor = self.inventory.generation_floor(vm.id)?;
        let minimum = (!accept_rollback).then_some(floor);
        let (files, contents) = self.files.open(vm, &self.datastore_of(vm)?, minimum)?;
        self.report(task, 60, "starting the TPM");
        let note = self.notes.of(vm.id);
        let request = PowerOn {
            vm: vm.clone(),
            files,
            contents,
            note: note.clone(),
        };
        let started = self
            .machines
            .power_on(request)
            .map_err(|reason| Error::Machine {
                vm: vm.name.clone(),
                reason,
            })?;
        if accept_rollback {
            if let Err(error) = note.note(started.generation) {
                tracing::warn!(vm = %vm.name, "the accepted generation was not noted: {error}");
            }
            self.inventory.accept_floor(vm.id, started.generation)?;
        }
        Ok(started.generation)
    }

    pub(super) fn record_task(&self, operation: &str, vm: &Stored<Vm>) -> Result<Task> {
        let task = Task::of(operation, &vm.record);
        let mut transaction = Transaction::default();
        transaction.unchanged(vm);
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    pub(super) fn record_power(
        &self,
        task: Task,
        vm: &Stored<Vm>,
        power: PowerState,
        generation: Option<u64>,
    ) -> Result<Task> {
        let task = task.succeeded();
        let mut changed = vm.record.clone();
        changed.power = power;
        if power == PowerState::On {
            changed.locked = None;
        }
        let mut transaction = Transaction::default();
        transaction.update(vm, &changed)?;
        transaction.put(&task)?;
        if let Some(generation) = generation {
            transaction.raise_floor(vm.record.id, generation);
        }
        self.inventory.commit(transaction)?;
        Ok(task)
    }
}

/// What a VM is that is not off, in words.
pub(super) fn powered(power: PowerState) -> &'static str {
    match power {
        PowerState::On => "powered on",
        PowerState::Off => "powered off",
        PowerState::Suspended => "suspended, which is not powered off",
    }
}

/// How many VMs are started or stopped at once: mostly they wait for the disk, and those that wait together share a sync.
pub(super) const AT_ONCE: usize = 32;

/// VMs with the same TPM identity that a task names; more are counted.
const NAMED_TWINS: usize = 8;

/// Does the same for many, several at a time.
pub(super) fn side_by_side<T: Send, R: Send>(
    at_once: usize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = items.len().min(at_once);
    let queue = Mutex::new(items.into_iter());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).next();
                    let Some(item) = next else { break };
                    let result = work(item);
                    lock(&results).push(result);
                }
            });
        }
    });
    results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
