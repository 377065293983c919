//! What belongs to no organization, and organizations themselves, as one user has them.

use super::{Right, Scoped};
use crate::audit::{AuditCheck, AuditEntry};
use crate::model::{CloudSettings, Datastore, Organization, Privilege, Role, User, VCenter};
use crate::operation::{
    BackupFile, CreateProvider, CreateVCenter, CreateVdc, Job, KeyUse, Preview, ProviderStatus,
    ProviderView, RekeyAll, RestoreProvider, UserView, VdcView,
};
use crate::{Name, Result};

impl Scoped {
    /// Whether the user looks after key providers, in one way or another.
    pub(super) fn need_keys(&self, privilege: Privilege) -> Result<()> {
        // Nobody else is told which providers there are.
        self.look_at_infrastructure()?;
        self.principal.need_privilege(privilege)
    }

    /// Every user of the system may look at it; what organizations have is no part of it.
    fn look_at_infrastructure(&self) -> Result<()> {
        if self.principal.is_system() {
            self.principal.need(Right::Look)
        } else {
            self.principal.need(Right::Infrastructure)
        }
    }

    /// Every vCenter.
    ///
    /// # Errors
    /// When the user may not see them.
    pub fn vcenters(&self) -> Result<Vec<VCenter>> {
        self.look_at_infrastructure()?;
        self.operations.vcenters()
    }

    /// See [`crate::Operations::create_vcenter`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_vcenter(&self, request: CreateVCenter) -> Result<VCenter> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.create_vcenter(request))
    }

    /// See [`crate::Operations::trust`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn trust(&self, one: &Name, other: &Name) -> Result<()> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.trust(one, other))
    }

    /// Every datastore.
    ///
    /// # Errors
    /// When the user may not see them.
    pub fn datastores(&self) -> Result<Vec<Datastore>> {
        self.look_at_infrastructure()?;
        self.operations.datastores()
    }

    /// See [`crate::Operations::create_datastore`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_datastore(&self, name: Name, vcenters: Vec<Name>) -> Result<Datastore> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.create_datastore(name, vcenters))
    }

    /// See [`crate::Operations::share_datastore`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn share_datastore(&self, name: &Name, vcenter: &Name) -> Result<Datastore> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.share_datastore(name, vcenter))
    }

    /// Settings of the whole installation.
    ///
    /// # Errors
    /// When the user may not see them.
    pub fn cloud_settings(&self) -> Result<CloudSettings> {
        self.look_at_infrastructure()?;
        self.operations.cloud_settings()
    }

    /// See [`crate::Operations::change_cloud_settings`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn change_cloud_settings(&self, settings: CloudSettings) -> Result<CloudSettings> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.change_cloud_settings(settings))
    }

    /// Every key provider.
    ///
    /// # Errors
    /// When the user may not see them.
    pub fn providers(&self) -> Result<Vec<ProviderView>> {
        self.need_keys(Privilege::ReadKeyServersInfo)?;
        self.operations.providers()
    }

    /// One key provider.
    ///
    /// # Errors
    /// When there is none, or the user may not see it.
    pub fn provider(&self, vcenter: Option<&Name>, name: &Name) -> Result<ProviderView> {
        self.need_keys(Privilege::ReadKeyServersInfo)?;
        self.operations.provider(vcenter, name)
    }

    /// See [`crate::Operations::provider_status`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn provider_status(&self, vcenter: Option<&Name>, name: &Name) -> Result<ProviderStatus> {
        self.need_keys(Privilege::ReadKeyServersInfo)?;
        self.operations.provider_status(vcenter, name)
    }

    /// See [`crate::Operations::provider_keys`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn provider_keys(&self, vcenter: Option<&Name>, name: &Name) -> Result<Vec<KeyUse>> {
        self.need_keys(Privilege::ReadKeyServersInfo)?;
        self.operations.provider_keys(vcenter, name)
    }

    /// See [`crate::Operations::create_provider`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_provider(&self, request: CreateProvider) -> Result<ProviderView> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.create_provider(request))
    }

    /// See [`crate::Operations::restore_provider`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn restore_provider(&self, request: RestoreProvider<'_>) -> Result<ProviderView> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.restore_provider(request))
    }

    /// See [`crate::Operations::back_up_provider`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn back_up_provider(
        &self,
        vcenter: Option<&Name>,
        name: &Name,
        password: &str,
    ) -> Result<BackupFile> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.back_up_provider(vcenter, name, password))
    }

    /// See [`crate::Operations::provider_csr`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn provider_csr(&self, vcenter: Option<&Name>, name: &Name) -> Result<String> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.provider_csr(vcenter, name))
    }

    /// See [`crate::Operations::set_provider_certificate`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn set_provider_certificate(
        &self,
        vcenter: Option<&Name>,
        name: &Name,
        certificate: &str,
    ) -> Result<ProviderView> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.set_provider_certificate(vcenter, name, certificate))
    }

    /// See [`crate::Operations::forget_keys`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn forget_keys(&self, vcenter: Option<&Name>, name: &Name) -> Result<usize> {
        self.manage_keys(Privilege::ManageKeys)?;
        self.act(|operations| operations.forget_keys(vcenter, name))
    }

    /// See [`crate::Operations::rekey_provider`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn rekey_provider(&self, name: &Name, request: RekeyAll) -> Result<Job> {
        self.manage_keys(Privilege::Recrypt)?;
        self.act(|operations| operations.rekey_provider(name, request))
    }

    /// What [`Self::rekey_provider`] would do.
    ///
    /// # Errors
    /// The same.
    pub fn preview_rekey_provider(&self, name: &Name, request: &RekeyAll) -> Result<Preview> {
        self.manage_keys(Privilege::Recrypt)?;
        self.operations.preview_rekey_provider(name, request)
    }

    pub(super) fn manage_keys(&self, privilege: Privilege) -> Result<()> {
        self.principal.need(Right::Infrastructure)?;
        self.principal.need_privilege(privilege)
    }

    /// The user's organization, or every one.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn organizations(&self) -> Result<Vec<Organization>> {
        self.principal.need(Right::Look)?;
        let mut all = self.operations.organizations()?;
        all.retain(|it| self.sees(&it.name));
        Ok(all)
    }

    /// At most so many of them, after the one of that name; `None` if it is not among them.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn some_organizations(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Option<Vec<Organization>>> {
        self.principal.need(Right::Look)?;
        match self.organization() {
            // Its own is the only one.
            Some(own) if after.is_none() => Ok(Some(
                self.operations
                    .organizations()?
                    .into_iter()
                    .filter(|it| it.name == *own)
                    .collect(),
            )),
            Some(own) => Ok(after
                .filter(|after| *after == own.as_str())
                .map(|_| Vec::new())),
            None => self.operations.some_of(None, after, most),
        }
    }

    /// See [`crate::Operations::create_organization`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_organization(&self, name: Name) -> Result<Organization> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.create_organization(name))
    }

    /// Every user of an organization, or of all that the user sees.
    ///
    /// # Errors
    /// When the user may not see them.
    pub fn users(&self, organization: Option<&Name>) -> Result<Vec<UserView>> {
        let organization = self.own_organization(organization)?;
        self.principal.need(Right::Organization)?;
        self.operations.users(organization.as_ref())
    }

    /// At most so many of all that the user sees, after the one of that `ORGANIZATION/NAME`; `None` if it is not among them.
    ///
    /// # Errors
    /// When the inventory fails, or the user may not look at them.
    pub fn some_users(&self, after: Option<&str>, most: usize) -> Result<Option<Vec<UserView>>> {
        self.principal.need(Right::Organization)?;
        let found = self.operations.some_of(self.organization(), after, most)?;
        Ok(found.map(|users: Vec<User>| users.into_iter().map(UserView::from).collect()))
    }

    /// See [`crate::Operations::create_user`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_user(
        &self,
        organization: Option<&Name>,
        name: Name,
        role: Role,
        password: &str,
    ) -> Result<UserView> {
        let organization = self.own_organization(organization)?;
        self.principal.need(Right::Organization)?;
        // Nobody gives away more than they have.
        for privilege in Privilege::ALL {
            if role.has(*privilege) {
                self.principal.need_privilege(*privilege)?;
            }
        }
        self.act(|operations| operations.create_user(organization.as_ref(), name, role, password))
    }

    /// See [`crate::Operations::create_vdc`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn create_vdc(&self, request: CreateVdc) -> Result<VdcView> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.create_vdc(request))
    }

    /// Entries of the audit log after number `after` that the user sees, the oldest first, so many at most.
    ///
    /// # Errors
    /// When the user may not see them.
    pub fn audit(&self, after: u64, most: usize) -> Result<Vec<AuditEntry>> {
        self.principal.need(Right::Organization)?;
        let Some(organization) = self.organization() else {
            return self.operations.audit(after, most);
        };
        let mut entries = self.operations.audit(after, usize::MAX)?;
        entries.retain(|entry| entry.organization.as_deref() == Some(organization.as_str()));
        entries.truncate(most);
        Ok(entries)
    }

    /// Entries of the audit log before a number, or the last ones, the newest first, so many at most.
    ///
    /// # Errors
    /// When the user may not see them.
    pub fn audit_before(&self, before: Option<u64>, most: usize) -> Result<Vec<AuditEntry>> {
        self.principal.need(Right::Organization)?;
        let own = self.organization().map(Name::as_str);
        self.operations.audit_before(before, most, |entry| {
            own.is_none_or(|own| entry.organization.as_deref() == Some(own))
        })
    }

    /// See [`crate::Operations::check_audit`]. The log is one for all, so only the system looks through it.
    ///
    /// # Errors
    /// When the user may not do it.
    pub fn check_audit(&self) -> Result<AuditCheck> {
        self.look_at_infrastructure()?;
        self.principal.need(Right::Organization)?;
        self.operations.check_audit()
    }
}
