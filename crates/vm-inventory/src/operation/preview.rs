//! What an operation would do to each TPM, without doing it.

use super::Operations;
use super::batch::{Plan, Work};
use crate::provisioning::TpmAction;
use crate::requirements::Failure;
use crate::{Name, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an operation would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The operation.
    pub operation: String,
    /// Whether it would be accepted.
    pub possible: bool,
    /// Every rule that is not met.
    pub failures: Vec<Failure>,
    /// What becomes of each VM.
    pub vms: Vec<VmPreview>,
}

/// What becomes of one VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VmPreview {
    /// The VM that it starts from; `None` for a new one.
    pub source: Option<Name>,
    /// The VM that results; `None` if it goes.
    pub vm: Option<Name>,
    /// What becomes of the TPM; `None` if there is none.
    pub tpm: Option<TpmAction>,
    /// The vCenter that will hold the VM.
    pub vcenter: Name,
    /// The key provider that will hold its key.
    pub provider: Option<Name>,
    /// What the resulting TPM has of the source's.
    pub effects: Effects,
}

/// What a TPM keeps or loses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Effects {
    /// Endorsement key and seeds: who the TPM is to a verifier.
    pub ek_identity: Fate,
    /// Keys made persistent.
    pub persistent_handles: Fate,
    /// NV indices and what they hold.
    pub nv_indices: Fate,
    /// What was sealed by the source.
    pub sealed_data: Fate,
    /// Snapshots of the VM.
    pub snapshots: Fate,
}

/// What becomes of one thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is there afterwards, as before.
    Kept,
    /// It is not there, or does not open any more; a guest needs its recovery key.
    Lost,
    /// It is as it was when the snapshot was taken; what came since is lost.
    Reverted,
    /// New, in the place of nothing.
    New,
    /// There is none.
    None,
}

impl Preview {
    /// What touches no TPM.
    #[must_use]
    pub fn nothing(operation: &str) -> Self {
        Self {
            operation: operation.to_owned(),
            possible: true,
            failures: Vec::new(),
            vms: Vec::new(),
        }
    }

    /// That, and what another one says besides.
    pub(super) fn and(&mut self, other: Self) {
        self.failures.extend(other.failures);
        self.vms.extend(other.vms);
        self.possible = self.failures.is_empty();
    }
}

impl Effects {
    /// What follows from what becomes of a TPM.
    #[must_use]
    pub fn of(action: Option<TpmAction>, drops_snapshots: bool) -> Self {
        let (identity, rest) = match action {
            None => (Fate::None, Fate::None),
            Some(TpmAction::Copy) => (Fate::Kept, Fate::Kept),
            Some(TpmAction::New) => (Fate::New, Fate::None),
            Some(TpmAction::Replace | TpmAction::Remove) => (Fate::Lost, Fate::Lost),
        };
        Self {
            ek_identity: identity,
            persistent_handles: rest,
            nv_indices: rest,
            sealed_data: rest,
            snapshots: if drops_snapshots {
                Fate::Lost
            } else {
                Fate::None
            },
        }
    }
}

impl Plan {
    fn preview(&self) -> Preview {
        let made = self.items.iter().map(|item| {
            let (source, action, drops) = match &item.work {
                Work::New { tpm, .. } | Work::Packed { tpm, .. } => {
                    (None, tpm.then_some(TpmAction::New), false)
                }
                Work::Like(source, action) => (Some(source), *action, false),
                Work::Carry(source) | Work::Stay(source) => {
                    let action = source.vm.tpm.as_ref().map(|_| TpmAction::Copy);
                    (Some(source), action, !item.snapshots.is_empty())
                }
            };
            VmPreview {
                source: source.map(|source| source.vm.name.clone()),
                vm: Some(item.vm.name.clone()),
                tpm: action,
                vcenter: item.vm.vcenter.clone(),
                provider: item.vm.provider.clone(),
                effects: Effects::of(action, drops),
            }
        });
        let gone = self.removals.iter().map(|vm| {
            let action = vm.tpm.as_ref().map(|_| TpmAction::Remove);
            VmPreview {
                source: Some(vm.name.clone()),
                vm: None,
                tpm: action,
                vcenter: vm.vcenter.clone(),
                provider: vm.provider.clone(),
                effects: Effects::of(action, true),
            }
        });
        Preview {
            operation: self.operation.to_owned(),
            possible: self.failures.is_empty(),
            failures: self.failures.clone(),
            vms: made.chain(gone).collect(),
        }
    }
}

impl Operations {
    /// What would become of the VMs that a plan is about.
    pub(super) fn preview_of(&self, make: impl Fn(&Self) -> Result<Plan>) -> Result<Preview> {
        Ok(make(self)?.settled().preview())
    }
}
