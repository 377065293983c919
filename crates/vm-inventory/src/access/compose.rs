//! vApps made of parts, and powered as a whole, as one user has them.

use super::scoped::exact;
use super::vapps::needed_for;
use super::{Right, Scoped};
use crate::Result;
use crate::model::{PowerState, Privilege};
use crate::operation::{Compose, Job, Part, Preview};

impl Scoped {
    /// The parts of a vApp by names that mean nothing else.
    fn exact_parts(&self, parts: &[Part]) -> Result<Vec<Part>> {
        let mut needs = Vec::new();
        let mut all = Vec::with_capacity(parts.len());
        for part in parts {
            let mut part = part.clone();
            match &mut part {
                Part::New { vm, .. } => needs.extend(vm.tpm.then_some(Privilege::EncryptNew)),
                Part::Copy { vm, .. } => {
                    let found = self.own_vm(vm)?;
                    needs.extend(found.is_encrypted().then_some(Privilege::Clone));
                    *vm = found.id.to_string();
                }
                Part::Move { vm, .. } => {
                    let found = self.own_vm(vm)?;
                    needs.extend(found.is_encrypted().then_some(Privilege::Migrate));
                    *vm = found.id.to_string();
                }
                Part::Template { template, .. } => {
                    let (found, exact) = self.own_template(template)?;
                    needs.extend(needed_for(&found));
                    *template = exact;
                }
            }
            all.push(part);
        }
        self.principal.need(Right::Build)?;
        for privilege in needs {
            self.principal.need_privilege(privilege)?;
        }
        Ok(all)
    }

    /// See [`crate::Operations::compose`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn compose(&self, request: &Compose) -> Result<Job> {
        let mut exactly = request.clone();
        if let Some(vdc) = self.exact_vdc(Some(&request.vdc))? {
            exactly.vdc = vdc;
        }
        if let Some(source) = &request.source {
            exactly.source = Some(exact(&self.own_vapp(source)?));
        }
        exactly.parts = self.exact_parts(&request.parts)?;
        self.act(|operations| operations.compose(&exactly))
    }

    /// See [`crate::Operations::recompose`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn recompose(&self, vapp: &str, parts: &[Part], removed: &[String]) -> Result<Job> {
        let vapp = exact(&self.own_vapp(vapp)?);
        let parts = self.exact_parts(parts)?;
        let mut gone = Vec::with_capacity(removed.len());
        for vm in removed {
            gone.push(self.own_vm(vm)?.id.to_string());
        }
        self.act(|operations| operations.recompose(&vapp, &parts, &gone))
    }

    /// See [`crate::Operations::power_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn power_vapp(&self, vapp: &str, power: PowerState) -> Result<Job> {
        let vapp = exact(&self.own_vapp(vapp)?);
        self.principal.need(Right::Power)?;
        self.act(|operations| operations.power_vapp(&vapp, power))
    }

    /// See [`crate::Operations::discard_suspended_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn discard_suspended_vapp(&self, vapp: &str) -> Result<Job> {
        let vapp = exact(&self.own_vapp(vapp)?);
        self.principal.need(Right::Power)?;
        self.act(|operations| operations.discard_suspended_vapp(&vapp))
    }

    /// What [`Self::power_vapp`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_power_vapp(&self, vapp: &str, power: PowerState) -> Result<Preview> {
        let vapp = exact(&self.own_vapp(vapp)?);
        self.principal.need(Right::Power)?;
        self.operations.preview_power_vapp(&vapp, power)
    }
}
