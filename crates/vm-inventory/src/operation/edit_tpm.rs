//! Adding a TPM to a VM that exists, and removing it.

use super::power::powered;
use super::preview::{Effects, Preview, VmPreview};
use super::{Job, Operations};
use crate::files::contents;
use crate::inventory::{Stored, Transaction};
use crate::journal::{Intent, JournalEntry};
use crate::lineage::Lineage;
use crate::model::{GenerationFloor, PowerState, Timestamp, Vm};
use crate::provisioning::{self, Operation, TpmAction};
use crate::requirements::{Failure, Rule};
use crate::task::Task;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A request to give a VM a TPM, or to take it away (`TpmPresent`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditTpm {
    /// Whether the VM is to have a TPM.
    pub present: bool,
    /// The key provider for its key; the vCenter's default if left out.
    #[serde(default)]
    pub provider: Option<Name>,
    /// What its TPM is like.
    #[serde(default)]
    pub profile: Option<String>,
    /// Confirms that removing destroys the TPM for good: guests whose disks are sealed to it need their recovery key.
    #[serde(default)]
    pub confirm: bool,
}

/// The change, checked.
struct Edit {
    vm: Stored<Vm>,
    /// The VM as it is to be, without the new TPM.
    after: Vm,
    failures: Vec<Failure>,
}

impl Operations {
    /// Gives a VM a TPM, or takes it away.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn edit_tpm(self: &Arc<Self>, vm: &str, request: &EditTpm) -> Result<Job> {
        let operation = operation_of(request);
        let (found, busy) = self.occupy_vm(vm, "a change of its TPM")?;
        let edit = self.check_edit(found, request)?;
        if !edit.failures.is_empty() {
            return Err(Error::Rules {
                operation: operation.as_str(),
                failures: edit.failures,
            });
        }
        let Edit { vm, after, .. } = edit;
        let task = Task::of(operation.as_str(), &vm.record);
        let mut transaction = Transaction::default();
        transaction.unchanged(&vm);
        transaction.insert(&JournalEntry {
            task: task.id,
            intent: Intent::EditTpm {
                before: Box::new(vm.record.clone()),
                add: request.present,
            },
        })?;
        transaction.insert(&task)?;
        self.inventory.commit(transaction)?;
        let profile = request.profile.clone();
        let add = request.present;
        Ok(self.job(task, vec![busy], move |this, task| {
            if add {
                this.add_tpm(task, after, profile.as_deref())
            } else {
                this.report(&task, 50, "removing the TPM");
                this.destroy_tpm(&vm.record)?;
                let entry = this.journal_entry(task.id)?;
                this.record_edit(task, &vm.record, None, entry.as_ref())
            }
        }))
    }

    /// What [`Self::edit_tpm`] would do.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn preview_edit_tpm(&self, vm: &str, request: &EditTpm) -> Result<Preview> {
        let edit = self.check_edit(self.inventory.vm(vm)?, request)?;
        let action = if request.present {
            TpmAction::New
        } else {
            TpmAction::Remove
        };
        Ok(Preview {
            operation: operation_of(request).as_str().to_owned(),
            possible: edit.failures.is_empty(),
            failures: edit.failures,
            vms: vec![VmPreview {
                source: Some(edit.vm.record.name.clone()),
                vm: Some(edit.after.name),
                tpm: Some(action),
                vcenter: edit.after.vcenter,
                provider: edit.after.provider,
                effects: Effects::of(Some(action), false),
            }],
        })
    }

    fn check_edit(&self, vm: Stored<Vm>, request: &EditTpm) -> Result<Edit> {
        let record = &vm.record;
        if request.present == record.tpm.is_some() {
            let state = if request.present {
                "already has a"
            } else {
                "has no"
            };
            return Err(Error::BadValue(format!(
                "the VM {} {state} TPM; there is nothing to do",
                record.name
            )));
        }
        if !request.present && (request.provider.is_some() || request.profile.is_some()) {
            return Err(Error::BadValue(
                "a provider or a profile belongs to adding a TPM; leave it out".to_owned(),
            ));
        }
        if let Some(profile) = &request.profile {
            self.maker
                .new_tpm_of(profile)
                .map_err(|error| Error::BadValue(error.0))?;
        }
        let vcenter = self.inventory.vcenter(record.vcenter.as_str())?.record;
        let mut failures = Vec::new();
        let asked = if request.present {
            TpmAction::New
        } else {
            TpmAction::Remove
        };
        let operation = operation_of(request);
        if let Err(refusal) = provisioning::decide(operation, vcenter.version, Some(asked), None) {
            failures.push(super::plan::refused(&refusal));
        }
        if record.power != PowerState::Off {
            failures.push(Failure::of(
                Rule::PowerState,
                format!(
                    "it is {}; power it off first with `vtpm vm stop {}`",
                    powered(record.power),
                    record.name
                ),
            ));
        }
        let snapshots = self.tree(record.id)?.snapshots.len();
        if snapshots > 0 {
            failures.push(Failure::of(
                Rule::NoSnapshots,
                format!("it has {snapshots} snapshots, which hold the TPM; forget them first with `vtpm vm forget`"),
            ));
        }
        let mut after = record.clone();
        if request.present {
            if record.encrypted {
                if request.provider.is_some() && request.provider != record.provider {
                    return Err(Error::BadValue(format!(
                        "the VM {} is encrypted already, under a key of {}; re-key it, or leave the provider out",
                        record.name,
                        record.provider.as_ref().map_or("", Name::as_str)
                    )));
                }
            } else {
                after.provider = request
                    .provider
                    .clone()
                    .or_else(|| vcenter.default_provider.clone());
            }
            self.check_requirements(&mut failures, &after, &vcenter, false)?;
        } else {
            after.tpm = None;
            if !record.encrypted {
                after.provider = None;
            }
            if !request.confirm {
                failures.push(Failure::of(
                    Rule::Confirmation,
                    "removing destroys the TPM for good: a guest whose disk is sealed to it (BitLocker, LUKS) needs its recovery key at the next boot; confirm with --confirm (`\"confirm\": true`)".to_owned(),
                ));
            }
        }
        let failures = failures
            .into_iter()
            .map(|failure| failure.for_vm(&record.name))
            .collect();
        Ok(Edit {
            after,
            failures,
            vm,
        })
    }

    fn add_tpm(&self, mut task: Task, mut vm: Vm, profile: Option<&str>) -> Result<Task> {
        self.report(&task, 10, "making the TPM");
        let state = match profile {
            Some(profile) => self.maker.new_tpm_of(profile),
            None => self.maker.new_tpm(),
        };
        let state = self.install(&mut vm, TpmAction::New, state)?;
        self.report(&task, 80, "writing the files");
        let datastore = self.datastore_of(&vm)?;
        if vm.encrypted {
            let floor = self.inventory.generation_floor(vm.id)?;
            self.files.change_tpm(&vm, &datastore, floor, Some(state))?;
            task.notes.push(format!(
                "{} has a new TPM, under the key that the VM has",
                vm.name
            ));
        } else {
            self.files
                .add_tpm(&vm, &datastore, &contents(state, None))?;
            task.notes.push(format!(
                "{} has a new TPM; its files are encrypted from now on, its disks are not",
                vm.name
            ));
        }
        let task = task.succeeded();
        let mut transaction = Transaction::default();
        if let Some(entry) = self.journal_entry(task.id)? {
            transaction.remove(&entry);
        }
        transaction.put(&vm)?;
        if !vm.encrypted {
            // The files begin to count anew.
            transaction.remove_key(GenerationFloor::key_of(vm.id));
        }
        Lineage::begin(
            &mut transaction,
            &vm,
            task.organization.as_ref(),
            Operation::AddTpm.as_str(),
            Timestamp::now(),
        )?;
        transaction.put(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    /// Records that the VM has no TPM: it was removed, or adding it was undone.
    fn record_edit(
        &self,
        mut task: Task,
        before: &Vm,
        failed: Option<Task>,
        entry: Option<&Stored<JournalEntry>>,
    ) -> Result<Task> {
        let mut transaction = Transaction::default();
        if let Some(entry) = entry {
            transaction.remove(entry);
        }
        let mut vm = before.clone();
        vm.tpm = None;
        if !vm.encrypted {
            vm.provider = None;
            transaction.remove_key(GenerationFloor::key_of(vm.id));
        }
        transaction.put(&vm)?;
        if before.tpm.is_some() {
            Lineage::end(&self.inventory, &mut transaction, vm.id, Timestamp::now())?;
            task.notes.push(format!(
                "the TPM of {} is destroyed; what was sealed to it does not open any more",
                vm.name
            ));
        }
        let task = failed.unwrap_or_else(|| task.succeeded());
        transaction.put(&task)?;
        self.inventory.commit(transaction)?;
        Ok(task)
    }

    /// Takes the TPM out of the files of a VM, if they have one.
    fn destroy_tpm(&self, vm: &Vm) -> Result<()> {
        let datastore = self.datastore_of(vm)?;
        if !vm.encrypted {
            return self.files.remove_tpm(vm, &datastore);
        }
        if self.files.has_tpm(vm, &datastore)? {
            let floor = self.inventory.generation_floor(vm.id)?;
            self.files.change_tpm(vm, &datastore, floor, None)?;
        }
        Ok(())
    }

    /// After an interruption or a failure: a VM that was getting a TPM has none, one that was losing it has lost it.
    pub(super) fn settle_edit(
        &self,
        entry: &Stored<JournalEntry>,
        before: &Vm,
        add: bool,
        task: Option<Task>,
    ) -> Result<()> {
        let task = task.unwrap_or_else(|| Task::of("edit_tpm", before));
        if before.encrypted && !add && self.files.has_tpm(before, &self.datastore_of(before)?)? {
            // Its key could not be had, or it was not come to that: the TPM is there as it was.
            let error = Error::Interrupted("the VM has its TPM, remove it again");
            let task = match task.is_finished() {
                true => task,
                false => task.failed(&error),
            };
            let mut transaction = Transaction::default();
            transaction.remove(entry);
            transaction.put(&task)?;
            return self.inventory.commit(transaction);
        }
        if let Err(error) = self.destroy_tpm(before) {
            if !before.encrypted {
                return Err(error);
            }
            // Nothing uses what is there: another TPM takes its place.
            tracing::warn!(vm = %before.name, "a TPM that nobody has stays in the files: {error}");
        }
        let failed = add.then(|| {
            if task.is_finished() {
                task.clone()
            } else {
                let error = Error::Interrupted("the VM has no TPM, add it again");
                task.clone().failed(&error)
            }
        });
        self.record_edit(task, before, failed, Some(entry))?;
        Ok(())
    }
}

fn operation_of(request: &EditTpm) -> Operation {
    if request.present {
        Operation::AddTpm
    } else {
        Operation::RemoveTpm
    }
}
