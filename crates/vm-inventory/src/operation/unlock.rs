//! Locked VMs: their key cannot be had, so they are not powered on until it can.

use super::{Job, Operations, lock};
use crate::inventory::Transaction;
use crate::key_server::OpenProvider;
use crate::model::{Locked, PowerState, Provider, Timestamp, Vm, VmId};
use crate::{Error, Name, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use vm_store::{KeyProvider, TpmBinding};

impl Operations {
    /// Checks that the VM (a name or an id) may be unlocked and records the task: its key is fetched anew, and tried.
    ///
    /// # Errors
    /// When there is no such VM, it runs, or it has no TPM.
    pub fn unlock_vm(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "being unlocked")?;
        if vm.record.power == PowerState::On {
            return Err(Error::Power {
                vm: vm.record.name.clone(),
                is: PowerState::On,
                hint: "a VM that runs is not locked",
            });
        }
        if !vm.record.is_encrypted() {
            return Err(Error::NoTpm {
                vm: vm.record.name.clone(),
            });
        }
        let task = self.record_task("unlock_vm", &vm)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            this.report(&task, 20, "fetching the key");
            let tried = this.try_key_of(&vm.record, &mut BTreeMap::new());
            if let Err(error) = &tried {
                this.note_lock(vm.record.id, error);
            }
            let binding = tried?;
            task.notes.push(format!(
                "key {} of key provider {} opens its files{}",
                binding.locator.key_id,
                binding.locator.provider,
                match vm.record.locked {
                    Some(_) => "",
                    None => "; it was not locked",
                }
            ));
            let task = task.succeeded();
            let mut changed = vm.record.clone();
            changed.locked = None;
            let mut transaction = Transaction::default();
            transaction.update(&vm, &changed)?;
            transaction.put(&task)?;
            this.inventory.commit(transaction)?;
            Ok(task)
        }))
    }

    /// Looks whether the keys of VMs that were found locked, or that might be, can be had. Call it when the daemon has started.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn look_for_all_locks(self: &Arc<Self>) -> Result<()> {
        for provider in self.inventory.all::<Provider>()? {
            self.look_for_locks(&provider.record)?;
        }
        Ok(())
    }

    /// Tries the keys of a provider's powered-off VMs, each key once, and records what came of it. Returns the locked ones.
    pub(super) fn look_for_locks(&self, provider: &Provider) -> Result<Vec<Name>> {
        let mut keys = BTreeMap::new();
        let mut locked = Vec::new();
        self.inventory.in_parts::<Vm>(|part| {
            for vm in part.into_iter().map(|stored| stored.record) {
                if vm.power == PowerState::On || !provider.holds_key_of(&vm) {
                    continue;
                }
                match self.try_key_of(&vm, &mut keys) {
                    Ok(_) if vm.locked.is_some() => {
                        self.while_idle(vm.id, || self.set_lock(vm.id, None))
                            .transpose()?;
                    }
                    Ok(_) => {}
                    Err(error @ Error::KeyRequired { .. }) => {
                        self.while_idle(vm.id, || self.note_lock(vm.id, &error));
                        locked.push(vm.name);
                    }
                    // Something else is wrong with its files, which power-on says.
                    Err(_) => {}
                }
            }
            Ok(())
        })?;
        locked.sort();
        Ok(locked)
    }

    /// Records what was found out about a VM, unless an operation is at it: that one finds out for itself, and would be refused because
    /// the record is another one than it has read. One that begins meanwhile waits, and reads the record then.
    fn while_idle<T>(&self, vm: VmId, record: impl FnOnce() -> T) -> Option<T> {
        let busy = lock(&self.busy);
        (!busy.contains_key(&vm)).then(record)
    }

    /// Tries the key of a VM; one whose key cannot be had is recorded as locked.
    pub(super) fn need_key_of(&self, vm: &Vm) -> Result<()> {
        let tried = self.try_key_of(vm, &mut BTreeMap::new());
        if let Err(error) = &tried {
            self.note_lock(vm.id, error);
        }
        tried.map(|_| ())
    }

    /// Tries the key of a VM that has just come, and records what came of it.
    pub(super) fn find_out_lock(&self, vm: &Vm) {
        match self.try_key_of(vm, &mut BTreeMap::new()) {
            Ok(_) if vm.locked.is_some() => {
                if let Err(error) = self.set_lock(vm.id, None) {
                    tracing::warn!(vm = %vm.name, "the VM is still recorded as locked: {error}");
                }
            }
            Ok(_) => {}
            Err(error) => {
                self.note_lock(vm.id, &error);
            }
        }
    }

    /// Fetches the key of a VM, unless `keys` has it, and tries it; writes nothing.
    fn try_key_of(&self, vm: &Vm, keys: &mut Keys) -> Result<TpmBinding> {
        let datastore = self.datastore_of(vm)?;
        let binding = self
            .files
            .binding(vm, &datastore)?
            .ok_or_else(|| Error::NoTpm {
                vm: vm.name.clone(),
            })?;
        let key_id = &binding.locator.key_id;
        let required = |reason: String| self.files.key_required(vm, &datastore, reason);
        let provider = match self.files.provider_of(vm) {
            Ok(provider) => provider,
            Err(Error::KeyProvider(reason)) => return Err(required(reason.to_string())),
            Err(other) => return Err(other),
        };
        let at = binding.locator.provider.clone();
        let fetched = keys
            .entry((at, key_id.as_str().to_owned()))
            .or_insert_with(|| fetch(&provider, &binding));
        match fetched {
            Ok(provider) => match self.files.try_key(&**provider, &binding) {
                Err(Error::KeyProvider(reason)) => Err(required(reason.to_string())),
                Err(other) => Err(other),
                Ok(()) => Ok(binding),
            },
            Err(reason) => Err(required(reason.clone())),
        }
    }

    /// Records a VM as locked if that is what the error says.
    pub(super) fn note_lock(&self, vm: VmId, error: &Error) {
        let Error::KeyRequired {
            provider,
            key_id,
            reason,
            ..
        } = error
        else {
            return;
        };
        let locked = Locked {
            provider: provider.clone(),
            key_id: key_id.clone(),
            reason: reason.clone(),
            since: Timestamp::now(),
        };
        if let Err(error) = self.set_lock(vm, Some(locked)) {
            tracing::warn!(%vm, "the VM was not recorded as locked: {error}");
        }
    }

    /// A VM that was powered on or changed meanwhile has found out for itself.
    fn set_lock(&self, vm: VmId, locked: Option<Locked>) -> Result<()> {
        let stored = self.inventory.vm(&vm.to_string())?;
        if stored.record.power == PowerState::On && self.machines.endpoint(vm).is_some() {
            return Ok(());
        }
        let mut changed = stored.record.clone();
        changed.locked = locked;
        let mut transaction = Transaction::default();
        transaction.update(&stored, &changed)?;
        match self.inventory.commit(transaction) {
            Err(Error::Conflict { .. }) => Ok(()),
            other => other,
        }
    }
}

/// Keys that were asked for, by provider and id, or why they cannot be had.
type Keys = BTreeMap<(String, String), std::result::Result<Arc<dyn KeyProvider>, String>>;

fn fetch(
    provider: &OpenProvider,
    binding: &TpmBinding,
) -> std::result::Result<Arc<dyn KeyProvider>, String> {
    provider
        .fetch_anew(&binding.locator.key_id)
        .map_err(|error| error.to_string())
}
