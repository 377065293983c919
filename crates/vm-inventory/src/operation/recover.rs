//! What becomes of operations that failed, or that a crash cut short.

use super::Operations;
use crate::inventory::{Stored, Transaction};
use crate::journal::{Intent, JournalEntry};
use crate::model::{Datastore, Vm};
use crate::task::Task;
use crate::{Error, Result};

impl Operations {
    /// Undoes or finishes what an earlier process left in the journal.
    pub(super) fn recover(&self) -> Result<()> {
        for entry in self.inventory.all::<JournalEntry>()? {
            let task = self
                .inventory
                .find::<Task>(&Task::key_of(entry.record.task))?;
            match &entry.record.intent {
                Intent::Create { vm } => {
                    tracing::warn!(vm = %vm.name, "the creation of a VM was interrupted; undoing it");
                    let error = Error::Interrupted("nothing of it is left, start it again");
                    let task = task.map(|stored| stored.record.failed(&error));
                    self.undo_creation(&entry, vm, task)?;
                }
                Intent::Delete { vm } => {
                    tracing::warn!(vm = %vm.name, "the deletion of a VM was interrupted; finishing it");
                    self.files.delete(vm, &self.datastore_of(vm)?)?;
                    let task =
                        task.map_or_else(|| Task::of("delete_vm", vm), |stored| stored.record);
                    self.record_deleted(task, vm, Some(&entry))?;
                }
                Intent::TakeSnapshot { vm, .. }
                | Intent::ForgetSnapshot { vm, .. }
                | Intent::Revert { vm, .. } => {
                    tracing::warn!(vm = %vm.name, "an operation on a snapshot was interrupted; undoing or finishing it");
                    let error = Error::Interrupted("look at the VM's snapshots");
                    let task = task.map(|stored| stored.record.failed(&error));
                    // A VM whose files cannot be read now keeps no other from its work.
                    if let Err(error) = self.settle_snapshot(&entry, task, true) {
                        tracing::error!(vm = %vm.name, "that is tried again at the next start: {error}");
                    }
                }
                Intent::Make { vms, names } => {
                    tracing::warn!(
                        "an operation on {} VMs was interrupted; undoing it",
                        vms.len()
                    );
                    let error = Error::Interrupted("nothing of it is left, start it again");
                    let task = task.map(|stored| stored.record.failed(&error));
                    self.undo_making(&entry, vms, names, task)?;
                }
                Intent::Remove { left } => {
                    tracing::warn!("the removal of files was interrupted; finishing it");
                    if let Some(task) = task {
                        self.remove_left(task.record, left);
                    }
                }
                Intent::EditTpm { before, add } => {
                    tracing::warn!(vm = %before.name, "the change of a TPM was interrupted");
                    self.settle_edit(&entry, before, *add, task.map(|stored| stored.record))?;
                }
                Intent::Encrypt { vm } => {
                    tracing::warn!(vm = %vm.name, "a change of encryption was interrupted");
                    // A VM whose files cannot be read now keeps no other from its work.
                    let task = task.map(|stored| stored.record);
                    if let Err(error) = self.settle_encryption(&entry, vm, task) {
                        tracing::error!(vm = %vm.name, "that is tried again at the next start: {error}");
                    }
                }
                Intent::Rekey {
                    vm,
                    provider,
                    key_id,
                } => {
                    let done = self.settle_rekey(*vm, provider, key_id)?;
                    let error = Error::Interrupted("the VM kept its key, start it again");
                    let task = task.map(|stored| match done {
                        true => stored.record.succeeded(),
                        false => stored.record.failed(&error),
                    });
                    self.end_rekey(&entry, task.as_ref())?;
                }
                Intent::RekeyAll {
                    vcenter,
                    from,
                    provider,
                    key_id,
                    ..
                } => self.settle_rekey_all(vcenter, from, provider, key_id)?,
            }
        }
        self.end_running_tasks()
    }

    /// Ends a failed operation: its files are undone, its task says why. Returns the task.
    pub(super) fn give_up(&self, task: Task, error: &Error) -> Task {
        let failed = task.failed(error);
        tracing::warn!(vm = %failed.vm_name, operation = %failed.operation, "{error}");
        if error.is_engine() {
            // Nobody knows what was recorded. The journal is read again at the next start; until then no file is touched.
            return failed;
        }
        if let Err(second) = self.end_failed(&failed) {
            tracing::error!(vm = %failed.vm_name, "the failed operation could not be undone, that is tried again at the next start: {second}");
        }
        failed
    }

    fn end_failed(&self, failed: &Task) -> Result<()> {
        if let Some(entry) = self.journal_entry(failed.id)? {
            match &entry.record.intent {
                Intent::Create { vm } => {
                    return self.undo_creation(&entry, vm, Some(failed.clone()));
                }
                Intent::Delete { vm } => {
                    if self.files.holds(vm, &self.datastore_of(vm)?)? {
                        // Nothing was removed: the VM stays.
                        let mut transaction = Transaction::default();
                        transaction.remove(&entry);
                        transaction.put(failed)?;
                        return self.inventory.commit(transaction);
                    }
                    self.record_deleted(failed.clone(), vm, Some(&entry))?;
                    return Ok(());
                }
                Intent::TakeSnapshot { .. }
                | Intent::ForgetSnapshot { .. }
                | Intent::Revert { .. } => {
                    return self.settle_snapshot(&entry, Some(failed.clone()), false);
                }
                Intent::Make { vms, names } => {
                    return self.undo_making(&entry, vms, names, Some(failed.clone()));
                }
                // The outcome is recorded; only files are left, and the next start removes them.
                Intent::Remove { .. } => return Ok(()),
                Intent::EditTpm { before, add } => {
                    return self.settle_edit(&entry, before, *add, Some(failed.clone()));
                }
                Intent::Encrypt { vm } => {
                    return self.settle_encryption(&entry, vm, Some(failed.clone()));
                }
                Intent::Rekey {
                    vm,
                    provider,
                    key_id,
                } => {
                    self.settle_rekey(*vm, provider, key_id)?;
                    return self.end_rekey(&entry, Some(failed));
                }
                Intent::RekeyAll {
                    vcenter,
                    from,
                    provider,
                    key_id,
                    ..
                } => {
                    self.settle_rekey_all(vcenter, from, provider, key_id)?;
                    return self.end_rekey(&entry, Some(failed));
                }
            }
        }
        let mut transaction = Transaction::default();
        transaction.put(failed)?;
        self.inventory.commit(transaction)
    }

    fn undo_creation(
        &self,
        entry: &Stored<JournalEntry>,
        vm: &Vm,
        task: Option<Task>,
    ) -> Result<()> {
        self.files.undo(vm, &self.datastore_of(vm)?)?;
        let mut transaction = Transaction::default();
        transaction.remove(entry);
        transaction.remove_key(vm.name_key());
        if let Some(task) = task {
            transaction.put(&task)?;
        }
        self.inventory.commit(transaction)
    }

    fn end_rekey(&self, entry: &Stored<JournalEntry>, task: Option<&Task>) -> Result<()> {
        let mut transaction = Transaction::default();
        transaction.remove(entry);
        if let Some(task) = task {
            transaction.put(task)?;
        }
        self.inventory.commit(transaction)
    }

    /// Tasks that changed no files, and are not gone on with: they did not end, so nothing of them holds.
    fn end_running_tasks(&self) -> Result<()> {
        let mut transaction = Transaction::default();
        let mut any = false;
        for stored in self.inventory.all::<Task>()? {
            if !stored.record.is_finished() && self.journal_entry(stored.record.id)?.is_none() {
                let error = Error::Interrupted("look at the VM, and start it again if needed");
                transaction.update(&stored, &stored.record.clone().failed(&error))?;
                any = true;
            }
        }
        if any {
            self.inventory.commit(transaction)
        } else {
            Ok(())
        }
    }

    pub(super) fn datastore_of(&self, vm: &Vm) -> Result<Datastore> {
        Ok(self.inventory.datastore(vm.datastore.as_str())?.record)
    }
}
