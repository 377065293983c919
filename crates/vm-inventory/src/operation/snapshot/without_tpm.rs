//! Snapshots of VMs without a TPM: there is no state of theirs to keep, so they are places in the tree and the power of then.

use super::TakeSnapshot;
use crate::Result;
use crate::inventory::{Stored, Transaction};
use crate::model::{PowerState, Timestamp, Vm};
use crate::operation::{Busy, Job, Operations};
use crate::snapshot::{Revert, Snapshot, SnapshotTree};
use std::sync::Arc;
use uuid::Uuid;

impl Operations {
    pub(super) fn take_without_tpm(
        self: &Arc<Self>,
        vm: Stored<Vm>,
        busy: Busy,
        mut tree: SnapshotTree,
        request: TakeSnapshot,
    ) -> Result<Job> {
        let task = self.record_task("take_snapshot", &vm)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            task.notes.push(format!(
                "{} has no TPM: its disks are the hypervisor's, so nothing of it is kept but its power",
                vm.record.name
            ));
            tree.add(Snapshot {
                id: Uuid::new_v4(),
                name: request.name,
                description: request.description,
                parent: tree.current,
                created: Timestamp::now(),
                powered_on: vm.record.power == PowerState::On,
                generation: 0,
            });
            this.record_tree(task, &tree)
        }))
    }

    pub(super) fn revert_without_tpm(
        self: &Arc<Self>,
        vm: Stored<Vm>,
        busy: Busy,
        snapshot: &Snapshot,
    ) -> Result<Job> {
        let task = self.record_task("revert_vm", &vm)?;
        // Nothing is forked, so it stays the instance that it is.
        let revert = Revert {
            snapshot: snapshot.id,
            name: snapshot.name.clone(),
            at: Timestamp::now(),
            from_instance: vm.record.instance_id,
            to_instance: vm.record.instance_id,
            to_generation: 0,
        };
        let on = snapshot.powered_on;
        Ok(self.job(task, vec![busy], move |this, task| {
            let task = task.succeeded();
            let mut changed = vm.record.clone();
            changed.power = if on { PowerState::On } else { PowerState::Off };
            let mut tree = this.tree(vm.record.id)?;
            tree.reverted(revert);
            let mut transaction = Transaction::default();
            transaction.update(&vm, &changed)?;
            transaction.put(&tree)?;
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            Ok(task)
        }))
    }
}
