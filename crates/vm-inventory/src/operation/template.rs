//! Templates: saving vApps and VMs as such, making VMs of them, publishing and synchronizing them.

use super::batch::{Outcome, Plan};
use super::plan::{Wanted, as_busy};
use super::power::powered;
use super::preview::Preview;
use super::{Job, Operations, records};
use crate::inventory::{Stored, Transaction};
use crate::model::{
    Catalog, Record as _, Subscription, Template, TemplateOrigin, Timestamp, Vm, VmId,
};
use crate::provisioning::{Operation, TpmAction, TpmProvisioning};
use crate::requirements::{Failure, Rule};
use crate::task::TargetKind;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// A request to save a vApp or a VM as a template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The vApp, or
    #[serde(default)]
    pub vapp: Option<String>,
    /// the standalone VM.
    #[serde(default)]
    pub vm: Option<String>,
    /// The catalog.
    pub catalog: String,
    /// The name of the template.
    pub name: Name,
    /// What instances get: a copy of each TPM as it is now, or a new one. Copy if left out.
    #[serde(default)]
    pub tpm: Option<TpmProvisioning>,
}

/// What a template is saved from.
pub(crate) enum Captured<'a> {
    Vapp(&'a str),
    Vm(&'a str),
}

impl Capture {
    /// The one thing that is named.
    pub(crate) fn source(&self) -> Result<Captured<'_>> {
        match (&self.vapp, &self.vm) {
            (Some(vapp), None) => Ok(Captured::Vapp(vapp)),
            (None, Some(vm)) => Ok(Captured::Vm(vm)),
            _ => Err(Error::BadValue(
                "a template is saved from one vApp or one VM; name exactly one".to_owned(),
            )),
        }
    }
}

/// A request to make a vApp, or a standalone VM, of a template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Instantiate {
    /// The name of the vApp or VM.
    pub name: Name,
    /// Where; the only virtual data center of the organization if left out.
    #[serde(default)]
    pub vdc: Option<String>,
    /// The organization; that of the template if left out.
    #[serde(default)]
    pub organization: Option<Name>,
    /// What becomes of every TPM. The template decides: only its own answer is taken.
    #[serde(default)]
    pub tpm: Option<TpmProvisioning>,
    /// Make a standalone VM; the template has one VM, or this is its name.
    #[serde(default)]
    pub standalone: bool,
    /// Which VM of the template.
    #[serde(default)]
    pub vm: Option<Name>,
    /// So many of each VM of the template, numbered from 1.
    #[serde(default)]
    pub count: Option<u32>,
}

/// A request to import a VM of a vCenter, which belongs to no vApp, into an organization.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// As a vApp in this virtual data center, or
    #[serde(default)]
    pub vdc: Option<String>,
    /// as a template in this catalog.
    #[serde(default)]
    pub catalog: Option<String>,
    /// The name of the vApp or template.
    pub name: Name,
    /// Move the VM instead of copying it.
    #[serde(default)]
    pub moves: bool,
    /// What becomes of the TPM; an import only ever keeps it.
    #[serde(default)]
    pub tpm: Option<TpmProvisioning>,
}

/// What a published catalog offers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// The catalog.
    pub catalog: Catalog,
    /// The templates that are offered.
    pub templates: Vec<Name>,
    /// The templates that are not, and why.
    pub withheld: Vec<Failure>,
}

impl Operations {
    /// Every template.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn templates(&self) -> Result<Vec<Template>> {
        Ok(self
            .some_templates(None, None, usize::MAX)?
            .unwrap_or_default())
    }

    /// At most so many templates of an organization, or of all, after one of them; `None` if that one is not among them.
    pub(crate) fn some_templates(
        &self,
        organization: Option<&Name>,
        after: Option<Uuid>,
        most: usize,
    ) -> Result<Option<Vec<Template>>> {
        let prefix = match organization {
            Some(organization) => format!("{}{organization}/", Template::PREFIX),
            None => Template::PREFIX.to_owned(),
        };
        let after = match after {
            Some(id) => match self.inventory.index().template_key(id) {
                Some(key) if key.starts_with(&prefix) => key,
                _ => return Ok(None),
            },
            None => String::new(),
        };
        let found = self.inventory.some_within(&prefix, &after, most)?;
        Ok(Some(records(found)))
    }

    /// One template, by its name, `CATALOG/NAME`, `ORGANIZATION/CATALOG/NAME`, or id.
    ///
    /// # Errors
    /// When there is none.
    pub fn template(&self, reference: &str) -> Result<Template> {
        Ok(self.find_template(reference)?.record)
    }

    /// Saves a vApp as a vApp template, or a standalone VM as one.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn capture(self: &Arc<Self>, request: &Capture) -> Result<Job> {
        let id = Uuid::new_v4();
        self.accept(|this| this.plan_capture(id, request, None))
    }

    /// The same in the place of a template (a reference) of that name, which goes; its instances stay.
    ///
    /// # Errors
    /// When there is no such template, it is called otherwise, and every rule that is not met; then nothing was changed.
    pub fn capture_over(self: &Arc<Self>, old: &str, request: &Capture) -> Result<Job> {
        let id = Uuid::new_v4();
        self.accept(|this| this.plan_capture(id, request, Some(old)))
    }

    /// The template that is to be overwritten, if it has the place and name of the one that is to be.
    fn overwritten(
        &self,
        old: &str,
        catalog: &Catalog,
        request: &Capture,
    ) -> Result<Stored<Template>> {
        let old = self.find_template(old)?;
        let there = old.record.organization == catalog.organization
            && old.record.catalog == catalog.name
            && old.record.name == request.name;
        if there {
            return Ok(old);
        }
        Err(Error::BadValue(format!(
            "a template is overwritten by one of its name in its catalog; {} is another one",
            old.record.name
        )))
    }

    /// A template that takes the place of another one, which goes with its files.
    pub(super) fn in_the_place_of(plan: &mut Plan, old: &Stored<Template>) {
        plan.outcome = match std::mem::replace(&mut plan.outcome, Outcome::Vms) {
            Outcome::NewTemplate(template) => Outcome::RenewedTemplate(template),
            other => other,
        };
        plan.busy
            .push((as_busy(old.record.id), old.record.name.clone()));
        plan.expects.unchanged(old);
        plan.removals.clone_from(&old.record.vms);
    }

    /// What [`Self::capture`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_capture(&self, request: &Capture) -> Result<Preview> {
        self.preview_of(|this| this.plan_capture(Uuid::nil(), request, None))
    }

    fn plan_capture(&self, id: Uuid, request: &Capture, over: Option<&str>) -> Result<Plan> {
        let (operation, vms, busy) = match request.source()? {
            Captured::Vapp(vapp) => {
                let vapp = self.find_vapp(vapp)?;
                let busy = Some((as_busy(vapp.record.id), vapp.record.name.clone()));
                (Operation::CaptureVapp, self.members(&vapp.record)?, busy)
            }
            Captured::Vm(vm) => {
                let vm = self.inventory.vm(vm)?;
                (Operation::AddVmToCatalog, vec![vm], None)
            }
        };
        if vms.is_empty() {
            return Err(Error::BadValue(
                "the vApp has no VM, so there is nothing to save".to_owned(),
            ));
        }
        let catalog = self.find_catalog(&request.catalog)?;
        let asked = request.tpm.map(TpmAction::from);
        let header = Header {
            id,
            name: &request.name,
            origin: TemplateOrigin::Captured,
            provisioning: request.tpm.unwrap_or(TpmProvisioning::Copy),
        };
        let mut plan = match over {
            None => self.plan_new_template(&catalog, header, operation)?,
            Some(old) => {
                let old = self.overwritten(old, &catalog.record, request)?;
                let mut plan = self.plan_template_anew(&catalog, header, operation)?;
                Self::in_the_place_of(&mut plan, &old);
                plan
            }
        };
        let first = vms.first().map(|vm| &vm.record);
        let place = self.place_on_shelf_for(&catalog.record, first)?;
        plan.busy.extend(busy);
        for vm in &vms {
            plan.take(vm);
            self.plan_from(&mut plan, &place, of(operation, vm, asked))?;
        }
        Ok(plan)
    }

    pub(super) fn plan_new_template(
        &self,
        catalog: &Stored<Catalog>,
        header: Header<'_>,
        operation: Operation,
    ) -> Result<Plan> {
        let key = Template::key_of(
            catalog.record.organization.as_str(),
            catalog.record.name.as_str(),
            header.name.as_str(),
        );
        if self.inventory.find::<Template>(&key)?.is_some() || self.inventory.is_reserved(&key)? {
            return Err(Error::Exists {
                what: "template",
                name: header.name.clone(),
                place: format!("the catalog {}", catalog.record.name),
            });
        }
        self.plan_template_anew(catalog, header, operation)
    }

    /// A plan for a template, whether there is one of its name or not.
    pub(super) fn plan_template_anew(
        &self,
        catalog: &Stored<Catalog>,
        header: Header<'_>,
        operation: Operation,
    ) -> Result<Plan> {
        let record = &catalog.record;
        if record.subscription.is_some() && header.origin != TemplateOrigin::Synced {
            return Err(Error::BadValue(format!(
                "the catalog {} follows another one and takes its templates from there only; name another catalog",
                record.name
            )));
        }
        let template = Template {
            id: header.id,
            organization: record.organization.clone(),
            catalog: record.name.clone(),
            name: header.name.clone(),
            origin: header.origin,
            provisioning: header.provisioning,
            vms: Vec::new(),
            synced_from: None,
            created: Timestamp::now(),
        };
        let target = (
            TargetKind::Template,
            as_busy(header.id),
            header.name.clone(),
        );
        let mut plan = Plan::new(operation.as_str(), "being saved", target);
        plan.organization = Some(record.organization.clone());
        plan.expects.unchanged(catalog);
        plan.outcome = Outcome::NewTemplate(Box::new(template));
        Ok(plan)
    }

    /// Makes a vApp of a template, or a standalone VM.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn instantiate(self: &Arc<Self>, template: &str, request: &Instantiate) -> Result<Job> {
        let id = Uuid::new_v4();
        self.accept(|this| this.plan_instantiate(id, template, request))
    }

    /// What [`Self::instantiate`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_instantiate(&self, template: &str, request: &Instantiate) -> Result<Preview> {
        self.preview_of(|this| this.plan_instantiate(Uuid::nil(), template, request))
    }

    fn plan_instantiate(&self, id: Uuid, template: &str, request: &Instantiate) -> Result<Plan> {
        let mut template = self.find_template(template)?;
        let organization = request
            .organization
            .as_ref()
            .unwrap_or(&template.record.organization)
            .clone();
        if organization != template.record.organization {
            return Err(Error::NotFound {
                what: "template",
                name: template.record.name.to_string(),
                hint: "an organization uses the templates of its own catalogs; subscribe to a published one",
            });
        }
        let vdc = self.find_vdc(Some(&organization), request.vdc.as_deref())?;
        let whole = template.clone();
        if let Some(vm) = &request.vm {
            template.record.vms.retain(|own| own.name == *vm);
            if template.record.vms.is_empty() {
                return Err(Error::NotFound {
                    what: "VM of the template",
                    name: vm.to_string(),
                    hint: "`vtpm template show` lists its VMs",
                });
            }
        }
        if request.standalone {
            return self.plan_standalone(&template, &whole, &vdc, request);
        }
        let operation = Operation::InstantiateVappTemplate;
        let (mut plan, place) =
            self.plan_new_vapp(id, &request.name, &vdc, operation, "being instantiated")?;
        let count = request.count.unwrap_or(1);
        if count == 0 {
            return Err(Error::BadValue(
                "count is how many of each VM are made: 1 or more; leave it out for one".to_owned(),
            ));
        }
        Self::check_count(template.record.vms.len().saturating_mul(count as usize))?;
        self.plan_template(&mut plan, &place, operation, &template, request.tpm, None)?;
        if request.count.is_some() {
            self.number(&mut plan, count)?;
        }
        Ok(plan)
    }

    /// So many of each VM of a plan, numbered. What was checked of the first holds for all: they differ in name, identity and folder.
    fn number(&self, plan: &mut Plan, count: u32) -> Result<()> {
        let one_of_each = std::mem::take(&mut plan.items);
        for number in 1..=count {
            for item in &one_of_each {
                let mut item = item.clone();
                item.vm.name = format!("{}-{number}", item.vm.name).parse()?;
                item.vm.id = VmId::random();
                item.vm.instance_id = Uuid::new_v4();
                item.vm.folder = self.folder_for(&item.vm, &item.datastore, false)?;
                plan.items.push(item);
            }
        }
        Ok(())
    }

    fn plan_standalone(
        &self,
        template: &Stored<Template>,
        whole: &Stored<Template>,
        vdc: &Stored<crate::model::Vdc>,
        request: &Instantiate,
    ) -> Result<Plan> {
        let [vm] = template.record.vms.as_slice() else {
            return Err(Error::ChoiceNeeded {
                what: "VM in the template",
                option: "--vm",
            });
        };
        if request.count.is_some_and(|count| count != 1) {
            return Err(Error::BadValue(
                "a standalone VM is one; make a vApp for more".to_owned(),
            ));
        }
        let operation = Operation::CreateVmFromTemplate;
        let place = self.place_in(&vdc.record, None, None)?;
        let target = (TargetKind::Vm, VmId::random(), request.name.clone());
        let mut plan = Plan::new(operation.as_str(), "being instantiated", target);
        plan.organization = Some(template.record.organization.clone());
        plan.read(whole);
        let wanted = Wanted {
            operation,
            source: vm,
            name: request.name.clone(),
            asked: request.tpm.map(TpmAction::from),
            stored: Some(template.record.provisioning.into()),
            moves: false,
            by_name: false,
        };
        self.plan_from(&mut plan, &place, wanted)?;
        if let Some(item) = plan.items.first() {
            plan.target.1 = item.vm.id;
        }
        self.check_free_names(&mut plan)?;
        Ok(plan)
    }

    /// Deletes a template with the files of its VMs. Instances stay.
    ///
    /// # Errors
    /// When there is no such template, or it is in use.
    pub fn delete_template(self: &Arc<Self>, template: &str) -> Result<Job> {
        self.accept(|this| this.plan_delete_template(template))
    }

    /// What [`Self::delete_template`] would do.
    ///
    /// # Errors
    /// When there is no such template.
    pub fn preview_delete_template(&self, template: &str) -> Result<Preview> {
        self.preview_of(|this| this.plan_delete_template(template))
    }

    fn plan_delete_template(&self, template: &str) -> Result<Plan> {
        let template = self.find_template(template)?;
        let id = as_busy(template.record.id);
        let target = (TargetKind::Template, id, template.record.name.clone());
        let mut plan = Plan::new("delete_template", "being deleted", target);
        plan.organization = Some(template.record.organization.clone());
        plan.busy.push((id, template.record.name.clone()));
        plan.expects.unchanged(&template);
        plan.removals.clone_from(&template.record.vms);
        plan.outcome = Outcome::Gone(template.record.key());
        Ok(plan)
    }

    /// Imports a VM of a vCenter as a vApp or as a template; it keeps its TPM.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn import_vm(self: &Arc<Self>, vm: &str, request: &Import) -> Result<Job> {
        let id = Uuid::new_v4();
        self.accept(|this| this.plan_import(id, vm, request))
    }

    /// What [`Self::import_vm`] would do.
    ///
    /// # Errors
    /// When something that the request names does not exist.
    pub fn preview_import_vm(&self, vm: &str, request: &Import) -> Result<Preview> {
        self.preview_of(|this| this.plan_import(Uuid::nil(), vm, request))
    }

    fn plan_import(&self, id: Uuid, vm: &str, request: &Import) -> Result<Plan> {
        let source: Stored<Vm> = self.inventory.vm(vm)?;
        if let Some(vapp) = &source.record.vapp {
            return Err(Error::BadValue(format!(
                "the VM {} belongs to the vApp {vapp}; only VMs that belong to none are imported",
                source.record.name
            )));
        }
        let asked = request.tpm.map(TpmAction::from);
        let (mut plan, place, operation) = match (&request.vdc, &request.catalog) {
            (_, None) => {
                let vdc = self.find_vdc(None, request.vdc.as_deref())?;
                let operation = Operation::ImportVmAsVapp;
                let (plan, place) =
                    self.plan_new_vapp(id, &request.name, &vdc, operation, "being imported")?;
                (plan, place, operation)
            }
            (None, Some(catalog)) => {
                let catalog = self.find_catalog(catalog)?;
                let header = Header {
                    id,
                    name: &request.name,
                    origin: TemplateOrigin::Vcenter,
                    provisioning: TpmProvisioning::Copy,
                };
                let operation = Operation::ImportVmAsTemplate;
                let plan = self.plan_new_template(&catalog, header, operation)?;
                let place = self.place_on_shelf_for(&catalog.record, Some(&source.record))?;
                (plan, place, operation)
            }
            (Some(_), Some(_)) => {
                return Err(Error::BadValue(
                    "a VM is imported as a vApp or as a template; name a virtual data center or a catalog"
                        .to_owned(),
                ));
            }
        };
        plan.take(&source);
        let template = place.template;
        let mut wanted = of(operation, &source, asked);
        wanted.moves = request.moves && !template;
        self.plan_from(&mut plan, &place, wanted)?;
        if request.moves && template {
            // The template has a copy of everything; then the VM goes.
            if source.record.power != crate::model::PowerState::Off {
                let detail = format!(
                    "it is {}; power it off before it is moved",
                    powered(source.record.power)
                );
                plan.failures
                    .push(Failure::of(Rule::PowerState, detail).for_vm(&source.record.name));
            }
            plan.removals.push(source.record);
        }
        Ok(plan)
    }

    /// Publishes a catalog, or ends that.
    ///
    /// # Errors
    /// When there is no such catalog.
    pub fn publish_catalog(&self, catalog: &str, published: bool) -> Result<Offer> {
        let stored = self.find_catalog(catalog)?;
        let mut changed = stored.record.clone();
        changed.published = published;
        let mut transaction = Transaction::default();
        transaction.update(&stored, &changed)?;
        self.inventory.commit(transaction)?;
        self.offer(changed)
    }

    /// What [`Self::publish_catalog`] would do: what would be offered, and what would be withheld.
    ///
    /// # Errors
    /// When there is no such catalog.
    pub fn preview_publish_catalog(&self, catalog: &str, published: bool) -> Result<Offer> {
        let mut changed = self.find_catalog(catalog)?.record;
        changed.published = published;
        self.offer(changed)
    }

    /// What each published catalog offers to others.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn published_catalogs(&self) -> Result<Vec<Offer>> {
        let mut catalogs = self.catalogs()?;
        catalogs.retain(|catalog| catalog.published);
        catalogs
            .into_iter()
            .map(|catalog| self.offer(catalog))
            .collect()
    }

    /// Templates that copy are left out: they would give the secrets of a TPM to others (rule 1.7).
    pub(super) fn offer(&self, catalog: Catalog) -> Result<Offer> {
        let prefix = Template::key_of(catalog.organization.as_str(), catalog.name.as_str(), "");
        let mut offer = Offer {
            catalog,
            templates: Vec::new(),
            withheld: Vec::new(),
        };
        for template in self.inventory.within::<Template>(&prefix)? {
            let template = template.record;
            if template.has_tpm() && template.provisioning == TpmProvisioning::Copy {
                offer.withheld.push(Failure::of(
                    Rule::PublishReplaceOnly,
                    format!(
                        "the template {} copies TPMs, so it is neither published nor synchronized; capture it again with --tpm replace",
                        template.name
                    ),
                ));
            } else {
                offer.templates.push(template.name);
            }
        }
        Ok(offer)
    }

    pub(super) fn subscribable(&self, reference: &str, own: &Name) -> Result<Subscription> {
        let found = self.offered_catalog(reference, own)?.record;
        Ok(Subscription {
            organization: found.organization,
            catalog: found.name,
        })
    }
}

/// What is known of a template before its VMs are.
pub(super) struct Header<'a> {
    pub(super) id: Uuid,
    pub(super) name: &'a Name,
    pub(super) origin: TemplateOrigin,
    pub(super) provisioning: TpmProvisioning,
}

/// A VM as it is, under its name.
fn of(operation: Operation, vm: &Stored<Vm>, asked: Option<TpmAction>) -> Wanted<'_> {
    Wanted {
        operation,
        source: &vm.record,
        name: vm.record.name.clone(),
        asked,
        stored: None,
        moves: false,
        by_name: false,
    }
}
