//! Cloning a VM: its TPM is copied or replaced.

use super::{Job, Like, Operations, TpmBytes, lock, planned};
use crate::files::contents;
use crate::inventory::Transaction;
use crate::model::{Datastore, SourceVm, Timestamp, Vm, VmTpm};
use crate::provisioning::{self, Operation, TpmAction, TpmProvisioning};
use crate::task::Task;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use vm_store::{Contents, SectionKind};

/// A request to clone a VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloneVm {
    /// The name of the clone.
    pub name: Name,
    /// What becomes of the TPM; copy if left out.
    #[serde(default)]
    pub tpm: Option<TpmProvisioning>,
    /// Where the clone's files go; the source's datastore if left out.
    #[serde(default)]
    pub datastore: Option<Name>,
}

impl Operations {
    /// Checks a request to clone the VM `source` (a name or an id) and records the task.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn clone_vm(self: &Arc<Self>, source: &str, request: CloneVm) -> Result<Job> {
        let (source, source_busy) = self.occupy_vm(source, "being cloned")?;
        let vcenter = self.inventory.vcenter(source.record.vcenter.as_str())?;
        let datastore_name = request
            .datastore
            .as_ref()
            .unwrap_or(&source.record.datastore);
        let datastore = self
            .inventory
            .datastore_on(&vcenter.record.name, Some(datastore_name))?;
        let asked = request.tpm.map(TpmAction::from);
        let action =
            provisioning::decide(Operation::VsphereClone, vcenter.record.version, asked, None)
                .map_err(|refusal| Error::Provisioning {
                    vm: source.record.name.clone(),
                    refusal,
                })?;
        let folder = self.free_folder(&datastore.record, &request.name)?;
        let like = Like {
            firmware: source.record.firmware,
            hardware_version: source.record.hardware_version,
            guest: source.record.guest.clone(),
            provider: source.record.provider.clone(),
            encrypted: source.record.encrypted,
            socket: source.record.socket,
            startup: source.record.startup,
        };
        let vm = planned(
            request.name,
            &vcenter.record,
            &datastore.record,
            folder,
            like,
        );
        if source.record.tpm.is_some() {
            self.require(&vm, &vcenter.record)?;
        } else if vm.encrypted {
            self.require_key(&vm, &vcenter.record)?;
        }

        let task = Task::of(Operation::VsphereClone.as_str(), &vm);
        let busy = self.occupy(vm.id, &vm.name, "its creation")?;
        let mut transaction = Transaction::default();
        transaction.unchanged(&source);
        transaction.unchanged(&vcenter);
        transaction.unchanged(&datastore);
        self.record_creation(&task, &vm, transaction)?;
        let (source, datastore) = (source.record, datastore.record);
        Ok(self.job(task, vec![source_busy, busy], move |this, mut task| {
            let mut vm = vm;
            match source.tpm.as_ref().zip(action) {
                None => {
                    this.report(&task, 50, "writing the files");
                    this.create_without_tpm(&vm, &datastore, &source, false)?;
                    task.notes.push(format!("{} has no TPM, like {}", vm.name, source.name));
                }
                Some((_, TpmAction::Copy)) => {
                    this.report(&task, 10, "reading the source");
                    let found = this.contents_of(&source)?;
                    this.report(&task, 40, "copying the TPM");
                    let copy = this.copy_of(&source, &found, &mut vm)?;
                    this.report(&task, 80, "writing the files");
                    let contents = contents(copy, Some(&found));
                    this.files
                        .create_like(&vm, &datastore, &contents, &source, &this.datastore_of(&source)?)?;
                    task.notes.push(format!(
                        "copy: {} keeps the endorsement key, seeds, NV indices, persistent keys and sealed data of {}",
                        vm.name, source.name
                    ));
                    task.notes.push(
                        "lost in the copy: sessions, loaded objects and saved contexts; its random numbers are its own".to_owned(),
                    );
                }
                Some(_) => {
                    this.report(&task, 10, "reading the source");
                    let found = this.contents_of(&source)?;
                    this.report(&task, 30, "making the TPM");
                    let like = found.get(SectionKind::TPM_PERMANENT).map_or_else(
                        || this.maker.new_tpm(),
                        |state| this.maker.new_tpm_like(state),
                    );
                    let fresh = this.install(&mut vm, TpmAction::Replace, like)?;
                    if let Some(tpm) = &mut vm.tpm {
                        tpm.source = Some(source_of(&source));
                    }
                    this.report(&task, 80, "writing the files");
                    let contents = contents(fresh, Some(&found));
                    this.files
                        .create_like(&vm, &datastore, &contents, &source, &this.datastore_of(&source)?)?;
                    task.notes.push(format!(
                        "replace: {} has a new TPM; it has nothing of the TPM of {}: what was sealed there does not open here",
                        vm.name, source.name
                    ));
                }
            }
            this.record_created(task, &vm)
        }))
    }

    /// Makes the files of a VM like another that has no TPM, encrypted if that one is.
    pub(super) fn create_without_tpm(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        source: &Vm,
        new_key: bool,
    ) -> Result<()> {
        if !vm.encrypted {
            return self.files.create_plain(vm, datastore);
        }
        let mut contents = self.contents_of(source)?;
        // What an interrupted change of a TPM may have left.
        contents.remove(SectionKind::TPM_PERMANENT);
        if new_key {
            return self.files.create(vm, datastore, &contents);
        }
        let at = self.datastore_of(source)?;
        self.files
            .create_like(vm, datastore, &contents, source, &at)
    }

    /// What a VM has on stable storage, whether it runs or not.
    pub(super) fn contents_of(&self, vm: &Vm) -> Result<Contents> {
        if let Some(contents) = self.machines.persisted(vm.id) {
            return Ok(contents);
        }
        let floor = self.inventory.generation_floor(vm.id)?;
        // Several instances of one template are made at a time, and its files are open to one.
        let _one_at_a_time = lock(&self.reading);
        // Dropped without closing: a clone leaves every byte of its source as it was.
        let (_open, contents) = self.files.open(vm, &self.datastore_of(vm)?, Some(floor))?;
        Ok(contents)
    }

    #[cfg(test)]
    pub(crate) fn contents_for_tests(&self, vm: &str) -> Contents {
        self.contents_of(&self.inventory.vm(vm).unwrap().record)
            .unwrap()
    }

    pub(super) fn copy_of(&self, source: &Vm, found: &Contents, vm: &mut Vm) -> Result<TpmBytes> {
        let fail = |reason: String| Error::Tpm {
            vm: source.name.clone(),
            reason,
        };
        let state = found
            .get(SectionKind::TPM_PERMANENT)
            .ok_or_else(|| fail("its file holds no TPM state".to_owned()))?;
        let forked = self.maker.fork(state).map_err(|error| fail(error.0))?;
        vm.tpm = source.tpm.as_ref().map(|tpm| VmTpm {
            origin: TpmAction::Copy,
            source: Some(source_of(source)),
            made: Timestamp::now(),
            // The key is derived from a seed that the copy keeps.
            ek_name: tpm.ek_name.clone(),
            certificates: tpm.certificates.clone(),
        });
        Ok(forked)
    }
}

pub(super) fn source_of(vm: &Vm) -> SourceVm {
    SourceVm {
        id: vm.id,
        name: vm.name.clone(),
    }
}
