//! Building vApps out of parts of any kind, and changing what is in one, as one operation each.
//!
//! The operations of [`super::vapp`] and [`super::template`] do one thing to all VMs alike; here each VM may come from somewhere
//! else, under a name of its own and with a choice of its own for its TPM.

use super::batch::{Outcome, Plan};
use super::plan::{Place, Wanted};
use super::power::powered;
use super::{Job, NewVappVm, Operations, VappItem};
use crate::inventory::Stored;
use crate::model::{PowerState, Record as _, Template, Vapp, VappMember, Vm};
use crate::provisioning::{Operation, TpmAction, TpmProvisioning};
use crate::requirements::{Failure, Rule};
use crate::task::TargetKind;
use crate::{Error, Name, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// One or several VMs of a vApp to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// A new VM.
    New {
        /// Its name.
        name: Name,
        /// What it is like.
        vm: NewVappVm,
    },
    /// A copy of a VM.
    Copy {
        /// The source.
        vm: String,
        /// The copy's name; that of the source if left out.
        name: Option<Name>,
        /// What becomes of the TPM; copy if left out.
        tpm: Option<TpmProvisioning>,
    },
    /// A VM that leaves its vApp for this one.
    Move {
        /// The VM.
        vm: String,
        /// Its name here; the one it has if left out.
        name: Option<Name>,
        /// What becomes of the TPM; a move only ever keeps it.
        tpm: Option<TpmProvisioning>,
    },
    /// VMs of a template.
    Template {
        /// The template.
        template: String,
        /// Which of its VMs; all if left out.
        vm: Option<Name>,
        /// The name; that in the template if left out.
        name: Option<Name>,
        /// What becomes of the TPM. The template decides: only its own answer is taken.
        tpm: Option<TpmProvisioning>,
    },
}

/// A request to make a vApp of parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compose {
    /// The name of the vApp, or of the only VM of a standalone one.
    pub name: Name,
    /// The virtual data center, as `ORGANIZATION/NAME`.
    pub vdc: String,
    /// Which operation this is: it picks the row of the table for copies and instances.
    pub operation: Operation,
    /// The vApp that is copied, which no other operation may touch meanwhile.
    pub source: Option<String>,
    /// Its VMs.
    pub parts: Vec<Part>,
    /// Make a standalone VM of the only part: its vApp is not shown by itself.
    pub standalone: bool,
}

impl Operations {
    /// Makes a vApp, or a standalone VM, of parts.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn compose(self: &Arc<Self>, request: &Compose) -> Result<Job> {
        let id = Uuid::new_v4();
        self.accept(|this| this.plan_compose(id, request))
    }

    fn plan_compose(&self, id: Uuid, request: &Compose) -> Result<Plan> {
        let vdc = self.find_vdc(None, Some(&request.vdc))?;
        let name = if request.standalone {
            container_name(&request.name, id)?
        } else {
            request.name.clone()
        };
        let doing = "being copied";
        let (mut plan, place) = self.plan_new_vapp(id, &name, &vdc, request.operation, doing)?;
        if let Some(source) = &request.source {
            let source = self.find_vapp(source)?;
            plan.busy.push((
                super::plan::as_busy(source.record.id),
                source.record.name.clone(),
            ));
            plan.expects.unchanged(&source);
        }
        for part in &request.parts {
            self.plan_part(&mut plan, &place, part, request.operation)?;
        }
        plan.check_names(&BTreeSet::new());
        if request.standalone {
            let [item] = plan.items.as_slice() else {
                return Err(Error::ChoiceNeeded {
                    what: "VM in the template",
                    option: "its name: a standalone VM is one",
                });
            };
            plan.target = (TargetKind::Vm, item.vm.id, item.vm.name.clone());
            if let Outcome::NewVapp(vapp) = &mut plan.outcome {
                vapp.standalone = true;
            }
        }
        Ok(plan)
    }

    /// Adds VMs to a vApp and takes others out of it, as one operation. VMs that are taken out are deleted, disks included.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn recompose(
        self: &Arc<Self>,
        vapp: &str,
        parts: &[Part],
        removed: &[String],
    ) -> Result<Job> {
        self.accept(|this| this.plan_recompose(vapp, parts, removed))
    }

    fn plan_recompose(&self, vapp: &str, parts: &[Part], removed: &[String]) -> Result<Plan> {
        let operation = match parts {
            [Part::Copy { .. }] => Operation::CopyVm,
            [Part::Move { .. }] => Operation::MoveVm,
            [Part::Template { .. }] => Operation::AddTemplateVmToVapp,
            _ => Operation::AddVmToVapp,
        };
        if parts.is_empty() && removed.is_empty() {
            return Err(Error::BadValue(
                "the request names no VM to add and none to remove; name one".to_owned(),
            ));
        }
        let target = self.find_vapp(vapp)?.record;
        if target.standalone {
            return Err(Error::BadValue(format!(
                "the vApp {} holds a standalone VM and takes no other; name another vApp",
                target.name
            )));
        }
        let reference = format!("{}/{}", target.organization, target.name);
        let (mut plan, place, names) = self.plan_into(&reference, operation, "a recomposition")?;
        for part in parts {
            self.plan_part(&mut plan, &place, part, Operation::AddTemplateVmToVapp)?;
        }
        for reference in removed {
            self.plan_removal(&mut plan, &target, reference)?;
        }
        plan.check_names(&names);
        Ok(plan)
    }

    fn plan_part(
        &self,
        plan: &mut Plan,
        place: &Place,
        part: &Part,
        operation: Operation,
    ) -> Result<()> {
        match part {
            Part::New { name, vm } => {
                let item = VappItem {
                    name: Some(name.clone()),
                    vm: None,
                    template: None,
                    new: Some(vm.clone()),
                    tpm: None,
                };
                self.plan_item(plan, place, &item, operation)
            }
            Part::Copy { vm, name, tpm } => {
                let source = self.inventory.vm(vm)?;
                plan.take(&source);
                let row = match operation {
                    Operation::CopyVapp => Operation::CopyVapp,
                    _ => Operation::CopyVm,
                };
                let wanted = from(row, &source, name.as_ref(), *tpm);
                self.plan_from(plan, place, wanted)
            }
            Part::Move { vm, name, tpm } => self.plan_arrival(plan, place, vm, name.as_ref(), *tpm),
            Part::Template {
                template,
                vm,
                name,
                tpm,
            } => {
                let mut found: Stored<Template> = self.find_template(template)?;
                // As it is in the inventory: planning an instance leaves out other VMs of it.
                plan.read(&found);
                if place
                    .vapp
                    .as_ref()
                    .is_some_and(|vapp| vapp.organization != found.record.organization)
                {
                    return Err(Error::NotFound {
                        what: "template",
                        name: template.clone(),
                        hint: "an organization uses the templates of its own catalogs; subscribe to a published one",
                    });
                }
                if let Some(vm) = vm {
                    found.record.vms.retain(|own| own.name == *vm);
                }
                self.plan_template(plan, place, operation, &found, *tpm, name.as_ref())
            }
        }
    }

    /// A VM that moves in. If it was a standalone one, the vApp around it goes.
    fn plan_arrival(
        &self,
        plan: &mut Plan,
        place: &Place,
        vm: &str,
        name: Option<&Name>,
        tpm: Option<TpmProvisioning>,
    ) -> Result<()> {
        let source = self.inventory.vm(vm)?;
        if source.record.vapp == place.vapp {
            return Err(Error::BadValue(format!(
                "the VM {} is in that vApp already; name another",
                source.record.name
            )));
        }
        plan.take(&source);
        let mut wanted = from(Operation::MoveVm, &source, name, tpm);
        wanted.moves = true;
        self.plan_from(plan, place, wanted)?;
        if let Some(left) = &source.record.vapp {
            let left = self.find_vapp(&left.id.to_string())?;
            if left.record.standalone {
                plan.expects.unchanged(&left);
                plan.outcome = Outcome::Gone(left.record.key());
            }
        }
        Ok(())
    }

    fn plan_removal(&self, plan: &mut Plan, vapp: &Vapp, reference: &str) -> Result<()> {
        let vm = self.inventory.vm(reference)?;
        let key = VappMember::key_of(vapp.id, vm.record.name.as_str());
        let member = self.inventory.find::<VappMember>(&key)?;
        if member.is_none_or(|member| member.record.vm != vm.record.id) {
            return Err(Error::BadValue(format!(
                "the VM {} is not in the vApp {}; name one that is",
                vm.record.name, vapp.name
            )));
        }
        plan.take(&vm);
        let vm: Vm = vm.record;
        if vm.power != PowerState::Off {
            let detail = format!(
                "it is {}; power it off first with `vtpm vm stop {}`",
                powered(vm.power),
                vm.id
            );
            plan.failures
                .push(Failure::of(Rule::PowerState, detail).for_vm(&vm.name));
        }
        if vm.tpm.is_some() {
            plan.notes
                .push(format!("the TPM of {} is destroyed", vm.name));
        }
        if plan.removals.iter().all(|other| other.id != vm.id) {
            plan.removals.push(vm);
        }
        Ok(())
    }
}

fn from<'a>(
    operation: Operation,
    source: &'a Stored<Vm>,
    name: Option<&Name>,
    tpm: Option<TpmProvisioning>,
) -> Wanted<'a> {
    Wanted {
        operation,
        source: &source.record,
        name: name.unwrap_or(&source.record.name).clone(),
        asked: tpm.map(TpmAction::from),
        stored: None,
        moves: false,
        by_name: false,
    }
}

/// The name of the vApp around a standalone VM: nobody chose it, so it must not take a name that somebody might.
fn container_name(vm: &Name, id: Uuid) -> Result<Name> {
    let mut stem = String::new();
    for character in vm.as_str().chars().take(40) {
        if stem.len() + character.len_utf8() > 120 {
            break;
        }
        stem.push(character);
    }
    Ok(format!("{stem}-{id}").parse()?)
}
