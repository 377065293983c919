//! What people say about things, as one user has it; and users that go or get another role.

use super::scoped::exact;
use super::{Right, Scoped};
use crate::model::{Privilege, Role};
use crate::operation::{Job, Remarked, Remarks, UserView};
use crate::task::Task;
use crate::{Error, Name, Result};

impl Scoped {
    /// A thing that the user sees, by what means nothing else; and the right that changing what is said about it takes.
    fn own_remarked(&self, of: &Remarked) -> Result<(Remarked, Right)> {
        Ok(match of {
            Remarked::Vm(vm) => (Remarked::Vm(self.own_vm(vm)?.id.to_string()), Right::Build),
            Remarked::Vapp(vapp) => (Remarked::Vapp(exact(&self.own_vapp(vapp)?)), Right::Build),
            Remarked::Template(template) => (
                Remarked::Template(self.own_template(template)?.1),
                Right::Catalogs,
            ),
            Remarked::Catalog(catalog) => (
                Remarked::Catalog(self.own_catalog(catalog)?.1),
                Right::Catalogs,
            ),
            Remarked::Vdc(vdc) => {
                let exact = self.exact_vdc(Some(vdc))?.unwrap_or_else(|| vdc.clone());
                (Remarked::Vdc(exact), Right::Organization)
            }
        })
    }

    /// See [`crate::Operations::remarks`].
    ///
    /// # Errors
    /// The operation's, or that the user may not look.
    pub fn remarks(&self, of: &Remarked) -> Result<Remarks> {
        self.principal.need(Right::Look)?;
        let (of, _) = self.own_remarked(of)?;
        self.operations.remarks(&of)
    }

    /// See [`crate::Operations::change_remarks`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn change_remarks(
        &self,
        of: &Remarked,
        change: impl FnOnce(&mut Remarks) -> Result<()>,
    ) -> Result<Task> {
        let (of, right) = self.own_remarked(of)?;
        self.principal.need(right)?;
        self.act(|operations| operations.change_remarks(&of, change))
    }

    /// See [`crate::Operations::delete_running_vapp`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn delete_running_vapp(&self, vapp: &str) -> Result<Job> {
        let vapp = self.may_delete_vapp(vapp)?;
        self.act(|operations| operations.delete_running_vapp(&vapp))
    }

    /// Who is about to be changed: a user of an organization, and not oneself.
    fn another(&self, organization: &Name, name: &Name) -> Result<()> {
        self.own_organization(Some(organization))?;
        self.principal.need(Right::Organization)?;
        if self.organization() == Some(organization) && self.principal.name == *name {
            return Err(Error::BadValue(
                "nobody takes away their own rights; let another administrator do it".to_owned(),
            ));
        }
        Ok(())
    }

    /// See [`crate::Operations::remove_user`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn remove_user(&self, organization: &Name, name: &Name) -> Result<()> {
        self.another(organization, name)?;
        self.act(|operations| operations.remove_user(organization, name))
    }

    /// See [`crate::Operations::enable_user`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn enable_user(&self, organization: &Name, name: &Name, enabled: bool) -> Result<()> {
        self.another(organization, name)?;
        self.act(|operations| operations.enable_user(organization, name, enabled))
    }

    /// See [`crate::Operations::is_enabled`].
    ///
    /// # Errors
    /// The operation's, or that the user sees no such organization.
    pub fn is_enabled(&self, organization: &Name, name: &Name) -> Result<bool> {
        self.own_organization(Some(organization))?;
        self.operations.is_enabled(organization, name)
    }

    /// See [`crate::Operations::change_user_role`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn change_user_role(
        &self,
        organization: &Name,
        name: &Name,
        role: Role,
    ) -> Result<UserView> {
        self.another(organization, name)?;
        // Nobody gives away more than they have.
        for privilege in Privilege::ALL {
            if role.has(*privilege) {
                self.principal.need_privilege(*privilege)?;
            }
        }
        self.act(|operations| operations.change_user_role(organization, name, role))
    }
}
