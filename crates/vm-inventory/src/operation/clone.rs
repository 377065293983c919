//! Cloning a VM: its TPM is copied or replaced.

use super::batch::{Plan, Work};
use super::plan::Wanted;
use super::{Job, Operations, Preview, TpmBytes, lock};
use crate::model::{Datastore, SourceVm, Timestamp, Vm, VmId, VmTpm};
use crate::provisioning::{Operation, TpmAction, TpmProvisioning};
use crate::requirements::Rule;
use crate::task::TargetKind;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;
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
    /// The vCenter that will have the clone; the source's if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// Where the clone's files go; if left out, the source's datastore if the vCenter sees it, otherwise the first one that it sees.
    #[serde(default)]
    pub datastore: Option<Name>,
    /// The snapshot of the source that the clone begins from, instead of what the source is now.
    #[serde(skip)]
    pub snapshot: Option<Uuid>,
}

impl Operations {
    /// Checks a request to clone the VM `source` (a name or an id) and records the task.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn clone_vm(self: &Arc<Self>, source: &str, request: &CloneVm) -> Result<Job> {
        let id = VmId::random();
        self.accept(|this| {
            let plan = this.plan_clone(id, source, request)?;
            match (plan.failures.as_slice(), plan.items.as_slice()) {
                // A name that is taken, and nothing else, has an error of its own.
                ([only], [item]) if only.rule == Rule::Place => Err(Error::Exists {
                    what: "VM",
                    name: item.vm.name.clone(),
                    place: format!("vCenter {}", item.vm.vcenter),
                }),
                _ => Ok(plan),
            }
        })
    }

    /// What [`Self::clone_vm`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_clone_vm(&self, source: &str, request: &CloneVm) -> Result<Preview> {
        self.preview_of(|this| this.plan_clone(VmId(Uuid::nil()), source, request))
    }

    fn plan_clone(&self, id: VmId, source: &str, request: &CloneVm) -> Result<Plan> {
        let source = self.inventory.vm(source)?;
        let vcenter = request.vcenter.as_ref().unwrap_or(&source.record.vcenter);
        let mut place = self.place_at(vcenter, request.datastore.clone())?;
        if place.vcenter.name == source.record.vcenter && place.datastore.is_none() {
            place.datastore = Some(source.record.datastore.clone());
        }
        let operation = Operation::VsphereClone;
        let target = (TargetKind::Vm, id, request.name.clone());
        let mut plan = Plan::new(operation.as_str(), "being cloned", target);
        plan.take(&source);
        let wanted = Wanted {
            operation,
            source: &source.record,
            name: request.name.clone(),
            asked: request.tpm.map(TpmAction::from),
            stored: None,
            moves: false,
            by_name: true,
        };
        let snapshot = match request.snapshot {
            Some(asked) => Some(self.tree(source.record.id)?.find(&asked.to_string())?.id),
            None => None,
        };
        self.plan_from(&mut plan, &place, wanted)?;
        for item in &mut plan.items {
            item.vm.id = id;
            if let Work::Like(from, _) = &mut item.work {
                from.snapshot = snapshot;
            }
            if matches!(item.work, Work::Like(_, Some(TpmAction::Copy))) {
                plan.notes.push(
                    "lost in the copy: sessions, loaded objects and saved contexts; its random numbers are its own".to_owned(),
                );
            }
        }
        self.check_free_names(&mut plan)?;
        Ok(plan)
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
        contents.remove(SectionKind::TPM_VOLATILE);
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
