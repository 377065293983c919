//! A VM goes to another datastore or vCenter, or is cloned to another vCenter, as a VM of no vApp.

use super::batch::Plan;
use super::plan::{Place, Wanted};
use super::{CloneVm, Job, Operations};
use crate::model::Vm;
use crate::provisioning::Operation;
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
                by_name: false,
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
        let there = CloneVm {
            vcenter: Some(vcenter.clone()),
            ..request.clone()
        };
        self.clone_vm(vm, &there)
    }

    pub(super) fn place_at(&self, vcenter: &Name, datastore: Option<Name>) -> Result<Place> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{CreateProvider, RestoreProvider};
    use crate::testing::{PASSWORD, World, clone_request, done, name};

    fn to(vcenter: Option<&str>, datastore: Option<&str>) -> Relocate {
        Relocate {
            vcenter: vcenter.map(name),
            datastore: datastore.map(name),
        }
    }

    fn refused(job: Result<Job>) -> String {
        job.err().unwrap().to_string()
    }

    #[test]
    fn a_vm_keeps_its_name_and_tpm_on_another_datastore_and_what_is_said_of_its_hardware() {
        let world = World::with_vcenter("8.0.3");
        let ops = &world.operations;
        world.create("vm");
        let vcenter = ops.vm("vm").unwrap().vcenter;
        ops.create_datastore(name("other"), vec![vcenter]).unwrap();
        ops.change_vm_hardware("vm", |it| it.cpus = 4).unwrap();
        assert!(ops.change_vm_hardware("vm", |it| it.cpus = 0).is_err());
        let before = world.seed("vm");
        done(ops.relocate_vm("vm", &to(None, Some("other"))));
        let moved = ops.vm("vm").unwrap();
        assert_eq!(moved.datastore, name("other"));
        assert_eq!(world.seed("vm"), before);
        assert_eq!(ops.vm_hardware("vm").unwrap().cpus, 4);
        let again = refused(ops.relocate_vm("vm", &to(None, Some("other"))));
        assert!(again.contains("there already"), "{again}");
        done(ops.delete_vm("vm"));
        world.create("vm");
        assert_eq!(ops.vm_hardware("vm").unwrap().cpus, 1);
    }

    #[test]
    fn another_vcenter_takes_a_vm_with_the_keys_of_its_provider_only() {
        let world = World::with_vcenter("8.0.3");
        let ops = &world.operations;
        world.create("vm");
        let vm = ops.vm("vm").unwrap();
        let provider = vm.provider.clone().unwrap();
        world.add_vcenter("far", "8.0.3");
        ops.share_datastore(&vm.datastore, &name("far")).unwrap();
        ops.trust(&vm.vcenter, &name("far")).unwrap();
        for other in ops.providers().unwrap() {
            if other.vcenter == name("far") {
                ops.remove_provider(&name("far"), &other.name).unwrap();
            }
        }
        let missing = refused(ops.relocate_vm("vm", &to(Some("far"), None)));
        assert!(missing.contains(provider.as_str()), "{missing}");
        let native = CreateProvider::native(provider.clone(), Some(name("far")), true);
        ops.create_provider(native).unwrap();
        assert!(refused(ops.relocate_vm("vm", &to(Some("far"), None))).contains("another key"));
        // The key goes with the provider, so that its backup can take the place.
        ops.remove_provider(&name("far"), &provider).unwrap();
        let backup = ops
            .back_up_provider(Some(&vm.vcenter), &provider, PASSWORD)
            .unwrap();
        ops.restore_provider(RestoreProvider {
            name: provider.clone(),
            vcenter: Some(name("far")),
            default: true,
            backup: &backup.bytes,
            password: PASSWORD,
        })
        .unwrap();
        let before = world.seed("vm");
        let request = clone_request("copy", None);
        done(ops.clone_vm_to("vm", &name("far"), &request));
        assert_eq!(ops.vm("copy").unwrap().vcenter, name("far"));
        assert_eq!(world.seed("copy"), before);
        done(ops.relocate_vm("vm", &to(Some("far"), None)));
        assert_eq!(ops.vm("vm").unwrap().vcenter, name("far"));
        assert_eq!(world.seed("vm"), before);
        let used = ops.remove_provider(&name("far"), &provider).unwrap_err();
        assert!(used.to_string().contains("2 VMs"), "{used}");
    }
}
