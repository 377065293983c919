//! What a VM is made for: firmware, hardware version, guest. They change while it is off; a VM with a TPM keeps to the rules for one.

use super::{Operations, ReconfigureVm};
use crate::inventory::Transaction;
use crate::model::{PowerState, Vm};
use crate::{Error, Result};
use std::sync::Arc;

impl Operations {
    /// The VM as it would be; `None` if nothing of this changes.
    pub(super) fn check_settings(&self, vm: &Vm, change: &ReconfigureVm) -> Result<Option<Vm>> {
        let vcenter = self.inventory.vcenter(vm.vcenter.as_str())?.record;
        let mut after = vm.clone();
        after.firmware = change.firmware.unwrap_or(vm.firmware);
        if let Some(guest) = &change.guest {
            after.guest = guest.clone();
        }
        if let Some(version) = change.hardware_version
            && version != vm.hardware_version
        {
            after.hardware_version = self.hardware_on(&vcenter, Some(version))?;
        }
        if after == *vm {
            return Ok(None);
        }
        if vm.power != PowerState::Off {
            return Err(Error::Power {
                vm: vm.name.clone(),
                is: vm.power,
                hint: "firmware, hardware version and guest change while it is off",
            });
        }
        let mut failures = Vec::new();
        if after.tpm.is_some() {
            self.check_requirements(&mut failures, &after, &vcenter, false)?;
        }
        if failures.is_empty() {
            return Ok(Some(after));
        }
        Err(Error::Requirements {
            vm: vm.name.clone(),
            failures,
        })
    }

    /// Changes that.
    pub(super) fn change_settings(
        self: &Arc<Self>,
        reference: &str,
        change: &ReconfigureVm,
    ) -> Result<()> {
        let (vm, _busy) = self.occupy_vm(reference, "a change of its settings")?;
        let Some(after) = self.check_settings(&vm.record, change)? else {
            return Ok(());
        };
        let mut transaction = Transaction::default();
        transaction.update(&vm, &after)?;
        self.inventory.commit(transaction)?;
        let hardware = after.hardware_version.to_string();
        let changes = [
            ("firmware", Some(after.firmware.as_str())),
            ("virtualHW.version", Some(hardware.as_str())),
            ("guestOS", Some(after.guest.as_str())),
        ];
        // They stand in the files for people; what counts is in the inventory.
        if let Err(error) = self
            .files
            .edit(&after, &self.datastore_of(&after)?, &changes)
        {
            tracing::warn!(vm = %after.name, "its files still say what it was before: {error}");
        }
        Ok(())
    }
}
