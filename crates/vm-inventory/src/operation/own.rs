//! Finding things inside one organization: what belongs to another is not found, in the same words as what does not exist.

use super::Operations;
use super::plan::only;
use crate::inventory::{Stored, is_called, shown};
use crate::model::{Catalog, Template, Vapp, Vdc, Vm, VmId, id_in};
use crate::{Error, Name, Result};

impl Operations {
    /// A VM of the organization, or of anybody, by id, `VAPP/NAME`, `ORGANIZATION/VAPP/NAME` or name.
    pub(crate) fn own_vm(
        &self,
        organization: Option<&Name>,
        reference: &str,
    ) -> Result<Stored<Vm>> {
        let Some(organization) = organization else {
            return self.inventory.vm(reference);
        };
        let missing = || crate::inventory::no_vm(reference);
        if let Some(id) = id_in(reference).map(VmId) {
            return self
                .inventory
                .find::<Vm>(&Vm::key_of(id))?
                .filter(|vm| belongs(&vm.record, organization))
                .ok_or_else(missing);
        }
        let (vapp, name) = match reference.rsplit_once('/') {
            Some((vapp, name)) => (Some(vapp), name),
            None => (None, reference),
        };
        let ids = {
            let index = self.inventory.index();
            let own = index.vms_called(name).filter(|(_, vm)| {
                vm.vapp.as_ref().is_some_and(|it| {
                    it.organization == *organization
                        && vapp.is_none_or(|wanted| is_called(&it.organization, &it.name, wanted))
                })
            });
            own.map(|(id, _)| id).collect()
        };
        self.inventory.only_vm(name, ids)?.ok_or_else(missing)
    }

    /// A vApp of the organization, or of anybody, by id, name or `ORGANIZATION/NAME`.
    pub(crate) fn own_vapp(
        &self,
        organization: Option<&Name>,
        reference: &str,
    ) -> Result<Stored<Vapp>> {
        let Some(organization) = organization else {
            return self.find_vapp(reference);
        };
        let found = match id_in(reference) {
            Some(id) => self.inventory.vapp_by_id(id)?,
            None => {
                let name = match reference.split_once('/') {
                    Some((of, name)) if of == organization.as_str() => name,
                    _ => reference,
                };
                self.inventory
                    .find::<Vapp>(&Vapp::key_of(organization.as_str(), name))?
            }
        };
        let own = found.filter(|stored| stored.record.organization == *organization);
        only("vApp", reference, own.into_iter().collect())
    }

    /// A virtual data center of the organization, or of anybody.
    pub(crate) fn own_vdc(
        &self,
        organization: Option<&Name>,
        reference: Option<&str>,
    ) -> Result<Stored<Vdc>> {
        self.find_vdc(organization, reference)
    }

    /// A catalog of the organization, or of anybody, by name or `ORGANIZATION/NAME`.
    pub(crate) fn own_catalog(
        &self,
        organization: Option<&Name>,
        reference: &str,
    ) -> Result<Stored<Catalog>> {
        let Some(organization) = organization else {
            return self.find_catalog(reference);
        };
        let prefix = Catalog::key_of(organization.as_str(), "");
        let mut found = self.inventory.within::<Catalog>(&prefix)?;
        found.retain(|it| is_called(&it.record.organization, &it.record.name, reference));
        only("catalog", reference, found)
    }

    /// A template of the organization, or of anybody, by id, name, `CATALOG/NAME` or `ORGANIZATION/CATALOG/NAME`.
    pub(crate) fn own_template(
        &self,
        organization: Option<&Name>,
        reference: &str,
    ) -> Result<Stored<Template>> {
        let Some(organization) = organization else {
            return self.find_template(reference);
        };
        // Everything that it may mean to anybody, without reading what others have of that name.
        let found = match id_in(reference) {
            Some(id) => self.template_by_id(id)?.into_iter().collect(),
            None => self.templates_called(Some(organization), reference)?,
        };
        let mut own = found;
        own.retain(|stored| stored.record.organization == *organization);
        only("template", reference, own)
    }

    /// The published catalog of another organization; what is not published is as good as not there.
    pub(crate) fn offered_catalog(&self, reference: &str, own: &Name) -> Result<Stored<Catalog>> {
        let mut found = self.inventory.all::<Catalog>()?;
        found.retain(|stored| {
            let it = &stored.record;
            it.published
                && it.organization != *own
                && is_called(&it.organization, &it.name, reference)
        });
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Error::NotFound {
                what: "published catalog of another organization",
                name: shown(reference),
                hint: "ask its organization to publish it",
            }),
            (Some(_), false) => Err(Error::ChoiceNeeded {
                what: "published catalog of that name",
                option: "its organization: ORGANIZATION/NAME",
            }),
        }
    }
}

/// Whether the VM is one of the organization's. VMs outside vApps belong to none.
fn belongs(vm: &Vm, organization: &Name) -> bool {
    vm.vapp
        .as_ref()
        .is_some_and(|vapp| vapp.organization == *organization)
}
