//! What a VM is said to have besides its TPM: nothing here runs on it, but who asks for it is told.

use super::Operations;
use crate::inventory::Transaction;
use crate::model::{PowerState, Record, VmId};
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};

/// Processors, memory and notes of a VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmHardware {
    /// The VM.
    pub vm: VmId,
    /// Virtual processors.
    pub cpus: u32,
    /// How many of them are cores of one socket.
    #[serde(default = "one")]
    pub cores_per_socket: u32,
    /// Memory in mebibytes.
    pub memory_mb: u32,
    /// What people wrote about it.
    #[serde(default)]
    pub annotation: String,
    /// A vSphere template: VMs are cloned from it, and it is not powered on.
    #[serde(default)]
    pub template: bool,
    /// What else clients of the vSphere API said about it, devices and settings, as that API keeps it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub settings: String,
    /// The folder that it is in; that of all VMs if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<uuid::Uuid>,
}

fn one() -> u32 {
    1
}

impl Record for VmHardware {
    const PREFIX: &'static str = "vm-hardware/";
    fn key(&self) -> String {
        Self::key_of(self.vm)
    }
}

impl VmHardware {
    pub(crate) fn key_of(vm: VmId) -> String {
        format!("{}{vm}", Self::PREFIX)
    }

    /// What a VM has of which nothing was said.
    fn usual(vm: VmId) -> Self {
        Self {
            vm,
            cpus: 1,
            cores_per_socket: 1,
            memory_mb: 1024,
            annotation: String::new(),
            template: false,
            settings: String::new(),
            folder: None,
        }
    }

    fn check(&self) -> Result<()> {
        let fits = (1..=768).contains(&self.cpus)
            && self.cores_per_socket > 0
            && self.cpus.is_multiple_of(self.cores_per_socket)
            && (4..=24 * 1024 * 1024).contains(&self.memory_mb)
            && self.memory_mb.is_multiple_of(4)
            && self.annotation.len() <= 16 * 1024
            && self.settings.len() <= 512 * 1024;
        if fits {
            return Ok(());
        }
        Err(Error::BadValue(
            "a VM has 1 to 768 processors in whole sockets, memory in steps of 4 MiB from 4 MiB to 24 TiB, notes of at most 16 KiB and settings of at most 512 KiB".to_owned(),
        ))
    }
}

impl Operations {
    /// How many bytes the storage behind a datastore has, and how many of them are free.
    ///
    /// # Errors
    /// When there is no such datastore, or its folder is not there.
    pub fn datastore_space(&self, name: &Name) -> Result<(u64, u64)> {
        let datastore = self.inventory.datastore(name.as_str())?.record;
        self.files.space(&datastore)
    }

    /// What a VM (a name or an id) is said to have.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn vm_hardware(&self, reference: &str) -> Result<VmHardware> {
        let vm = self.inventory.vm(reference)?.record;
        let stored = self
            .inventory
            .find::<VmHardware>(&VmHardware::key_of(vm.id))?;
        Ok(stored.map_or_else(|| VmHardware::usual(vm.id), |stored| stored.record))
    }

    /// Changes that. Processors and memory change while the VM is off.
    ///
    /// # Errors
    /// When there is no such VM, it runs, or a number makes no sense.
    pub fn change_vm_hardware(
        &self,
        reference: &str,
        change: impl FnOnce(&mut VmHardware),
    ) -> Result<VmHardware> {
        let vm = self.inventory.vm(reference)?;
        let after = self.check_vm_hardware(reference, change)?;
        let mut transaction = Transaction::default();
        transaction.unchanged(&vm);
        transaction.put(&after)?;
        self.inventory.commit(transaction)?;
        Ok(after)
    }

    /// What a change would make of that, if it may be.
    pub(super) fn check_vm_hardware(
        &self,
        reference: &str,
        change: impl FnOnce(&mut VmHardware),
    ) -> Result<VmHardware> {
        let vm = self.inventory.vm(reference)?;
        let before = self.vm_hardware(reference)?;
        let mut after = before.clone();
        change(&mut after);
        after.vm = vm.record.id;
        after.check()?;
        let sizes = |it: &VmHardware| (it.cpus, it.cores_per_socket, it.memory_mb);
        let moved = sizes(&after) != sizes(&before);
        if moved && vm.record.power != PowerState::Off {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: vm.record.power,
                hint: "processors and memory change while it is off",
            });
        }
        Ok(after)
    }
}
