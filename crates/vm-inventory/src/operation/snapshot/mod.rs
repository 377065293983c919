//! Snapshots of a VM: take one, go back to one, forget one.

#[cfg(test)]
mod tests;
mod without_tpm;

use super::{Job, Operations};
use crate::inventory::{Stored, Transaction};
use crate::journal::{Intent, JournalEntry};
use crate::model::{PowerState, Timestamp, Vm, VmId};
use crate::snapshot::{Revert, Snapshot, SnapshotTree};
use crate::task::Task;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;
use vm_store::{Contents, NewSnapshot, SectionKind, SnapshotId, SnapshotInfo, StoreError, VmFile};

/// A request to take a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeSnapshot {
    /// Its name. It stands in a file in clear, as the description does.
    pub name: Name,
    /// What else there is to say about it.
    #[serde(default)]
    pub description: String,
}

impl Operations {
    /// The snapshots of a VM (a name or an id).
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn snapshots(&self, reference: &str) -> Result<SnapshotTree> {
        let vm = self.inventory.vm(reference)?;
        self.tree(vm.record.id)
    }

    /// Checks that a VM (a name or an id) may get a snapshot and records the task. A VM that is on stays on.
    ///
    /// # Errors
    /// When there is no such VM, it is suspended, or the name is taken.
    pub fn take_snapshot(self: &Arc<Self>, reference: &str, request: TakeSnapshot) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "a snapshot")?;
        if vm.record.power == PowerState::Suspended {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: PowerState::Suspended,
                hint: "a snapshot is of a VM that is on or off; power it on or off first",
            });
        }
        vm_store::check_snapshot_text(request.name.as_str(), &request.description)
            .map_err(|rule| Error::BadValue(format!("the snapshot {}: {rule}", request.name)))?;
        let tree = self.tree(vm.record.id)?;
        tree.check_room(&vm.record.name, &request.name)?;
        if vm.record.tpm.is_none() {
            return self.take_without_tpm(vm, busy, tree, request);
        }
        let new = NewSnapshot {
            id: SnapshotId::random()?,
            parent: tree.current.map(SnapshotId),
            created: Timestamp::now().0,
            name: request.name.to_string(),
            description: request.description,
        };
        let intent = Intent::TakeSnapshot {
            vm: Box::new(vm.record.clone()),
            snapshot: new.id.0,
        };
        let task = self.record_intent("take_snapshot", &vm, intent)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            this.report(&task, 20, "reading the state");
            let taken = this.keep_state(&task, &vm.record, new)?;
            task.notes.push(if taken.powered_on {
                format!(
                    "it holds the TPM as it was while {} ran; reverting to it powers {} on",
                    vm.record.name, vm.record.name
                )
            } else {
                "it holds the TPM of the VM powered off".to_owned()
            });
            let mut tree = tree;
            tree.add(Snapshot {
                id: taken.snapshot.id.0,
                name: request.name,
                description: taken.snapshot.description,
                parent: tree.current,
                created: Timestamp(taken.snapshot.created),
                powered_on: taken.powered_on,
                generation: taken.generation,
            });
            this.record_tree(task, &tree)
        }))
    }

    /// Checks that a VM (a name or an id) may go back to a snapshot (likewise) and records the task. What the VM did since is given
    /// up. It is on afterwards if it was on when the snapshot was taken.
    ///
    /// # Errors
    /// When there is no such VM or snapshot.
    pub fn revert_vm(self: &Arc<Self>, reference: &str, snapshot: &str) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "a revert")?;
        let snapshot = self.tree(vm.record.id)?.find(snapshot)?.clone();
        if vm.record.tpm.is_none() {
            return self.revert_without_tpm(vm, busy, &snapshot);
        }
        let revert = Revert {
            snapshot: snapshot.id,
            name: snapshot.name.clone(),
            at: Timestamp::now(),
            from_instance: vm.record.instance_id,
            to_instance: VmId::random().0,
            to_generation: snapshot.generation,
        };
        let intent = Intent::Revert {
            vm: Box::new(vm.record.clone()),
            revert: revert.clone(),
            powered_on: snapshot.powered_on,
        };
        let task = self.record_intent("revert_vm", &vm, intent)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            let vm = vm.record;
            let generation = this.go_back(&task, &vm, &snapshot, &revert)?;
            this.inventory.raise_floors(&[(vm.id, generation)])?;
            let entry = this.journal_entry(task.id)?;
            let reverted =
                this.record_reverted(None, &vm, revert, snapshot.powered_on, entry.as_ref())?;
            task.notes.push(format!(
                "{} goes on from the snapshot {}; what its TPM did since is given up",
                vm.name, snapshot.name
            ));
            task.notes.push(
                "void: sessions and saved contexts of sessions; its random numbers are new ones"
                    .to_owned(),
            );
            if snapshot.powered_on {
                this.start_reverted(&task, &reverted)?;
            }
            this.record_done(task)
        }))
    }

    /// Checks that a snapshot (a name or an id) of a VM (likewise) may go and records the task. What followed it stays.
    ///
    /// # Errors
    /// When there is no such VM or snapshot.
    pub fn forget_snapshot(self: &Arc<Self>, reference: &str, snapshot: &str) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "forgetting a snapshot")?;
        let id = self.tree(vm.record.id)?.find(snapshot)?.id;
        let intent = Intent::ForgetSnapshot {
            vm: Box::new(vm.record.clone()),
            snapshot: id,
        };
        let task = self.record_intent("forget_snapshot", &vm, intent)?;
        Ok(self.job(task, vec![busy], move |this, task| {
            this.report(&task, 50, "removing the file");
            this.remove_snapshot(&vm.record, id)?;
            this.record_forgotten(task, vm.record.id, id)
        }))
    }

    pub(super) fn tree(&self, vm: VmId) -> Result<SnapshotTree> {
        let stored = self.inventory.find(&SnapshotTree::key_of(vm))?;
        Ok(stored.map_or_else(|| SnapshotTree::empty(vm), |stored| stored.record))
    }

    fn record_intent(&self, operation: &str, vm: &Stored<Vm>, intent: Intent) -> Result<Task> {
        let task = Task::of(operation, &vm.record);
        let mut transaction = Transaction::default();
        transaction.unchanged(vm);
        transaction.insert(&JournalEntry {
            task: task.id,
            intent,
        })?;
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    /// Writes the file of a snapshot.
    fn keep_state(&self, task: &Task, vm: &Vm, new: NewSnapshot) -> Result<SnapshotInfo> {
        let Some(captured) = self.machines.capture(vm.id) else {
            let floor = self.inventory.generation_floor(vm.id)?;
            // Dropped without closing: a snapshot changes nothing of the VM.
            let (file, contents) = self.files.open(vm, &self.datastore_of(vm)?, Some(floor))?;
            self.report(task, 60, "writing the file");
            return Ok(file.take_snapshot(new, &contents, file.generation())?);
        };
        let failed = |reason| Error::Machine {
            vm: vm.name.clone(),
            reason,
        };
        let (contents, generation) = captured.map_err(failed)?;
        self.report(task, 60, "writing the file");
        self.with_running_files(vm, |file| {
            file.take_snapshot(new.clone(), &contents, generation)
        })
    }

    /// What a snapshot of a VM holds, whether the VM runs or not.
    pub(super) fn contents_at(&self, vm: &Vm, snapshot: Uuid) -> Result<Contents> {
        let id = SnapshotId(snapshot);
        let (_, contents) = if self.machines.endpoint(vm.id).is_some() {
            self.with_running_files(vm, |file| file.snapshot(id))?
        } else {
            let floor = self.inventory.generation_floor(vm.id)?;
            let _one_at_a_time = super::lock(&self.reading);
            // Dropped without closing: nothing of the VM changes.
            let (file, _) = self.files.open(vm, &self.datastore_of(vm)?, Some(floor))?;
            file.snapshot(id)?
        };
        Ok(contents)
    }

    /// Uses the files of a VM that runs.
    fn with_running_files<T>(
        &self,
        vm: &Vm,
        mut work: impl FnMut(&VmFile) -> std::result::Result<T, StoreError>,
    ) -> Result<T> {
        let mut done = None;
        self.machines
            .with_files(vm.id, &mut |file| done = Some(work(file)));
        match done {
            Some(outcome) => Ok(outcome?),
            None => Err(Error::Machine {
                vm: vm.name.clone(),
                reason: "it was powered off meanwhile".to_owned(),
            }),
        }
    }

    /// Puts the state of a snapshot in the place of the present one. Returns its generation.
    fn go_back(&self, task: &Task, vm: &Vm, snapshot: &Snapshot, revert: &Revert) -> Result<u64> {
        let id = SnapshotId(snapshot.id);
        let datastore = self.datastore_of(vm)?;
        self.report(task, 10, "reading the snapshot");
        let floor = self.inventory.generation_floor(vm.id)?;
        let running = self.machines.endpoint(vm.id).is_some();
        // Everything that can be refused is refused before a running VM is stopped.
        let (open, held) = if running {
            self.files.check_key(vm, &datastore)?;
            (None, self.with_running_files(vm, |file| file.snapshot(id))?)
        } else {
            let (file, _) = self.files.open(vm, &datastore, Some(floor))?;
            let held = file.snapshot(id)?;
            (Some(file), held)
        };
        let (info, contents) = held;
        if info.generation != snapshot.generation || info.powered_on != snapshot.powered_on {
            return Err(Error::File {
                path: datastore
                    .folder
                    .join(vm.folder.as_str())
                    .display()
                    .to_string(),
                reason: format!(
                    "the file of the snapshot {} is not the one that was written; nothing was changed",
                    snapshot.name
                ),
            });
        }
        let contents = self.fork_of(vm, contents)?;
        let file = match open {
            Some(file) => file,
            None => {
                self.report(task, 40, "powering off");
                if let Err(reason) = self.machines.power_off(vm.id) {
                    // It is given up anyway.
                    tracing::warn!(vm = %vm.name, "the state before a revert was not saved: {reason}");
                }
                self.files.open(vm, &datastore, Some(floor))?.0
            }
        };
        self.report(task, 60, "writing the files");
        let file = file.revert(&contents, revert.to_instance)?;
        let generation = file.generation();
        file.close()?;
        Ok(generation)
    }

    /// The contents of a snapshot as a VM may go on from them: nothing random is repeated.
    fn fork_of(&self, vm: &Vm, mut contents: Contents) -> Result<Contents> {
        let fail = |reason: String| Error::Tpm {
            vm: vm.name.clone(),
            reason,
        };
        let permanent = contents
            .get(SectionKind::TPM_PERMANENT)
            .ok_or_else(|| fail("the snapshot holds no TPM state".to_owned()))?;
        match contents.get(SectionKind::TPM_VOLATILE) {
            Some(volatile) => {
                let forked = self.maker.fork_running(permanent, volatile);
                let (permanent, volatile) = forked.map_err(|error| fail(error.0))?;
                contents.set(SectionKind::TPM_PERMANENT, permanent);
                contents.set(SectionKind::TPM_VOLATILE, volatile);
            }
            None => {
                let forked = self.maker.fork(permanent).map_err(|error| fail(error.0))?;
                contents.set(SectionKind::TPM_PERMANENT, forked);
            }
        }
        Ok(contents)
    }

    /// Records that the files of a VM are those of a snapshot. Returns the VM as it is now.
    fn record_reverted(
        &self,
        task: Option<&Task>,
        vm: &Vm,
        revert: Revert,
        powered_on: bool,
        entry: Option<&Stored<JournalEntry>>,
    ) -> Result<Vm> {
        let mut vm = vm.clone();
        vm.instance_id = revert.to_instance;
        // On already: if the daemon is killed before it starts the VM, the next one does.
        vm.power = if powered_on {
            PowerState::On
        } else {
            PowerState::Off
        };
        let mut tree = self.tree(vm.id)?;
        tree.reverted(revert);
        let mut transaction = Transaction::default();
        if let Some(entry) = entry {
            transaction.remove(entry);
        }
        transaction.put(&vm)?;
        transaction.put(&tree)?;
        if let Some(task) = task {
            transaction.put(task)?;
        }
        self.inventory.commit(transaction)?;
        Ok(vm)
    }

    fn start_reverted(&self, task: &Task, vm: &Vm) -> Result<()> {
        let started = self.start(task, vm, false);
        if started.is_err() {
            let mut off = vm.clone();
            off.power = PowerState::Off;
            let mut transaction = Transaction::default();
            transaction.put(&off)?;
            self.inventory.commit(transaction)?;
        }
        let generation = started.map_err(|error| Error::Machine {
            vm: vm.name.clone(),
            reason: format!("it was reverted, but not powered on: {error}"),
        })?;
        self.inventory.raise_floors(&[(vm.id, generation)])
    }

    fn remove_snapshot(&self, vm: &Vm, id: Uuid) -> Result<()> {
        self.files
            .remove_snapshot(vm, &self.datastore_of(vm)?, SnapshotId(id))
    }

    fn record_forgotten(&self, task: Task, vm: VmId, id: Uuid) -> Result<Task> {
        let mut tree = self.tree(vm)?;
        tree.forget(id);
        self.record_tree(task, &tree)
    }

    fn record_tree(&self, task: Task, tree: &SnapshotTree) -> Result<Task> {
        let task = task.succeeded();
        let mut transaction = Transaction::default();
        if let Some(entry) = self.journal_entry(task.id)? {
            transaction.remove(&entry);
        }
        transaction.put(tree)?;
        transaction.put(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    fn record_done(&self, task: Task) -> Result<Task> {
        let task = task.succeeded();
        let mut transaction = Transaction::default();
        transaction.put(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    /// What becomes of a snapshot operation that did not end: `failed` is its task, if it is known. At the start of the daemon, VMs
    /// that are recorded as on are powered on afterwards; later on nobody would.
    pub(super) fn settle_snapshot(
        &self,
        entry: &Stored<JournalEntry>,
        failed: Option<Task>,
        at_start: bool,
    ) -> Result<()> {
        let mut transaction = Transaction::default();
        match &entry.record.intent {
            Intent::TakeSnapshot { vm, snapshot } => self.remove_snapshot(vm, *snapshot)?,
            Intent::ForgetSnapshot { vm, snapshot } => {
                self.remove_snapshot(vm, *snapshot)?;
                let mut tree = self.tree(vm.id)?;
                tree.forget(*snapshot);
                transaction.put(&tree)?;
            }
            Intent::Revert {
                vm,
                revert,
                powered_on,
            } => {
                if self.files.instance(vm, &self.datastore_of(vm)?)? == revert.to_instance {
                    let task = if at_start {
                        failed.map(Task::succeeded)
                    } else {
                        failed
                    };
                    let (revert, on) = (revert.clone(), at_start && *powered_on);
                    self.record_reverted(task.as_ref(), vm, revert, on, Some(entry))?;
                    return Ok(());
                }
                if !at_start && self.machines.endpoint(vm.id).is_none() {
                    let mut off = (**vm).clone();
                    off.power = PowerState::Off;
                    transaction.put(&off)?;
                }
            }
            Intent::Create { .. }
            | Intent::Delete { .. }
            | Intent::Make { .. }
            | Intent::Remove { .. }
            | Intent::EditTpm { .. }
            | Intent::Encrypt { .. }
            | Intent::Rekey { .. }
            | Intent::RekeyAll { .. } => return Ok(()),
        }
        transaction.remove(entry);
        if let Some(task) = failed {
            transaction.put(&task)?;
        }
        self.inventory.commit(transaction)
    }
}
