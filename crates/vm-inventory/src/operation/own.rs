//! Finding things inside one organization: what belongs to another is not found, in the same words as what does not exist.

use super::Operations;
use super::plan::{is_called, only};
use crate::inventory::{Stored, shown};
use crate::model::{Catalog, Record as _, Template, Vapp, VappMember, Vdc, Vm, VmId, id_in};
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
        let prefix = Vapp::key_of(organization.as_str(), "");
        let mut found: Vec<Stored<Vm>> = Vec::new();
        for stored in self.inventory.within::<Vapp>(&prefix)? {
            let it = &stored.record;
            if vapp.is_none_or(|wanted| is_called(&it.organization, &it.name, wanted)) {
                let key = VappMember::key_of(it.id, name);
                if let Some(member) = self.inventory.find::<VappMember>(&key)? {
                    found.extend(self.inventory.find(&Vm::key_of(member.record.vm))?);
                }
            }
        }
        if found.len() > 1 {
            return Err(Error::Ambiguous {
                name: shown(name),
                ids: found.iter().map(|vm| vm.record.id).collect(),
            });
        }
        found.pop().ok_or_else(missing)
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
        let id = id_in(reference);
        let prefix = Vapp::key_of(organization.as_str(), "");
        let mut found = self.inventory.within::<Vapp>(&prefix)?;
        found.retain(|stored| match id {
            Some(id) => stored.record.id == id,
            None => is_called(&stored.record.organization, &stored.record.name, reference),
        });
        only("vApp", reference, found)
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
        let prefix = format!("{}{organization}/", Template::PREFIX);
        let mut found = self.inventory.within::<Template>(&prefix)?;
        found.retain(|stored| stored.record.is_called(reference));
        only("template", reference, found)
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
pub(crate) fn belongs(vm: &Vm, organization: &Name) -> bool {
    vm.vapp
        .as_ref()
        .is_some_and(|vapp| vapp.organization == *organization)
}
