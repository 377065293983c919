//! Suspending VMs: their TPMs go on from where they were.
//!
//! The volatile state stands in the VM's file beside the permanent one, sealed with it. Powering the VM on takes it up, and it is gone
//! from the file before the TPM answers; so no moment is gone on from twice.

use super::{Job, Operations};
use crate::model::{PowerState, Vm};
use crate::{Error, Result};
use std::sync::Arc;
use vm_store::SectionKind;

impl Operations {
    /// Checks that the VM (a name or an id) may be suspended and records the task. Powering it on resumes it.
    ///
    /// # Errors
    /// When there is no such VM, or it does not run.
    pub fn suspend_vm(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "being suspended")?;
        if vm.record.power != PowerState::On {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: vm.record.power,
                hint: "only a VM that runs is suspended",
            });
        }
        let task = self.record_task("suspend_vm", &vm)?;
        Ok(self.job(task, vec![busy], move |this, task| {
            if vm.record.tpm.is_none() {
                return this.record_power(task, &vm, PowerState::Suspended, None);
            }
            this.report(&task, 20, "storing what the TPM has in memory");
            match this.machines.suspend(vm.record.id) {
                Ok(generation) => {
                    this.record_power(task, &vm, PowerState::Suspended, Some(generation))
                }
                Err(reason) => {
                    // It does not run any more; what its TPM had promised is stored.
                    this.record_power(task, &vm, PowerState::Off, None)?;
                    Err(Error::Machine {
                        vm: vm.record.name.clone(),
                        reason,
                    })
                }
            }
        }))
    }

    /// Takes away what a suspended VM would go on from: to its TPM that is a loss of power. Returns the generation of what is left.
    pub(super) fn discard_suspended(&self, vm: &Vm) -> Result<u64> {
        let floor = self.inventory.generation_floor(vm.id)?;
        let (mut file, mut contents) = self
            .files
            .open(vm, &self.datastore_of(vm)?, Some(floor))
            .inspect_err(|error| self.note_lock(vm.id, error))?;
        contents.remove(SectionKind::TPM_VOLATILE);
        let generation = file.save(&contents)?;
        file.close()?;
        Ok(generation)
    }
}
