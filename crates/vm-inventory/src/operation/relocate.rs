//! A VM goes to another datastore or vCenter, or is cloned to another vCenter, as a VM of no vApp.

use super::batch::Plan;
use super::plan::{Place, Wanted};
use super::{CloneVm, Job, Operations};
use crate::model::Vm;
use crate::provisioning::{Operation, TpmAction};
use crate::task::TargetKind;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A request to move a VM to another datastore or vCenter.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relocate {
    /// Where to; its own vCenter if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// Where its files go; where they are if the vCenter sees that, otherwise the first datastore that it sees.
    #[serde(default)]
    pub datastore: Option<Name>,
}

impl Operations {
    /// Moves a VM (a name or an id); it keeps its TPM and loses its snapshots. A VM of a vApp leaves it if it goes to another vCenter.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn relocate_vm(self: &Arc<Self>, vm: &str, request: &Relocate) -> Result<Job> {
        self.accept(|this| {
            let source = this.inventory.vm(vm)?;
            let here = &source.record;
            let vcenter = request.vcenter.as_ref().unwrap_or(&here.vcenter);
            let stays = *vcenter == here.vcenter;
            if stays
                && request
                    .datastore
                    .as_ref()
                    .is_none_or(|datastore| *datastore == here.datastore)
            {
                return Err(Error::BadValue(format!(
                    "the VM {} is there already; name another datastore or vCenter",
                    here.name
                )));
            }
            let mut place = this.place_at(vcenter, request.datastore.clone())?;
            place.vapp = here.vapp.clone().filter(|_| stays);
            let target = (TargetKind::Vm, here.id, here.name.clone());
            let mut plan = Plan::new(Operation::MoveVm.as_str(), "being moved", target);
            plan.organization = organization(here);
            plan.take(&source);
            let wanted = Wanted {
                operation: Operation::MoveVm,
                source: here,
                name: here.name.clone(),
                asked: None,
                stored: None,
                moves: true,
            };
            this.plan_from(&mut plan, &place, wanted)?;
            Ok(plan)
        })
    }

    /// Clones a VM (a name or an id) to another vCenter.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn clone_vm_to(
        self: &Arc<Self>,
        vm: &str,
        vcenter: &Name,
        request: &CloneVm,
    ) -> Result<Job> {
        let id = crate::model::VmId::random();
        self.accept(|this| {
            let source = this.inventory.vm(vm)?;
            let place = this.place_at(vcenter, request.datastore.clone())?;
            let operation = Operation::VsphereClone;
            let target = (TargetKind::Vm, id, request.name.clone());
            let mut plan = Plan::new(operation.as_str(), "being cloned", target);
            plan.organization = organization(&source.record);
            plan.take(&source);
            let wanted = Wanted {
                operation,
                source: &source.record,
                name: request.name.clone(),
                asked: request.tpm.map(TpmAction::from),
                stored: None,
                moves: false,
            };
            this.plan_from(&mut plan, &place, wanted)?;
            for item in &mut plan.items {
                item.vm.id = id;
            }
            Ok(plan)
        })
    }

    fn place_at(&self, vcenter: &Name, datastore: Option<Name>) -> Result<Place> {
        Ok(Place {
            vcenter: self.inventory.vcenter(vcenter.as_str())?.record,
            datastore,
            vapp: None,
            settings: self.cloud_settings()?,
            template: false,
        })
    }
}

fn organization(vm: &Vm) -> Option<Name> {
    vm.vapp.as_ref().map(|vapp| vapp.organization.clone())
}
