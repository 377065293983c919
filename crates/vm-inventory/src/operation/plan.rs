//! What is to become of one VM in an operation: every rule that applies, all failures at once.

use super::batch::{Item, Plan, Source, Work};
use super::power::powered;
use super::{Like, Operations, planned};
use crate::files;
use crate::inventory::{Stored, is_called};
use crate::model::{
    self, Catalog, CloudSettings, Datastore, PowerState, Provider, Record as _, Template, VCenter,
    Vapp, VappMember, VappRef, Vdc, Vm, VmId,
};
use crate::provisioning::{self, CrossVc, Operation, Refusal, TpmAction};
use crate::requirements::{self, Candidate, Failure, ProviderState, Rule};
use crate::{Error, Name, Result};

/// Where the VMs of an operation are to be.
pub(super) struct Place {
    pub(super) vcenter: VCenter,
    /// Asked for, or that of the virtual data center; otherwise the source's if the vCenter sees it.
    pub(super) datastore: Option<Name>,
    pub(super) vapp: Option<VappRef>,
    pub(super) settings: CloudSettings,
    /// Whether they become VMs of a template.
    pub(super) template: bool,
}

/// What is asked for one VM that is made from another.
pub(super) struct Wanted<'a> {
    pub(super) operation: Operation,
    pub(super) source: &'a Vm,
    pub(super) name: Name,
    /// The caller's choice.
    pub(super) asked: Option<TpmAction>,
    /// The template's.
    pub(super) stored: Option<TpmAction>,
    /// The VM itself goes there, instead of another like it.
    pub(super) moves: bool,
    /// The choice was made for this VM by name, not for all of a vApp.
    pub(super) by_name: bool,
}

impl Operations {
    /// Plans one VM made from another, or moved. What speaks against it is added to the plan's failures.
    pub(super) fn plan_from(
        &self,
        plan: &mut Plan,
        place: &Place,
        wanted: Wanted<'_>,
    ) -> Result<()> {
        let Wanted {
            operation,
            source,
            name,
            asked,
            stored,
            moves,
            by_name,
        } = wanted;
        let mut failures = Vec::new();
        let from = self.inventory.vcenter(source.vcenter.as_str())?.record;
        let crossing = from.name != place.vcenter.name;
        let source_datastore = self.datastore_of(source)?;
        let action = if source.tpm.is_some() {
            // Nothing says whose column rules when the two differ: the lower one's.
            let version = from.version.min(place.vcenter.version);
            match provisioning::decide(operation, version, asked, stored) {
                Ok(action) => action,
                Err(refusal) => {
                    failures.push(refused(&refusal));
                    stored.or(asked)
                }
            }
        } else {
            if let Some(asked) = asked {
                let version = from.version.min(place.vcenter.version);
                match provisioning::decide(operation, version, Some(asked), stored) {
                    Err(refusal) => {
                        plan.idle_choice = Some(refused(&refusal).for_vm(&source.name));
                    }
                    Ok(_) if by_name => failures.push(Failure::of(
                        Rule::TpmChoice,
                        format!("it has no TPM, so there is nothing to {asked}; leave the choice for it out"),
                    )),
                    Ok(_) => {}
                }
            }
            None
        };
        let needs = Needs::of(operation, action);
        if crossing {
            self.check_crossing(
                &mut failures,
                &from,
                place,
                source,
                &source_datastore,
                &needs,
            )?;
        }
        if moves && source.power != PowerState::Off {
            failures.push(Failure::of(
                Rule::PowerState,
                format!(
                    "it is {}; power it off first with `vtpm vm stop {}`",
                    powered(source.power),
                    source.id
                ),
            ));
        } else if source.power == PowerState::On
            && !self.files.disks(source, &source_datastore)?.is_empty()
        {
            failures.push(Failure::of(
                Rule::PowerState,
                format!("it is powered on and its disks change under the copy; power it off first with `vtpm vm stop {}`", source.id),
            ));
        }
        let datastore = self.placed(place, &source_datastore)?;
        let new_key = crossing && !needs.provider;
        let provider = match action {
            _ if new_key && (action.is_some() || source.encrypted) => {
                place.vcenter.default_provider.clone()
            }
            _ => source.provider.clone(),
        };
        let mut vm = if moves {
            let mut moved = source.clone();
            moved.vapp.clone_from(&place.vapp);
            moved.vcenter = place.vcenter.name.clone();
            moved.name = name;
            moved
        } else {
            let like = Like {
                firmware: source.firmware,
                hardware_version: source.hardware_version,
                guest: source.guest.clone(),
                provider,
                encrypted: source.encrypted,
                socket: source.socket,
                startup: source.startup,
            };
            let folder = name.clone();
            let mut made = planned(name, &place.vcenter, &datastore, folder, like);
            made.vapp.clone_from(&place.vapp);
            made
        };
        let stays = moves && datastore.name == source.datastore;
        if !stays {
            vm.datastore = datastore.name.clone();
            vm.folder = self.folder_for(&vm, &datastore, place.template)?;
        }
        if action.is_some() {
            let missing_already = failures
                .iter()
                .any(|failure| failure.rule == Rule::ProviderOnTarget);
            self.check_requirements(&mut failures, &vm, &place.vcenter, missing_already)?;
        } else if vm.encrypted {
            let missing_already = failures
                .iter()
                .any(|failure| failure.rule == Rule::ProviderOnTarget);
            let mut found = Vec::new();
            self.check_requirements(&mut found, &vm, &place.vcenter, missing_already)?;
            found.retain(|failure| failure.rule.is_about_keys());
            failures.append(&mut found);
        }
        plan.failures.extend(
            failures
                .into_iter()
                .map(|failure| failure.for_vm(&source.name)),
        );
        let snapshots = if moves {
            let tree = self.tree(source.id)?;
            tree.snapshots.iter().map(|snapshot| snapshot.id).collect()
        } else {
            Vec::new()
        };
        let from = Source {
            vm: source.clone(),
            datastore: source_datastore,
            snapshot: None,
        };
        plan.items.push(Item {
            vm,
            datastore,
            work: match (moves, stays) {
                (true, true) => Work::Stay(from),
                (true, false) => Work::Carry(from),
                (false, _) => Work::Like(from, action),
            },
            snapshots,
            new_key,
        });
        Ok(())
    }

    /// The preconditions between two vCenters (rule 1.6).
    fn check_crossing(
        &self,
        failures: &mut Vec<Failure>,
        from: &VCenter,
        place: &Place,
        source: &Vm,
        source_datastore: &Datastore,
        needs: &Needs,
    ) -> Result<()> {
        let target = &place.vcenter.name;
        if !from.trusts.contains(target) {
            failures.push(Failure::of(
                Rule::MutualTrust,
                format!(
                    "the vCenters {} and {target} do not trust each other's certificates; run `vtpm vcenter trust {} {target}`",
                    from.name, from.name
                ),
            ));
        }
        if !source.is_encrypted() {
            return Ok(());
        }
        if needs.provider
            && let Some(provider) = &source.provider
        {
            let key = Provider::key_of(target.as_str(), provider.as_str());
            if self.inventory.find::<Provider>(&key)?.is_none() {
                failures.push(Failure::of(
                    Rule::ProviderOnTarget,
                    format!(
                        "it is encrypted by the key provider {provider}, which vCenter {target} does not have under that name; restore the backup of {provider} there with `vtpm provider restore`"
                    ),
                ));
            } else if let Err(error) = self.files.trial_unwrap(source, source_datastore, target) {
                let why = if files::is_other_key(&error) {
                    format!(
                        "the key provider {provider} of vCenter {target} has the right name but another key; remove it there (`vtpm provider remove`) and restore the backup of {provider} of vCenter {} in its place",
                        from.name
                    )
                } else {
                    format!(
                        "the key provider {provider} of vCenter {target} does not open it: {error}"
                    )
                };
                failures.push(Failure::of(Rule::SameKey, why));
            }
        }
        if needs.storage
            && !source_datastore.vcenters.contains(target)
            && !place.settings.fast_cross_vcenter_instantiation
        {
            failures.push(Failure::of(
                Rule::SharedStorage,
                format!(
                    "vCenter {target} does not see its datastore {}; share the datastore with `vtpm datastore share {} --vcenter {target}`, or switch fast cross-vCenter instantiation on with `vtpm config set fast-cross-vcenter-instantiation on`",
                    source.datastore, source.datastore
                ),
            ));
        }
        Ok(())
    }

    /// The rules for a VM with a TPM on the vCenter that will hold it (rule 1.1).
    pub(super) fn check_requirements(
        &self,
        failures: &mut Vec<Failure>,
        vm: &Vm,
        vcenter: &VCenter,
        provider_is_missing: bool,
    ) -> Result<()> {
        let provider = match &vm.provider {
            Some(name) => {
                let key = Provider::key_of(vcenter.name.as_str(), name.as_str());
                self.inventory
                    .find::<Provider>(&key)?
                    .map(|stored| stored.record)
            }
            None => None,
        };
        let state = match &provider {
            Some(provider) => Some(ProviderState {
                name: &provider.name,
                kind: provider.kind,
                backed_up: self.files.provider(provider)?.is_active(),
            }),
            None => None,
        };
        let found = requirements::check(&Candidate {
            firmware: vm.firmware,
            hardware_version: vm.hardware_version,
            guest: &vm.guest,
            vcenter: &vcenter.name,
            version: vcenter.version,
            provider: state,
        });
        failures.extend(
            found
                .into_iter()
                .filter(|failure| !(provider_is_missing && failure.rule == Rule::KeyProvider)),
        );
        Ok(())
    }

    /// The datastore for a VM at a place.
    pub(super) fn placed(&self, place: &Place, source: &Datastore) -> Result<Datastore> {
        let vcenter = &place.vcenter.name;
        let name = match &place.datastore {
            Some(name) => Some(name),
            None if source.vcenters.contains(vcenter) => Some(&source.name),
            None => None,
        };
        Ok(self.inventory.datastore_on(vcenter, name)?.record)
    }

    /// A folder for a VM. VMs of vApps and templates may have the same name, so theirs carries the beginning of the id.
    pub(super) fn folder_for(
        &self,
        vm: &Vm,
        datastore: &Datastore,
        template: bool,
    ) -> Result<Name> {
        if vm.vapp.is_none() && !template {
            return self.free_folder(datastore, &vm.name);
        }
        let id: String = vm.id.to_string().chars().take(8).collect();
        // With its suffix it must still be a name: at most 80 characters and 200 bytes.
        let mut stem = String::new();
        for character in vm.name.as_str().chars().take(70) {
            if stem.len() + character.len_utf8() > 180 {
                break;
            }
            stem.push(character);
        }
        Ok(format!("{stem}-{id}").parse()?)
    }

    /// Settings of the whole installation.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn cloud_settings(&self) -> Result<CloudSettings> {
        let stored = self
            .inventory
            .find::<CloudSettings>(&CloudSettings::key_of())?;
        Ok(stored.map(|stored| stored.record).unwrap_or_default())
    }

    /// The place that a virtual data center is.
    pub(super) fn place_in(
        &self,
        vdc: &Vdc,
        vapp: Option<VappRef>,
        datastore: Option<Name>,
    ) -> Result<Place> {
        Ok(Place {
            vcenter: self.inventory.vcenter(vdc.vcenter.as_str())?.record,
            datastore: datastore.or_else(|| vdc.datastore.clone()),
            vapp,
            settings: self.cloud_settings()?,
            template: false,
        })
    }

    /// The place that a catalog is.
    pub(super) fn place_on_shelf(&self, catalog: &Catalog) -> Result<Place> {
        let vcenter = self.inventory.vcenter(catalog.vcenter.as_str())?.record;
        Ok(Place {
            vcenter,
            datastore: Some(catalog.datastore.clone()),
            vapp: None,
            settings: self.cloud_settings()?,
            template: true,
        })
    }

    /// The place of a catalog for what is saved of a VM: one that is for no virtual data center keeps it where the VM is.
    pub(super) fn place_on_shelf_for(
        &self,
        catalog: &Catalog,
        source: Option<&Vm>,
    ) -> Result<Place> {
        let mut place = self.place_on_shelf(catalog)?;
        if let Some(source) = source.filter(|_| catalog.anywhere) {
            place.vcenter = self.inventory.vcenter(source.vcenter.as_str())?.record;
            place.datastore = Some(source.datastore.clone());
        }
        Ok(place)
    }

    /// The VMs of a vApp, by name.
    pub(crate) fn members(&self, vapp: &Vapp) -> Result<Vec<Stored<Vm>>> {
        let prefix = VappMember::key_of(vapp.id, "");
        let mut vms = Vec::new();
        for member in self.inventory.within::<VappMember>(&prefix)? {
            vms.extend(self.inventory.find::<Vm>(&Vm::key_of(member.record.vm))?);
        }
        Ok(vms)
    }

    /// A vApp by its name, or `ORGANIZATION/NAME`, or id.
    pub(crate) fn find_vapp(&self, reference: &str) -> Result<Stored<Vapp>> {
        if let Some((organization, name)) = reference.split_once('/')
            && !name.contains('/')
        {
            let key = Vapp::key_of(organization, name);
            return self
                .inventory
                .find(&key)?
                .ok_or_else(|| missing("vApp", reference));
        }
        // An id is never taken for a name, so that a vApp called like the id of another is not in its way.
        let found = if let Some(id) = model::id_in(reference) {
            self.inventory.vapp_by_id(id)?.into_iter().collect()
        } else {
            self.inventory.vapps_called(reference)?
        };
        only("vApp", reference, found)
    }

    /// A virtual data center by its name, or `ORGANIZATION/NAME`; without a name the only one there is.
    pub(crate) fn find_vdc(
        &self,
        organization: Option<&Name>,
        reference: Option<&str>,
    ) -> Result<Stored<Vdc>> {
        let mut found = self.inventory.all::<Vdc>()?;
        if let Some(organization) = organization {
            found.retain(|vdc| vdc.record.organization == *organization);
        }
        if let Some(reference) = reference {
            found.retain(|vdc| is_called(&vdc.record.organization, &vdc.record.name, reference));
        }
        only("virtual data center", reference.unwrap_or("any"), found)
    }

    /// A catalog by its name, or `ORGANIZATION/NAME`.
    pub(crate) fn find_catalog(&self, reference: &str) -> Result<Stored<Catalog>> {
        let mut found = self.inventory.all::<Catalog>()?;
        found.retain(|it| is_called(&it.record.organization, &it.record.name, reference));
        only("catalog", reference, found)
    }

    /// A template by its name, `CATALOG/NAME`, `ORGANIZATION/CATALOG/NAME`, or id.
    pub(crate) fn find_template(&self, reference: &str) -> Result<Stored<Template>> {
        if let Some(id) = model::id_in(reference) {
            return self
                .template_by_id(id)?
                .ok_or_else(|| missing(TEMPLATE, reference));
        }
        only(TEMPLATE, reference, self.templates_called(None, reference)?)
    }

    /// The templates that `NAME`, `CATALOG/NAME` or `ORGANIZATION/CATALOG/NAME` may mean, of an organization or of all; or else
    /// `ORGANIZATION/NAME`, as vApps are called.
    pub(super) fn templates_called(
        &self,
        organization: Option<&Name>,
        reference: &str,
    ) -> Result<Vec<Stored<Template>>> {
        // A template can be large: only those of that name are read.
        let (shelf, name) = match reference.rsplit_once('/') {
            Some((shelf, name)) => (Some(shelf), name),
            None => (None, reference),
        };
        let prefix = organization.map_or_else(
            || Catalog::PREFIX.to_owned(),
            |organization| Catalog::key_of(organization.as_str(), ""),
        );
        let (mut found, mut by_organization) = (Vec::new(), Vec::new());
        for catalog in self.inventory.within::<Catalog>(&prefix)? {
            let it = catalog.record;
            let meant = match shelf {
                Some(shelf) if is_called(&it.organization, &it.name, shelf) => &mut found,
                Some(shelf) if it.organization.as_str() == shelf => &mut by_organization,
                Some(_) => continue,
                None => &mut found,
            };
            let key = Template::key_of(it.organization.as_str(), it.name.as_str(), name);
            meant.extend(self.inventory.find::<Template>(&key)?);
        }
        Ok(if found.is_empty() {
            by_organization
        } else {
            found
        })
    }
}

impl Operations {
    /// A VM outside vApps has a name of its own on its vCenter.
    pub(super) fn check_free_names(&self, plan: &mut Plan) -> Result<()> {
        for wanted in plan.new_holders() {
            if self.inventory.holder(&wanted.key())?.is_some() {
                let detail = format!(
                    "vCenter {} already has a VM called {}; choose another name",
                    wanted.vcenter, wanted.name
                );
                plan.failures
                    .push(Failure::of(Rule::Place, detail).for_vm(&wanted.name));
            }
        }
        Ok(())
    }

    /// A template by its id.
    pub(super) fn template_by_id(&self, id: uuid::Uuid) -> Result<Option<Stored<Template>>> {
        let key = self.inventory.index().template_key(id);
        key.map_or(Ok(None), |key| self.inventory.find(&key))
    }
}

/// What an operation needs of the target vCenter, by its class and what becomes of the TPM.
struct Needs {
    /// The provider of the same name with the same key.
    provider: bool,
    /// Storage that both see, or fast instantiation.
    storage: bool,
}

impl Needs {
    fn of(operation: Operation, action: Option<TpmAction>) -> Self {
        let (provider, storage) = match provisioning::row(operation).cross_vc {
            CrossVc::Provider => (true, true),
            CrossVc::KeyOnly => (true, false),
            CrossVc::Instantiation => {
                let copies = action == Some(TpmAction::Copy);
                (copies, copies)
            }
            CrossVc::Target | CrossVc::None => (false, false),
        };
        Self { provider, storage }
    }
}

pub(super) fn refused(refusal: &Refusal) -> Failure {
    Failure::of(refusal.rule(), refusal.to_string())
}

/// What stands in the place of a VM's id where operations keep each other away from something else.
pub(super) fn as_busy(id: uuid::Uuid) -> VmId {
    VmId(id)
}

pub(super) fn missing(what: &'static str, reference: &str) -> Error {
    Error::NotFound {
        what,
        name: crate::inventory::shown(reference),
        hint: "the verb `list` shows what there is",
    }
}

/// What a template is called in messages.
const TEMPLATE: &str = "template";

pub(super) fn only<T>(
    what: &'static str,
    reference: &str,
    mut found: Vec<Stored<T>>,
) -> Result<Stored<T>> {
    if found.len() > 1 {
        return Err(Error::ChoiceNeeded {
            what,
            option: if what == TEMPLATE {
                "its catalog: CATALOG/NAME, or ORGANIZATION/CATALOG/NAME"
            } else {
                "its organization: ORGANIZATION/NAME"
            },
        });
    }
    found.pop().ok_or_else(|| missing(what, reference))
}
