//! Deleting a VM.

use super::{Job, Operations, Remarks, VmHardware};
use crate::inventory::{Stored, Transaction};
use crate::journal::{Intent, JournalEntry};
use crate::lineage::Lineage;
use crate::model::{GenerationFloor, PowerState, Timestamp, Vm};
use crate::snapshot::SnapshotTree;
use crate::task::Task;
use crate::{Error, Result};
use std::sync::Arc;

impl Operations {
    /// Checks that the VM (a name or an id) may be deleted and records the task. Its TPM is lost for good.
    ///
    /// # Errors
    /// When there is no such VM, or it is powered on or busy.
    pub fn delete_vm(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "being deleted")?;
        if vm.record.power != PowerState::Off {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: vm.record.power,
                hint: "power it off first with `vtpm vm stop`",
            });
        }
        let task = Task::of("delete_vm", &vm.record);
        let mut transaction = Transaction::default();
        transaction.unchanged(&vm);
        transaction.insert(&JournalEntry {
            task: task.id,
            intent: Intent::Delete {
                vm: Box::new(vm.record.clone()),
            },
        })?;
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            this.report(&task, 30, "removing the files");
            this.files
                .delete(&vm.record, &this.datastore_of(&vm.record)?)?;
            if vm.record.tpm.is_some() {
                task.notes
                    .push(format!("the TPM of {} is destroyed", vm.record.name));
            }
            let entry = this.journal_entry(task.id)?;
            this.record_deleted(task, &vm.record, entry.as_ref())
        }))
    }

    /// Records that the files of `vm` are gone.
    pub(super) fn record_deleted(
        &self,
        task: Task,
        vm: &Vm,
        entry: Option<&Stored<JournalEntry>>,
    ) -> Result<Task> {
        let task = task.succeeded();
        let mut transaction = Transaction::default();
        if let Some(entry) = entry {
            transaction.remove(entry);
        }
        transaction.remove_key(Vm::key_of(vm.id));
        transaction.remove_key(GenerationFloor::key_of(vm.id));
        transaction.remove_key(SnapshotTree::key_of(vm.id));
        transaction.remove_key(VmHardware::key_of(vm.id));
        transaction.remove_key(Remarks::key_of(&vm.id.to_string()));
        transaction.remove_key(vm.name_key());
        Lineage::end(&self.inventory, &mut transaction, vm.id, Timestamp::now())?;
        transaction.put(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }
}
