//! Packages as one user may upload and download them.

use super::scoped::exact;
use super::{Right, Scoped};
use crate::Result;
use crate::model::Privilege;
use crate::operation::{Export, ExportPackage, ImportPackage, Job, Preview};
use std::io::Read;

impl Scoped {
    fn may_import_package(&self, request: &ImportPackage) -> Result<ImportPackage> {
        let mut request = request.clone();
        let right = match &request.catalog {
            Some(catalog) => {
                request.catalog = Some(self.own_catalog(catalog)?.1);
                Right::Catalogs
            }
            None => {
                request.vdc = self.exact_vdc(request.vdc.as_deref())?;
                // A VM outside vApps is the system's.
                if request.standalone {
                    Right::Infrastructure
                } else {
                    Right::Build
                }
            }
        };
        request.organization = self.own_organization(request.organization.as_ref())?;
        self.principal.need(right)?;
        Ok(request)
    }

    /// See [`crate::Operations::import_package`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn import_package(&self, request: &ImportPackage, package: &mut dyn Read) -> Result<Job> {
        let request = self.may_import_package(request)?;
        // Saving a template takes the same whether it comes from a vApp or from a package.
        let privilege = match &request.catalog {
            Some(_) => Privilege::Clone,
            None => Privilege::EncryptNew,
        };
        let permit = |tpm| self.need_for_tpm(tpm, privilege);
        self.act(|operations| operations.take_package(&request, package, &permit))
    }

    /// What [`Self::import_package`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_import_package(
        &self,
        request: &ImportPackage,
        package: &mut dyn Read,
    ) -> Result<Preview> {
        let request = self.may_import_package(request)?;
        self.operations.preview_import_package(&request, package)
    }

    /// See [`crate::Operations::export_package`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn export_package(&self, what: &ExportPackage) -> Result<Export> {
        let (what, right) = match what {
            ExportPackage::Vapp(vapp) => (
                ExportPackage::Vapp(exact(&self.own_vapp(vapp)?)),
                Right::Build,
            ),
            ExportPackage::Vm(vm) => {
                let id = self.own_vm(vm)?.id.to_string();
                (ExportPackage::Vm(id), Right::Build)
            }
            ExportPackage::Template(template) => {
                let exact = self.own_template(template)?.1;
                (ExportPackage::Template(exact), Right::Catalogs)
            }
        };
        self.principal.need(right)?;
        self.act(|operations| operations.export_package(&what))
    }
}
