//! vApps, catalogs and templates as one user has them.

use super::scoped::{exact, no_organization};
use super::{Right, Scoped};
use crate::model::{Catalog, Privilege, Template, Vapp};
use crate::operation::{
    Capture, Captured, CopyVapp, CreateCatalog, CreateVapp, Instantiate, Job, MoveVapp, Offer,
    Preview, VappItem, VappView, VdcView,
};
use crate::provisioning::TpmProvisioning;
use crate::{Name, Result};
use uuid::Uuid;

impl Scoped {
    /// The organization that a request names, or the user's own: nobody names another.
    pub(super) fn own_organization(&self, named: Option<&Name>) -> Result<Option<Name>> {
        match (self.organization(), named) {
            (Some(own), Some(named)) if own != named => Err(no_organization(named.as_str())),
            (Some(own), _) => Ok(Some(own.clone())),
            (None, named) => Ok(named.cloned()),
        }
    }

    /// A virtual data center by a name that means nothing else; what is not named stays so.
    pub(super) fn exact_vdc(&self, named: Option<&str>) -> Result<Option<String>> {
        // Who sees every organization names one in the request, or the operation knows it.
        let (Some(named), Some(own)) = (named, self.organization()) else {
            return Ok(named.map(str::to_owned));
        };
        let vdc = self.operations.own_vdc(Some(own), Some(named))?;
        Ok(Some(format!(
            "{}/{}",
            vdc.record.organization, vdc.record.name
        )))
    }

    pub(super) fn own_catalog(&self, reference: &str) -> Result<(Catalog, String)> {
        let found = self
            .operations
            .own_catalog(self.organization(), reference)?;
        let exact = format!("{}/{}", found.record.organization, found.record.name);
        Ok((found.record, exact))
    }

    pub(super) fn own_template(&self, reference: &str) -> Result<(Template, String)> {
        let found = self
            .operations
            .own_template(self.organization(), reference)?;
        let it = found.record;
        let exact = format!("{}/{}/{}", it.organization, it.catalog, it.name);
        Ok((it, exact))
    }

    fn has_tpm(&self, vapp: &Vapp) -> Result<bool> {
        let members = self.operations.members(vapp)?;
        Ok(members.iter().any(|vm| vm.record.is_encrypted()))
    }

    fn forget_sources(&self, views: &mut [VappView]) {
        for vm in views.iter_mut().flat_map(|view| &mut view.vms) {
            self.forget_source(vm);
        }
    }

    /// Every virtual data center that the user sees.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vdcs(&self) -> Result<Vec<VdcView>> {
        self.principal.need(Right::Look)?;
        let mut vdcs = self.operations.vdcs()?;
        vdcs.retain(|it| self.sees(&it.vdc.organization));
        Ok(vdcs)
    }

    /// At most so many of them, after the one of that `ORGANIZATION/NAME`; `None` if it is not among them.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn some_vdcs(&self, after: Option<&str>, most: usize) -> Result<Option<Vec<VdcView>>> {
        self.principal.need(Right::Look)?;
        self.operations.some_vdcs(self.organization(), after, most)
    }

    pub(super) fn sees(&self, organization: &Name) -> bool {
        self.organization().is_none_or(|own| own == organization)
    }

    /// Every vApp that the user sees.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vapps(&self) -> Result<Vec<VappView>> {
        Ok(self.some_vapps(None, usize::MAX)?.unwrap_or_default())
    }

    /// At most so many of them, after the one of that id; `None` if it is not among them.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn some_vapps(&self, after: Option<Uuid>, most: usize) -> Result<Option<Vec<VappView>>> {
        self.principal.need(Right::Look)?;
        let organization = self.organization();
        let mut views = self.operations.some_vapps(organization, after, most)?;
        self.forget_sources(views.as_deref_mut().unwrap_or_default());
        Ok(views)
    }

    /// One vApp, by its name, `ORGANIZATION/NAME`, or id.
    ///
    /// # Errors
    /// When the user sees none.
    pub fn vapp(&self, reference: &str) -> Result<VappView> {
        let vapp = self.own_vapp(reference)?;
        self.principal.need(Right::Look)?;
        let mut view = self.operations.vapp(&exact(&vapp))?;
        self.forget_sources(std::slice::from_mut(&mut view));
        Ok(view)
    }

    /// The items of a vApp to be, by names that mean nothing else.
    fn exact_items(&self, items: &[VappItem]) -> Result<Vec<VappItem>> {
        let mut needs = Vec::new();
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            let mut item = item.clone();
            if let Some(vm) = &item.vm {
                let vm = self.own_vm(vm)?;
                if vm.tpm.is_some() {
                    needs.push(Privilege::Clone);
                }
                item.vm = Some(vm.id.to_string());
            }
            if let Some(template) = &item.template {
                let (template, exact) = self.own_template(template)?;
                needs.extend(needed_for(&template));
                item.template = Some(exact);
            }
            if item.new.as_ref().is_some_and(|new| new.tpm) {
                needs.push(Privilege::EncryptNew);
            }
            all.push(item);
        }
        self.principal.need(Right::Build)?;
        for privilege in needs {
            self.principal.need_privilege(privilege)?;
        }
        Ok(all)
    }

    fn exact_vapp_request(&self, request: &CreateVapp) -> Result<CreateVapp> {
        Ok(CreateVapp {
            name: request.name.clone(),
            organization: self.own_organization(request.organization.as_ref())?,
            vdc: self.exact_vdc(request.vdc.as_deref())?,
            vms: self.exact_items(&request.vms)?,
        })
    }

    /// See [`crate::Operations::create_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_vapp(&self, request: &CreateVapp) -> Result<Job> {
        let request = self.exact_vapp_request(request)?;
        self.act(|operations| operations.create_vapp(&request))
    }

    /// What [`Self::create_vapp`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_create_vapp(&self, request: &CreateVapp) -> Result<Preview> {
        let request = self.exact_vapp_request(request)?;
        self.operations.preview_create_vapp(&request)
    }

    /// See [`crate::Operations::add_to_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn add_to_vapp(&self, vapp: &str, items: &[VappItem]) -> Result<Job> {
        let vapp = exact(&self.own_vapp(vapp)?);
        let items = self.exact_items(items)?;
        self.act(|operations| operations.add_to_vapp(&vapp, &items))
    }

    /// What [`Self::add_to_vapp`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_add_to_vapp(&self, vapp: &str, items: &[VappItem]) -> Result<Preview> {
        let vapp = exact(&self.own_vapp(vapp)?);
        let items = self.exact_items(items)?;
        self.operations.preview_add_to_vapp(&vapp, &items)
    }

    fn may_copy(&self, vapp: &str, request: &CopyVapp) -> Result<(String, CopyVapp)> {
        let vapp = self.own_vapp(vapp)?;
        let request = CopyVapp {
            vdc: self.exact_vdc(request.vdc.as_deref())?,
            ..request.clone()
        };
        self.principal.need(Right::Build)?;
        self.need_for_tpm(self.has_tpm(&vapp)?, Privilege::Clone)?;
        Ok((exact(&vapp), request))
    }

    /// See [`crate::Operations::copy_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn copy_vapp(&self, vapp: &str, request: &CopyVapp) -> Result<Job> {
        let (vapp, request) = self.may_copy(vapp, request)?;
        self.act(|operations| operations.copy_vapp(&vapp, &request))
    }

    /// What [`Self::copy_vapp`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_copy_vapp(&self, vapp: &str, request: &CopyVapp) -> Result<Preview> {
        let (vapp, request) = self.may_copy(vapp, request)?;
        self.operations.preview_copy_vapp(&vapp, &request)
    }

    fn may_move(&self, vapp: &str, request: &MoveVapp) -> Result<(String, MoveVapp)> {
        let vapp = self.own_vapp(vapp)?;
        let vdc = self.exact_vdc(Some(&request.vdc))?;
        self.principal.need(Right::Build)?;
        self.need_for_tpm(self.has_tpm(&vapp)?, Privilege::Migrate)?;
        let request = MoveVapp {
            vdc: vdc.unwrap_or_else(|| request.vdc.clone()),
            ..request.clone()
        };
        Ok((exact(&vapp), request))
    }

    /// See [`crate::Operations::move_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn move_vapp(&self, vapp: &str, request: &MoveVapp) -> Result<Job> {
        let (vapp, request) = self.may_move(vapp, request)?;
        self.act(|operations| operations.move_vapp(&vapp, &request))
    }

    /// What [`Self::move_vapp`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_move_vapp(&self, vapp: &str, request: &MoveVapp) -> Result<Preview> {
        let (vapp, request) = self.may_move(vapp, request)?;
        self.operations.preview_move_vapp(&vapp, &request)
    }

    pub(super) fn may_delete_vapp(&self, vapp: &str) -> Result<String> {
        let vapp = self.own_vapp(vapp)?;
        self.principal.need(Right::Build)?;
        Ok(exact(&vapp))
    }

    /// See [`crate::Operations::delete_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn delete_vapp(&self, vapp: &str) -> Result<Job> {
        let vapp = self.may_delete_vapp(vapp)?;
        self.act(|operations| operations.delete_vapp(&vapp))
    }

    /// What [`Self::delete_vapp`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_delete_vapp(&self, vapp: &str) -> Result<Preview> {
        let vapp = self.may_delete_vapp(vapp)?;
        self.operations.preview_delete_vapp(&vapp)
    }

    /// Every catalog that the user sees.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn catalogs(&self) -> Result<Vec<Catalog>> {
        self.principal.need(Right::Look)?;
        let mut catalogs = self.operations.catalogs()?;
        catalogs.retain(|it| self.sees(&it.organization));
        Ok(catalogs)
    }

    /// At most so many of them, after the one of that `ORGANIZATION/NAME`; `None` if it is not among them.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn some_catalogs(&self, after: Option<&str>, most: usize) -> Result<Option<Vec<Catalog>>> {
        self.principal.need(Right::Look)?;
        self.operations.some_of(self.organization(), after, most)
    }

    /// See [`crate::Operations::capture_over`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn capture_over(&self, old: &str, request: &Capture) -> Result<Job> {
        let request = self.may_capture(request)?;
        let (_, old) = self.own_template(old)?;
        self.act(|operations| operations.capture_over(&old, &request))
    }

    /// See [`crate::Operations::create_catalog`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_catalog(&self, request: CreateCatalog) -> Result<Catalog> {
        let organization = self.own_organization(request.organization.as_ref())?;
        let vdc = self.exact_vdc(request.vdc.as_deref())?;
        if let (Some(own), Some(offer)) = (&organization, &request.subscribe) {
            self.operations.offered_catalog(offer, own)?;
        }
        self.principal.need(Right::Catalogs)?;
        let request = CreateCatalog {
            organization,
            vdc,
            ..request
        };
        self.act(|operations| operations.create_catalog(request))
    }

    /// See [`crate::Operations::publish_catalog`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn publish_catalog(&self, catalog: &str, published: bool) -> Result<Offer> {
        let (_, catalog) = self.own_catalog(catalog)?;
        self.principal.need(Right::Catalogs)?;
        self.act(|operations| operations.publish_catalog(&catalog, published))
    }

    /// What [`Self::publish_catalog`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_publish_catalog(&self, catalog: &str, published: bool) -> Result<Offer> {
        let (_, catalog) = self.own_catalog(catalog)?;
        self.principal.need(Right::Catalogs)?;
        self.operations.preview_publish_catalog(&catalog, published)
    }

    /// What every published catalog offers. Why others withhold something is theirs to know.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn published_catalogs(&self) -> Result<Vec<Offer>> {
        self.principal.need(Right::Look)?;
        let mut offers = self.operations.published_catalogs()?;
        for offer in &mut offers {
            if !self.sees(&offer.catalog.organization) {
                offer.withheld.clear();
                offer.catalog.subscription = None;
            }
        }
        Ok(offers)
    }

    /// See [`crate::Operations::sync_catalog`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn sync_catalog(&self, catalog: &str) -> Result<Vec<Job>> {
        let (_, catalog) = self.own_catalog(catalog)?;
        self.principal.need(Right::Catalogs)?;
        self.act(|operations| operations.sync_catalog(&catalog))
    }

    /// What [`Self::sync_catalog`] would do. What others have is theirs to know.
    ///
    /// # Errors
    /// The same.
    pub fn preview_sync_catalog(&self, catalog: &str) -> Result<Preview> {
        let (_, catalog) = self.own_catalog(catalog)?;
        self.principal.need(Right::Catalogs)?;
        self.operations.preview_sync_catalog(&catalog)
    }

    /// Every template that the user sees.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn templates(&self) -> Result<Vec<Template>> {
        Ok(self.some_templates(None, usize::MAX)?.unwrap_or_default())
    }

    /// At most so many of them, after the one of that id; `None` if it is not among them.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn some_templates(
        &self,
        after: Option<Uuid>,
        most: usize,
    ) -> Result<Option<Vec<Template>>> {
        self.principal.need(Right::Look)?;
        let organization = self.organization();
        let mut templates = self.operations.some_templates(organization, after, most)?;
        for template in templates.iter_mut().flatten() {
            self.forget_template_sources(template);
        }
        Ok(templates)
    }

    /// One template, by its name, `CATALOG/NAME`, `ORGANIZATION/CATALOG/NAME`, or id.
    ///
    /// # Errors
    /// When the user sees none.
    pub fn template(&self, reference: &str) -> Result<Template> {
        let (mut template, _) = self.own_template(reference)?;
        self.principal.need(Right::Look)?;
        self.forget_template_sources(&mut template);
        Ok(template)
    }

    fn forget_template_sources(&self, template: &mut Template) {
        for tpm in template.vms.iter_mut().filter_map(|vm| vm.tpm.as_mut()) {
            let source = tpm.source.take();
            tpm.source = source.filter(|source| self.sees_vm(source.id));
        }
    }

    fn may_capture(&self, request: &Capture) -> Result<Capture> {
        let mut exactly = request.clone();
        let has_tpm = match request.source()? {
            Captured::Vapp(vapp) => {
                let vapp = self.own_vapp(vapp)?;
                exactly.vapp = Some(exact(&vapp));
                self.has_tpm(&vapp)?
            }
            Captured::Vm(vm) => {
                let vm = self.own_vm(vm)?;
                exactly.vm = Some(vm.id.to_string());
                vm.tpm.is_some()
            }
        };
        exactly.catalog = self.own_catalog(&request.catalog)?.1;
        self.principal.need(Right::Catalogs)?;
        self.need_for_tpm(has_tpm, Privilege::Clone)?;
        Ok(exactly)
    }

    /// See [`crate::Operations::capture`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn capture(&self, request: &Capture) -> Result<Job> {
        let request = self.may_capture(request)?;
        self.act(|operations| operations.capture(&request))
    }

    /// What [`Self::capture`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_capture(&self, request: &Capture) -> Result<Preview> {
        let request = self.may_capture(request)?;
        self.operations.preview_capture(&request)
    }

    fn may_instantiate(
        &self,
        template: &str,
        request: &Instantiate,
    ) -> Result<(String, Instantiate)> {
        let (template, exact) = self.own_template(template)?;
        let request = Instantiate {
            organization: self.own_organization(request.organization.as_ref())?,
            vdc: self.exact_vdc(request.vdc.as_deref())?,
            ..request.clone()
        };
        // A VM outside vApps is the system's.
        let right = if request.standalone {
            Right::Infrastructure
        } else {
            Right::Build
        };
        self.principal.need(right)?;
        if let Some(privilege) = needed_for(&template) {
            self.principal.need_privilege(privilege)?;
        }
        Ok((exact, request))
    }

    /// See [`crate::Operations::instantiate`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn instantiate(&self, template: &str, request: &Instantiate) -> Result<Job> {
        let (template, request) = self.may_instantiate(template, request)?;
        self.act(|operations| operations.instantiate(&template, &request))
    }

    /// What [`Self::instantiate`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_instantiate(&self, template: &str, request: &Instantiate) -> Result<Preview> {
        let (template, request) = self.may_instantiate(template, request)?;
        self.operations.preview_instantiate(&template, &request)
    }

    /// See [`crate::Operations::delete_template`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn delete_template(&self, template: &str) -> Result<Job> {
        let (_, template) = self.own_template(template)?;
        self.principal.need(Right::Catalogs)?;
        self.act(|operations| operations.delete_template(&template))
    }

    /// What [`Self::delete_template`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_delete_template(&self, template: &str) -> Result<Preview> {
        let (_, template) = self.own_template(template)?;
        self.principal.need(Right::Catalogs)?;
        self.operations.preview_delete_template(&template)
    }
}

/// What instances of a template take: a clone of its TPMs, or new ones.
pub(super) fn needed_for(template: &Template) -> Option<Privilege> {
    template.has_tpm().then_some(match template.provisioning {
        TpmProvisioning::Copy => Privilege::Clone,
        TpmProvisioning::Replace => Privilege::EncryptNew,
    })
}
