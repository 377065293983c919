//! vApps: building, copying, moving, deleting them, and the VMs that come and go.

use super::batch::{Item, Outcome, Plan, Work};
use super::plan::{Place, Wanted, as_busy, refused};
use super::power::powered;
use super::preview::Preview;
use super::{Job, Like, Operations, VmView, planned};
use crate::guest::GuestOs;
use crate::inventory::Stored;
use crate::model::{
    Firmware, PowerState, Record as _, SocketKind, Timestamp, Vapp, VappMember, Vdc, Vm,
};
use crate::provisioning::{self, Operation, TpmAction, TpmProvisioning};
use crate::requirements::{Failure, Rule};
use crate::task::TargetKind;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// The most VMs that one request may make.
const MOST_VMS: usize = 10_000;

/// A request to build a vApp.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVapp {
    /// Its name.
    pub name: Name,
    /// The organization; the only one that has such a virtual data center if left out.
    #[serde(default)]
    pub organization: Option<Name>,
    /// The virtual data center; the only one there is if left out.
    #[serde(default)]
    pub vdc: Option<String>,
    /// Its VMs.
    #[serde(default)]
    pub vms: Vec<VappItem>,
}

/// VMs of a vApp to be: one that is new, one like a VM, or those of a template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VappItem {
    /// Its name; that of the source if left out.
    #[serde(default)]
    pub name: Option<Name>,
    /// Copy this VM.
    #[serde(default)]
    pub vm: Option<String>,
    /// Instantiate the VMs of this template.
    #[serde(default)]
    pub template: Option<String>,
    /// Make a new VM.
    #[serde(default)]
    pub new: Option<NewVappVm>,
    /// What becomes of the TPM; copy if left out. A template decides by itself.
    #[serde(default)]
    pub tpm: Option<TpmProvisioning>,
}

/// A new VM of a vApp.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVappVm {
    /// Whether it gets a TPM.
    #[serde(default)]
    pub tpm: bool,
    /// What its TPM is like.
    #[serde(default)]
    pub profile: Option<String>,
    /// Its firmware; EFI if left out.
    #[serde(default)]
    pub firmware: Option<Firmware>,
    /// Its hardware version; the newest that the vCenter knows if left out.
    #[serde(default)]
    pub hardware_version: Option<u16>,
    /// Its guest; `ubuntu64Guest` if left out.
    #[serde(default)]
    pub guest: Option<GuestOs>,
}

/// A request to copy a vApp.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyVapp {
    /// The name of the copy.
    pub name: Name,
    /// Where; the source's virtual data center if left out.
    #[serde(default)]
    pub vdc: Option<String>,
    /// What becomes of every TPM; copy if left out.
    #[serde(default)]
    pub tpm: Option<TpmProvisioning>,
    /// What becomes of the TPMs of single VMs, by name.
    #[serde(default)]
    pub vms: BTreeMap<Name, TpmProvisioning>,
}

/// A request to move a vApp.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveVapp {
    /// Where to.
    pub vdc: String,
    /// What becomes of every TPM; a move only ever keeps it.
    #[serde(default)]
    pub tpm: Option<TpmProvisioning>,
    /// By the API call moveVApp, which needs no shared storage.
    #[serde(default)]
    pub api: bool,
}

/// A request to move a VM into another vApp.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveVm {
    /// Where to.
    pub vapp: String,
    /// Its name there; the one it has if left out.
    #[serde(default)]
    pub name: Option<Name>,
    /// What becomes of the TPM; a move only ever keeps it.
    #[serde(default)]
    pub tpm: Option<TpmProvisioning>,
}

/// A vApp with its VMs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VappView {
    /// The record.
    #[serde(flatten)]
    pub vapp: Vapp,
    /// Its VMs, by name.
    pub vms: Vec<VmView>,
}

impl Operations {
    /// Every vApp.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vapps(&self) -> Result<Vec<VappView>> {
        Ok(self.some_vapps(None, None, usize::MAX)?.unwrap_or_default())
    }

    /// At most so many vApps of an organization, or of all, after one of them; `None` if that one is not among them.
    pub(crate) fn some_vapps(
        &self,
        organization: Option<&Name>,
        after: Option<Uuid>,
        most: usize,
    ) -> Result<Option<Vec<VappView>>> {
        let prefix = Vapp::key_of(organization.map_or("", Name::as_str), "");
        let prefix = organization.map_or(Vapp::PREFIX, |_| &prefix);
        let after = match after {
            Some(id) => match self.inventory.index().vapp_key(id) {
                Some(key) if key.starts_with(prefix) => key,
                _ => return Ok(None),
            },
            None => String::new(),
        };
        let vapps = self.inventory.some_within::<Vapp>(prefix, &after, most)?;
        let views = vapps.into_iter().map(|vapp| self.vapp_view(vapp.record));
        views.collect::<Result<_>>().map(Some)
    }

    /// One vApp, by its name, `ORGANIZATION/NAME`, or id.
    ///
    /// # Errors
    /// When there is none.
    pub fn vapp(&self, reference: &str) -> Result<VappView> {
        self.vapp_view(self.find_vapp(reference)?.record)
    }

    fn vapp_view(&self, vapp: Vapp) -> Result<VappView> {
        let vms = self.members(&vapp)?;
        Ok(VappView {
            vms: vms
                .into_iter()
                .map(|vm| self.view(vm.record))
                .collect::<Result<_>>()?,
            vapp,
        })
    }

    /// Builds a vApp out of new VMs, copies of VMs and templates.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn create_vapp(self: &Arc<Self>, request: &CreateVapp) -> Result<Job> {
        let id = Uuid::new_v4();
        self.accept(|this| this.plan_create_vapp(id, request))
    }

    /// What [`Self::create_vapp`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_create_vapp(&self, request: &CreateVapp) -> Result<Preview> {
        self.preview_of(|this| this.plan_create_vapp(Uuid::nil(), request))
    }

    fn plan_create_vapp(&self, id: Uuid, request: &CreateVapp) -> Result<Plan> {
        let vdc = self.find_vdc(request.organization.as_ref(), request.vdc.as_deref())?;
        let (mut plan, place) = self.plan_new_vapp(
            id,
            &request.name,
            &vdc,
            Operation::BuildVapp,
            "being copied",
        )?;
        for item in &request.vms {
            self.plan_item(&mut plan, &place, item, Operation::BuildVapp)?;
        }
        plan.check_names(&BTreeSet::new());
        Ok(plan)
    }

    /// A plan for a vApp that does not exist yet, and the place that it will be.
    pub(super) fn plan_new_vapp(
        &self,
        id: Uuid,
        name: &Name,
        vdc: &Stored<Vdc>,
        operation: Operation,
        doing: &'static str,
    ) -> Result<(Plan, Place)> {
        let vapp = Vapp {
            id,
            organization: vdc.record.organization.clone(),
            name: name.clone(),
            vdc: vdc.record.name.clone(),
            created: Timestamp::now(),
            standalone: false,
        };
        let key = vapp.key();
        if self.inventory.find::<Vapp>(&key)?.is_some() || self.inventory.is_reserved(&key)? {
            return Err(Error::Exists {
                what: "vApp",
                name: name.clone(),
                place: format!("the organization {}", vapp.organization),
            });
        }
        let place = self.place_in(&vdc.record, Some(vapp.reference()), None)?;
        let target = (TargetKind::Vapp, as_busy(id), name.clone());
        let mut plan = Plan::new(operation.as_str(), doing, target);
        plan.organization = Some(vapp.organization.clone());
        plan.expects.unchanged(vdc);
        plan.outcome = Outcome::NewVapp(vapp);
        Ok((plan, place))
    }

    /// Adds VMs to a vApp: new ones, copies of VMs, those of templates.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn add_to_vapp(self: &Arc<Self>, vapp: &str, items: &[VappItem]) -> Result<Job> {
        self.accept(|this| this.plan_add(vapp, items))
    }

    /// What [`Self::add_to_vapp`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_add_to_vapp(&self, vapp: &str, items: &[VappItem]) -> Result<Preview> {
        self.preview_of(|this| this.plan_add(vapp, items))
    }

    fn plan_add(&self, vapp: &str, items: &[VappItem]) -> Result<Plan> {
        let operation = match items {
            [item] if item.vm.is_some() => Operation::CopyVm,
            [item] if item.template.is_some() => Operation::AddTemplateVmToVapp,
            [] => {
                return Err(Error::BadValue(
                    "the request names no VM to add; name one".to_owned(),
                ));
            }
            _ => Operation::AddVmToVapp,
        };
        let (mut plan, place, names) = self.plan_into(vapp, operation, "being copied")?;
        for item in items {
            self.plan_item(&mut plan, &place, item, Operation::AddTemplateVmToVapp)?;
        }
        plan.check_names(&names);
        Ok(plan)
    }

    /// A plan for a vApp that exists: the place, and the names taken there.
    pub(super) fn plan_into(
        &self,
        vapp: &str,
        operation: Operation,
        doing: &'static str,
    ) -> Result<(Plan, Place, BTreeSet<Name>)> {
        let vapp = self.find_vapp(vapp)?;
        let vdc = self.vdc_of(&vapp.record)?;
        let place = self.place_in(&vdc, Some(vapp.record.reference()), None)?;
        let id = as_busy(vapp.record.id);
        let target = (TargetKind::Vapp, id, vapp.record.name.clone());
        let mut plan = Plan::new(operation.as_str(), doing, target);
        plan.organization = Some(vapp.record.organization.clone());
        plan.busy.push((id, vapp.record.name.clone()));
        plan.expects.unchanged(&vapp);
        let prefix = VappMember::key_of(vapp.record.id, "");
        let names = self.inventory.within::<VappMember>(&prefix)?;
        let names = names.into_iter().map(|member| member.record.name).collect();
        Ok((plan, place, names))
    }

    pub(super) fn plan_item(
        &self,
        plan: &mut Plan,
        place: &Place,
        item: &VappItem,
        by_template: Operation,
    ) -> Result<()> {
        match (&item.vm, &item.template, &item.new) {
            (Some(vm), None, None) => {
                let source = self.inventory.vm(vm)?;
                plan.take(&source);
                let wanted = Wanted {
                    operation: Operation::CopyVm,
                    source: &source.record,
                    name: item.name.clone().unwrap_or_else(|| source.record.name.clone()),
                    asked: item.tpm.map(TpmAction::from),
                    stored: None,
                    moves: false,
                    by_name: true,
                };
                self.plan_from(plan, place, wanted)
            }
            (None, Some(template), None) => {
                let template = self.find_template(template)?;
                let name = item.name.as_ref();
                self.plan_template(plan, place, by_template, &template, item.tpm, name)
            }
            (None, None, Some(new)) => self.plan_new(plan, place, item, new),
            _ => Err(Error::BadValue(
                "each VM of a vApp is either new, or like a VM, or from a template: give exactly one of `new`, `vm` and `template`".to_owned(),
            )),
        }
    }

    fn plan_new(
        &self,
        plan: &mut Plan,
        place: &Place,
        item: &VappItem,
        new: &NewVappVm,
    ) -> Result<()> {
        let name = item
            .name
            .clone()
            .ok_or_else(|| Error::BadValue("a new VM needs a name; give it one".to_owned()))?;
        let vcenter = &place.vcenter;
        let hardware_version = self.hardware_on(vcenter, new.hardware_version)?;
        if new.profile.is_some() && !new.tpm {
            return Err(Error::BadValue(format!(
                "a profile says what a TPM is like: ask for a TPM for {name} too, or leave the profile out"
            )));
        }
        if let Some(profile) = &new.profile {
            self.maker
                .new_tpm_of(profile)
                .map_err(|error| Error::BadValue(error.0))?;
        }
        let asked = match item.tpm {
            Some(choice) => Some(TpmAction::from(choice)),
            None => new.tpm.then_some(TpmAction::New),
        };
        let mut failures = Vec::new();
        let action = provisioning::decide(Operation::AddVmToVapp, vcenter.version, asked, None)
            .unwrap_or_else(|refusal| {
                failures.push(refused(&refusal));
                None
            });
        let like = Like {
            firmware: new.firmware.unwrap_or(Firmware::Efi),
            hardware_version,
            guest: match &new.guest {
                Some(guest) => guest.clone(),
                None => "ubuntu64Guest".parse().map_err(Error::BadValue)?,
            },
            provider: action.and_then(|_| vcenter.default_provider.clone()),
            encrypted: false,
            socket: SocketKind::default(),
            startup: true,
        };
        let datastore = self
            .inventory
            .datastore_on(&vcenter.name, place.datastore.as_ref())?
            .record;
        let mut vm = planned(name.clone(), vcenter, &datastore, name.clone(), like);
        vm.vapp.clone_from(&place.vapp);
        vm.folder = self.folder_for(&vm, &datastore, false)?;
        if action.is_some() {
            self.check_requirements(&mut failures, &vm, vcenter, false)?;
        }
        plan.failures
            .extend(failures.into_iter().map(|failure| failure.for_vm(&name)));
        plan.items.push(Item {
            vm,
            datastore,
            work: Work::New {
                tpm: action.is_some(),
                profile: new.profile.clone(),
            },
            snapshots: Vec::new(),
            new_key: true,
        });
        Ok(())
    }

    /// Copies a vApp.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn copy_vapp(self: &Arc<Self>, vapp: &str, request: &CopyVapp) -> Result<Job> {
        let id = Uuid::new_v4();
        self.accept(|this| this.plan_copy_vapp(id, vapp, request))
    }

    /// What [`Self::copy_vapp`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_copy_vapp(&self, vapp: &str, request: &CopyVapp) -> Result<Preview> {
        self.preview_of(|this| this.plan_copy_vapp(Uuid::nil(), vapp, request))
    }

    fn plan_copy_vapp(&self, id: Uuid, vapp: &str, request: &CopyVapp) -> Result<Plan> {
        let source = self.find_vapp(vapp)?;
        let organization = &source.record.organization;
        let own = source.record.vdc.to_string();
        let vdc = self.find_vdc(
            Some(organization),
            Some(request.vdc.as_deref().unwrap_or(&own)),
        )?;
        let (mut plan, place) =
            self.plan_new_vapp(id, &request.name, &vdc, Operation::CopyVapp, "being copied")?;
        plan.busy
            .push((as_busy(source.record.id), source.record.name.clone()));
        plan.expects.unchanged(&source);
        let members = self.members(&source.record)?;
        for name in request.vms.keys() {
            if members.iter().all(|vm| vm.record.name != *name) {
                return Err(Error::BadValue(format!(
                    "the vApp {} has no VM called {name}; a choice for a single VM names one that it has",
                    source.record.name
                )));
            }
        }
        for vm in &members {
            plan.take(vm);
            let choice = request.vms.get(&vm.record.name).copied().or(request.tpm);
            let wanted = Wanted {
                operation: Operation::CopyVapp,
                source: &vm.record,
                name: vm.record.name.clone(),
                asked: choice.map(TpmAction::from),
                stored: None,
                moves: false,
                by_name: request.vms.contains_key(&vm.record.name),
            };
            self.plan_from(&mut plan, &place, wanted)?;
        }
        Ok(plan)
    }

    /// Moves a vApp to another virtual data center.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn move_vapp(self: &Arc<Self>, vapp: &str, request: &MoveVapp) -> Result<Job> {
        self.accept(|this| this.plan_move_vapp(vapp, request))
    }

    /// What [`Self::move_vapp`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_move_vapp(&self, vapp: &str, request: &MoveVapp) -> Result<Preview> {
        self.preview_of(|this| this.plan_move_vapp(vapp, request))
    }

    fn plan_move_vapp(&self, vapp: &str, request: &MoveVapp) -> Result<Plan> {
        let operation = if request.api {
            Operation::MoveVappApi
        } else {
            Operation::MoveVapp
        };
        let source = self.find_vapp(vapp)?.record;
        let reference = format!("{}/{}", source.organization, source.name);
        let (mut plan, _, _) = self.plan_into(&reference, operation, "being moved")?;
        let vdc = self.find_vdc(Some(&source.organization), Some(&request.vdc))?;
        if vdc.record.name == source.vdc {
            return Err(Error::BadValue(format!(
                "the vApp {} is in {} already; name another virtual data center",
                source.name, source.vdc
            )));
        }
        plan.expects.unchanged(&vdc);
        let place = self.place_in(&vdc.record, Some(source.reference()), None)?;
        for vm in self.members(&source)? {
            plan.take(&vm);
            let wanted = Wanted {
                operation,
                source: &vm.record,
                name: vm.record.name.clone(),
                asked: request.tpm.map(TpmAction::from),
                stored: None,
                moves: true,
                by_name: false,
            };
            self.plan_from(&mut plan, &place, wanted)?;
        }
        let mut moved = source;
        moved.vdc = vdc.record.name;
        plan.outcome = Outcome::ChangedVapp(moved);
        Ok(plan)
    }

    /// Moves a VM into another vApp; it keeps its TPM and loses its snapshots.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn move_vm(self: &Arc<Self>, vm: &str, request: &MoveVm) -> Result<Job> {
        self.accept(|this| this.plan_move_vm(vm, request))
    }

    /// What [`Self::move_vm`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_move_vm(&self, vm: &str, request: &MoveVm) -> Result<Preview> {
        self.preview_of(|this| this.plan_move_vm(vm, request))
    }

    fn plan_move_vm(&self, vm: &str, request: &MoveVm) -> Result<Plan> {
        let (mut plan, place, names) =
            self.plan_into(&request.vapp, Operation::MoveVm, "being moved")?;
        let source = self.inventory.vm(vm)?;
        if source.record.vapp == place.vapp {
            return Err(Error::BadValue(format!(
                "the VM {} is in that vApp already; name another",
                source.record.name
            )));
        }
        plan.take(&source);
        let wanted = Wanted {
            operation: Operation::MoveVm,
            source: &source.record,
            name: request
                .name
                .clone()
                .unwrap_or_else(|| source.record.name.clone()),
            asked: request.tpm.map(TpmAction::from),
            stored: None,
            moves: true,
            by_name: true,
        };
        self.plan_from(&mut plan, &place, wanted)?;
        plan.check_names(&names);
        Ok(plan)
    }

    /// Deletes a vApp with its VMs, disks included; what their TPMs hold is lost for good.
    ///
    /// # Errors
    /// When there is no such vApp, or one of its VMs runs.
    pub fn delete_vapp(self: &Arc<Self>, vapp: &str) -> Result<Job> {
        self.accept(|this| this.plan_delete_vapp(vapp))
    }

    /// What [`Self::delete_vapp`] would do.
    ///
    /// # Errors
    /// When there is no such vApp.
    pub fn preview_delete_vapp(&self, vapp: &str) -> Result<Preview> {
        self.preview_of(|this| this.plan_delete_vapp(vapp))
    }

    fn plan_delete_vapp(&self, vapp: &str) -> Result<Plan> {
        let vapp = self.find_vapp(vapp)?;
        let id = as_busy(vapp.record.id);
        let target = (TargetKind::Vapp, id, vapp.record.name.clone());
        let mut plan = Plan::new("delete_vapp", "being deleted", target);
        plan.organization = Some(vapp.record.organization.clone());
        plan.busy.push((id, vapp.record.name.clone()));
        plan.expects.unchanged(&vapp);
        for vm in self.members(&vapp.record)? {
            plan.take(&vm);
            let vm = vm.record;
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
            plan.removals.push(vm);
        }
        plan.outcome = Outcome::Gone(vapp.record.key());
        Ok(plan)
    }

    fn vdc_of(&self, vapp: &Vapp) -> Result<Vdc> {
        let key = Vdc::key_of(vapp.organization.as_str(), vapp.vdc.as_str());
        let found = self.inventory.find::<Vdc>(&key)?;
        found.map(|vdc| vdc.record).ok_or_else(|| Error::NotFound {
            what: "virtual data center",
            name: vapp.vdc.to_string(),
            hint: "`vtpm vdc list` shows all",
        })
    }

    /// Whether a request may make so many VMs at once.
    pub(super) fn check_count(count: usize) -> Result<()> {
        if count > MOST_VMS {
            return Err(Error::BadValue(format!(
                "one request makes at most {MOST_VMS} VMs, this one asks for {count}"
            )));
        }
        Ok(())
    }

    /// The VMs of a template as VMs of a place.
    pub(super) fn plan_template(
        &self,
        plan: &mut Plan,
        place: &Place,
        operation: Operation,
        template: &Stored<crate::model::Template>,
        asked: Option<TpmProvisioning>,
        name: Option<&Name>,
    ) -> Result<()> {
        let record = &template.record;
        plan.read(template);
        Self::check_count(plan.items.len() + record.vms.len())?;
        let asked = asked.map(TpmAction::from);
        let stored = TpmAction::from(record.provisioning);
        for vm in &record.vms {
            let own = match (name, record.vms.len()) {
                (Some(name), 1) => name.clone(),
                (Some(name), _) => format!("{name}-{}", vm.name).parse()?,
                (None, _) => vm.name.clone(),
            };
            let wanted = Wanted {
                operation,
                source: vm,
                name: own,
                asked,
                stored: Some(stored),
                moves: false,
                by_name: false,
            };
            self.plan_from(plan, place, wanted)?;
        }
        Ok(())
    }

    /// The lineage of a VM's TPM: the tree that it is in, empty for a VM that never had one.
    ///
    /// # Errors
    /// When there is no such VM.
    pub fn lineage(&self, vm: &str) -> Result<Vec<crate::LineageNode>> {
        let vm: Vm = self.inventory.vm(vm)?.record;
        crate::lineage::tree(&self.inventory, vm.id)
    }
}
