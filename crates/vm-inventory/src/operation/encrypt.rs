//! Encrypting a VM for itself, with or without a TPM to come, and ending that.
//!
//! What counts is the VM's file, which changes in one step: after a failure or a crash the record follows it.

use super::crypto_state::CryptoChange;
use super::{Job, Operations};
use crate::inventory::{Stored, Transaction};
use crate::journal::{Intent, JournalEntry};
use crate::model::{GenerationFloor, Vm};
use crate::task::{Task, TaskStatus};
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use vm_store::{KeyId, KeyProvider as _};

const ENCRYPT_VM: &str = "encrypt_vm";
const DECRYPT_VM: &str = "decrypt_vm";

/// A request to encrypt a VM that is not encrypted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptVm {
    /// Whose key; that of the vCenter's default provider if left out.
    #[serde(default)]
    pub provider: Option<Name>,
    /// Which of its keys; a new one if left out.
    #[serde(default)]
    pub key_id: Option<String>,
}

impl Operations {
    /// Encrypts a VM (a name or an id) for itself: it stays encrypted whether it gets a TPM or loses it.
    ///
    /// # Errors
    /// When there is no such VM, it is encrypted or on, or the provider may hold no key for it.
    pub fn encrypt_vm(self: &Arc<Self>, reference: &str, request: EncryptVm) -> Result<Job> {
        let named = match &request.key_id {
            Some(key_id) => Some(KeyId::new(key_id.as_str()).ok_or_else(|| {
                Error::BadValue("the id of the key is empty or too long".to_owned())
            })?),
            None => None,
        };
        let (vm, busy) = self.occupy_vm(reference, "being encrypted")?;
        if vm.record.is_encrypted() {
            return Err(Error::Encryption {
                vm: vm.record.name.clone(),
                why: "is encrypted already; there is nothing to do",
            });
        }
        self.check_state(ENCRYPT_VM, &vm.record, CryptoChange::Encryption)?;
        let vcenter = self.inventory.vcenter(vm.record.vcenter.as_str())?.record;
        let mut after = vm.record.clone();
        after.provider = request.provider.or(vcenter.default_provider.clone());
        self.require_key(&after, &vcenter)?;
        let task = self.record_change(Task::of(ENCRYPT_VM, &after), &vm, &after)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            this.report(&task, 10, "making the key");
            let key_id = match named {
                Some(key_id) => key_id,
                None => this.files.provider_of(&after)?.new_key()?,
            };
            this.report(&task, 50, "writing the files");
            this.files
                .encrypt(&after, &this.datastore_of(&after)?, &key_id)?;
            task.notes.push(format!(
                "the files of {} are encrypted under key {key_id} of key provider {}; its disks are not",
                after.name,
                after.provider.as_ref().map_or("", Name::as_str)
            ));
            this.record_encryption(task, &after, true)
        }))
    }

    /// Ends the encryption of a VM (a name or an id) that has no TPM.
    ///
    /// # Errors
    /// When there is no such VM, it is not encrypted, has a TPM, or is on.
    pub fn decrypt_vm(self: &Arc<Self>, reference: &str) -> Result<Job> {
        let (vm, busy) = self.occupy_vm(reference, "being decrypted")?;
        if !vm.record.is_encrypted() {
            return Err(Error::Encryption {
                vm: vm.record.name.clone(),
                why: "is not encrypted; there is nothing to do",
            });
        }
        if vm.record.tpm.is_some() {
            return Err(Error::Encryption {
                vm: vm.record.name.clone(),
                why: "has a TPM, which needs the encryption; remove the TPM first",
            });
        }
        self.check_state(DECRYPT_VM, &vm.record, CryptoChange::Encryption)?;
        let task = self.record_change(Task::of(DECRYPT_VM, &vm.record), &vm, &vm.record)?;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            this.report(&task, 20, "trying the key");
            this.need_key_of(&vm.record)?;
            this.report(&task, 50, "writing the files");
            this.files
                .decrypt(&vm.record, &this.datastore_of(&vm.record)?)?;
            task.notes
                .push(format!("{} is not encrypted any more", vm.record.name));
            this.record_encryption(task, &vm.record, false)
        }))
    }

    fn record_change(&self, task: Task, vm: &Stored<Vm>, after: &Vm) -> Result<Task> {
        let mut transaction = Transaction::default();
        transaction.unchanged(vm);
        transaction.insert(&JournalEntry {
            task: task.id,
            intent: Intent::Encrypt {
                vm: Box::new(after.clone()),
            },
        })?;
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    /// Records what the files say, and the task as it ended.
    fn record_encryption(&self, task: Task, vm: &Vm, encrypted: bool) -> Result<Task> {
        let task = if task.is_finished() {
            task
        } else {
            task.succeeded()
        };
        // Read again: it may have been recorded as locked.
        let stored = self.inventory.vm(&vm.id.to_string())?;
        let mut changed = stored.record.clone();
        changed.encrypted = encrypted;
        changed.provider = vm.provider.clone().filter(|_| encrypted);
        let mut transaction = Transaction::default();
        if changed.encrypted != stored.record.encrypted {
            changed.locked = None;
            // The files begin to count anew.
            transaction.remove_key(GenerationFloor::key_of(vm.id));
        }
        transaction.update(&stored, &changed)?;
        if let Some(entry) = self.journal_entry(task.id)? {
            transaction.remove(&entry);
        }
        transaction.put(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    /// After an interruption or a failure: the record follows the file.
    pub(super) fn settle_encryption(
        &self,
        entry: &Stored<JournalEntry>,
        vm: &Vm,
        task: Option<Task>,
    ) -> Result<()> {
        let encrypted = self
            .files
            .binding(vm, &self.datastore_of(vm)?)?
            .is_some_and(|binding| binding.encryption.is_of_vm());
        let mut task = task.unwrap_or_else(|| Task::of(ENCRYPT_VM, vm));
        task.id = entry.record.task;
        let wanted = task.operation == ENCRYPT_VM;
        if task.status != TaskStatus::Error && encrypted != wanted {
            task = task.failed(&Error::Interrupted("the VM is as it was, start it again"));
        }
        self.record_encryption(task, vm, encrypted)?;
        Ok(())
    }
}
