//! Making a VM of a TPM that another program has kept.

use super::{CreateVm, Job, Operations, TpmBytes};
use crate::certificates::TpmCertificates;
use crate::model::{Timestamp, Vm, VmTpm};
use crate::provisioning::TpmAction;
use crate::{Error, Name, Result};
use std::sync::Arc;

/// A request to make a VM with a TPM that another program has kept. It holds the TPM's secrets, so it has no `Debug`.
pub struct AdoptTpm {
    /// The VM; that it gets a TPM goes without saying.
    pub vm: CreateVm,
    /// The permanent state of the TPM.
    pub state: TpmBytes,
}

/// A TPM that is known to work.
pub(super) struct Adopted {
    state: TpmBytes,
    ek_name: String,
    /// VMs that have the endorsement key already.
    others: Vec<Name>,
}

impl Operations {
    /// Checks a request to make a VM with a TPM that another program has kept, and records the task. The TPM keeps its secrets and
    /// repeats no randomness, like a copy; the rules are those of [`Operations::create_vm`].
    ///
    /// # Errors
    /// When the state is not that of a TPM, and every rule that is not met; then nothing was changed.
    pub fn adopt_tpm(self: &Arc<Self>, request: AdoptTpm) -> Result<Job> {
        if request.vm.profile.is_some() {
            return Err(Error::BadValue(
                "a TPM that comes from somewhere else has its profile: leave the profile out"
                    .to_owned(),
            ));
        }
        let unusable = |error: super::TpmMakerError| Error::BadValue(error.0);
        let state = self.maker.fork(&request.state).map_err(unusable)?;
        let ek_name = self.maker.ek_name(&state).map_err(unusable)?;
        let mut others = Vec::new();
        for twin in self.inventory.with_ek(&ek_name) {
            let vm = self.inventory.find::<Vm>(&Vm::key_of(twin))?;
            others.extend(vm.map(|vm| vm.record.name));
        }
        let adopted = Adopted {
            others,
            state,
            ek_name,
        };
        let vm = CreateVm {
            tpm: true,
            ..request.vm
        };
        self.make_vm(vm, Some(adopted))
    }
}

impl Adopted {
    /// Gives the TPM to `vm`; the notes are for the one who asked.
    pub(super) fn give(self, vm: &mut Vm) -> (TpmBytes, Vec<String>) {
        vm.tpm = Some(VmTpm {
            origin: TpmAction::Copy,
            source: None,
            made: Timestamp::now(),
            ek_name: self.ek_name,
            // Those that it came with are in its NV; none is of the vCenter's authority.
            certificates: TpmCertificates::default(),
        });
        let notes = self.others.iter().map(|other| {
            format!("{other} has the same endorsement key: whoever trusts one by it trusts both")
        });
        (self.state, notes.collect())
    }
}
