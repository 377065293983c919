//! What operations on one VM would do, without doing it.
//!
//! Each is begun as it is: every check is made, and where it would record its task it ends ([`Operations::would`]). So nothing is
//! foreseen by other rules than those that decide.

use super::{CreateVm, Effects, Fate, Job, Operations, Preview, Rekey, TakeSnapshot, VmPreview};
use crate::model::{NameHolder, PowerState, Record as _, Vm};
use crate::provisioning::{Operation, TpmAction};
use crate::requirements::Failure;
use crate::{Error, Result, acting};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

impl Operations {
    /// Begins an operation up to the moment when it would be recorded. Gives the rules that are not met.
    fn would(
        self: &Arc<Self>,
        begin: impl FnOnce(&Arc<Self>) -> Result<Job>,
    ) -> Result<Vec<Failure>> {
        let accepted = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&accepted);
        let ends_here = move || {
            noted.store(true, Ordering::Relaxed);
            Err(Error::Canceled)
        };
        match acting::looking(Arc::new(ends_here), || begin(self)) {
            Err(_) if accepted.load(Ordering::Relaxed) => Ok(Vec::new()),
            Err(error) => failures_of(error),
            Ok(_begun) => Err(Error::Internal(
                "an operation began that was only to be looked at".to_owned(),
            )),
        }
    }

    /// The same for a VM that there is.
    fn foresee(
        self: &Arc<Self>,
        reference: &str,
        operation: &str,
        becomes: Becomes,
        begin: impl FnOnce(&Arc<Self>, &str) -> Result<Job>,
    ) -> Result<Preview> {
        let vm = self.inventory.vm(reference)?.record;
        let id = vm.id.to_string();
        let failures = self.would(|this| begin(this, &id))?;
        let goes = becomes == Becomes::Gone;
        let action = vm.tpm.as_ref().map(|_| match becomes {
            Becomes::Gone => TpmAction::Remove,
            Becomes::Same | Becomes::Older => TpmAction::Copy,
        });
        let drops = goes && !self.tree(vm.id)?.snapshots.is_empty();
        let mut effects = Effects::of(action, drops);
        if becomes == Becomes::Older && action.is_some() {
            effects.persistent_handles = Fate::Reverted;
            effects.nv_indices = Fate::Reverted;
        }
        Ok(preview(
            operation,
            failures,
            VmPreview {
                source: Some(vm.name.clone()),
                vm: (!goes).then_some(vm.name),
                tpm: action,
                vcenter: vm.vcenter,
                provider: vm.provider,
                effects,
            },
        ))
    }

    /// What [`Self::create_vm`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_create_vm(self: &Arc<Self>, request: &CreateVm) -> Result<Preview> {
        let vcenter = self
            .inventory
            .vcenter_or_only(request.vcenter.as_ref())?
            .record;
        let mut failures = self.would(|this| this.create_vm(request.clone()))?;
        let holder = NameHolder {
            vcenter: vcenter.name.clone(),
            name: request.name.clone(),
            vm: crate::model::VmId::random(),
        };
        if self.inventory.holder(&holder.key())?.is_some() {
            let taken = Error::Exists {
                what: "VM",
                name: request.name.clone(),
                place: format!("vCenter {}", vcenter.name),
            };
            failures.extend(failures_of(taken)?);
        }
        let action = request.tpm.then_some(TpmAction::New);
        let default = || vcenter.default_provider.clone();
        let provider = action.and_then(|_| request.provider.clone().or_else(default));
        Ok(preview(
            Operation::CreateVm.as_str(),
            failures,
            VmPreview {
                source: None,
                vm: Some(request.name.clone()),
                tpm: action,
                vcenter: vcenter.name,
                provider,
                effects: Effects::of(action, false),
            },
        ))
    }

    /// What [`Self::delete_vm`] would do.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn preview_delete_vm(self: &Arc<Self>, vm: &str) -> Result<Preview> {
        self.foresee(vm, "delete_vm", Becomes::Gone, |this, vm| {
            this.delete_vm(vm)
        })
    }

    /// What [`Self::power_on`], [`Self::power_off`] or [`Self::suspend_vm`] would do.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn preview_power(
        self: &Arc<Self>,
        vm: &str,
        power: PowerState,
        accept_rollback: bool,
    ) -> Result<Preview> {
        let operation = match power {
            PowerState::On => "power_on",
            PowerState::Off => "power_off",
            PowerState::Suspended => "suspend_vm",
        };
        self.foresee(vm, operation, Becomes::Same, |this, vm| match power {
            PowerState::On => this.power_on(vm, accept_rollback),
            PowerState::Off => this.power_off(vm),
            PowerState::Suspended => this.suspend_vm(vm),
        })
    }

    /// What [`Self::power_vapp`] would do.
    ///
    /// # Errors
    /// When there is no such vApp.
    pub fn preview_power_vapp(self: &Arc<Self>, vapp: &str, power: PowerState) -> Result<Preview> {
        let found = self.find_vapp(vapp)?;
        let operation = match power {
            PowerState::On => "power_on_vapp",
            PowerState::Off => "power_off_vapp",
            PowerState::Suspended => "suspend_vapp",
        };
        let mut all = Preview::nothing(operation);
        all.failures = self.would(|this| this.power_vapp(vapp, power))?;
        all.possible = all.failures.is_empty();
        let members = self.members(&found.record)?;
        all.vms = members.into_iter().map(|vm| unchanged(vm.record)).collect();
        Ok(all)
    }

    /// What [`Self::take_snapshot`] would do.
    ///
    /// # Errors
    /// When there is no such VM, or it cannot have that snapshot.
    pub fn preview_take_snapshot(
        self: &Arc<Self>,
        vm: &str,
        request: &TakeSnapshot,
    ) -> Result<Preview> {
        self.foresee(vm, "take_snapshot", Becomes::Same, |this, vm| {
            this.take_snapshot(vm, request.clone())
        })
    }

    /// What [`Self::revert_vm`] would do.
    ///
    /// # Errors
    /// When there is no such VM or snapshot.
    pub fn preview_revert_vm(self: &Arc<Self>, vm: &str, snapshot: &str) -> Result<Preview> {
        self.foresee(vm, "revert_vm", Becomes::Older, |this, vm| {
            this.revert_vm(vm, snapshot)
        })
    }

    /// What [`Self::forget_snapshot`] would do.
    ///
    /// # Errors
    /// When there is no such VM or snapshot.
    pub fn preview_forget_snapshot(self: &Arc<Self>, vm: &str, snapshot: &str) -> Result<Preview> {
        let mut preview = self.foresee(vm, "forget_snapshot", Becomes::Same, |this, vm| {
            this.forget_snapshot(vm, snapshot)
        })?;
        for vm in &mut preview.vms {
            vm.effects.snapshots = Fate::Lost;
        }
        Ok(preview)
    }

    /// What [`Self::rekey_vm`] would do.
    ///
    /// # Errors
    /// When there is no such VM or provider.
    pub fn preview_rekey_vm(self: &Arc<Self>, vm: &str, request: &Rekey) -> Result<Preview> {
        let mut preview = self.foresee(vm, "rekey_vm", Becomes::Same, |this, vm| {
            this.rekey_vm(vm, request.clone())
        })?;
        for vm in &mut preview.vms {
            vm.provider = request.provider.clone().or_else(|| vm.provider.take());
        }
        Ok(preview)
    }

    /// What [`Self::unlock_vm`] would do.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn preview_unlock_vm(self: &Arc<Self>, vm: &str) -> Result<Preview> {
        self.foresee(vm, "unlock_vm", Becomes::Same, |this, vm| {
            this.unlock_vm(vm)
        })
    }
}

/// What becomes of a VM that an operation is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Becomes {
    /// Its TPM stays as it is.
    Same,
    /// Its TPM is what it was.
    Older,
    /// It goes.
    Gone,
}

fn preview(operation: &str, failures: Vec<Failure>, vm: VmPreview) -> Preview {
    Preview {
        operation: operation.to_owned(),
        possible: failures.is_empty(),
        failures,
        vms: vec![vm],
    }
}

/// What stays as it is.
pub(super) fn unchanged(vm: Vm) -> VmPreview {
    let action = vm.tpm.as_ref().map(|_| TpmAction::Copy);
    VmPreview {
        source: Some(vm.name.clone()),
        vm: Some(vm.name),
        tpm: action,
        vcenter: vm.vcenter,
        provider: vm.provider,
        effects: Effects::of(action, false),
    }
}

/// A refusal as the rules that are not met; what is no rule stays an error.
fn failures_of(error: Error) -> Result<Vec<Failure>> {
    let failures = error.failures();
    if failures.is_empty() {
        return Err(error);
    }
    Ok(failures)
}
