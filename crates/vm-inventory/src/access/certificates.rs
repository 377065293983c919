//! Certificates of TPMs, and the authorities of vCenters, as one user has them.

use super::{Right, Scoped};
use crate::certificates::{
    AuthorityChange, AuthorityView, Der, DeviceKey, EndorsementKey, Revoked, WantedDeviceKey,
};
use crate::model::Privilege;
use crate::operation::Job;
use crate::{Name, Result};

impl Scoped {
    /// See [`crate::Operations::authority`]. Whoever judges a TPM needs it, so it is no secret.
    ///
    /// # Errors
    /// The operation's, or that the user may not see it.
    pub fn authority(&self, vcenter: Option<&Name>) -> Result<AuthorityView> {
        self.principal.need(Right::Look)?;
        self.operations.authority(vcenter)
    }

    /// See [`crate::Operations::change_authority`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn change_authority(
        &self,
        vcenter: Option<&Name>,
        change: &AuthorityChange,
    ) -> Result<AuthorityView> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.change_authority(vcenter, change))
    }

    /// See [`crate::Operations::authority_request`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn authority_request(&self, vcenter: Option<&Name>) -> Result<Der> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.authority_request(vcenter))
    }

    /// See [`crate::Operations::set_authority_certificate`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn set_authority_certificate(
        &self,
        vcenter: Option<&Name>,
        certificates: &str,
    ) -> Result<AuthorityView> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.set_authority_certificate(vcenter, certificates))
    }

    /// See [`crate::Operations::revoke_certificates`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn revoke_certificates(
        &self,
        vcenter: Option<&Name>,
        vm: Option<&str>,
        serial: Option<&str>,
    ) -> Result<Vec<Revoked>> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.revoke_certificates(vcenter, vm, serial))
    }

    /// See [`crate::Operations::revocation_lists`].
    ///
    /// # Errors
    /// The operation's, or that the user may not see it.
    pub fn revocation_lists(&self, vcenter: Option<&Name>) -> Result<Vec<Der>> {
        self.principal.need(Right::Look)?;
        self.operations.revocation_lists(vcenter)
    }

    /// See [`crate::Operations::endorsement_keys`].
    ///
    /// # Errors
    /// The operation's, or that the user may not see them.
    pub fn endorsement_keys(&self, vm: &str) -> Result<Vec<EndorsementKey>> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Look)?;
        self.operations.endorsement_keys(&vm.id.to_string())
    }

    /// See [`crate::Operations::set_ek_certificate`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn set_ek_certificate(&self, vm: &str, certificate: String) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.principal.need_privilege(Privilege::Encrypt)?;
        let id = vm.id.to_string();
        self.act(|operations| operations.set_ek_certificate(&id, certificate))
    }

    /// See [`crate::Operations::issue_ek_certificates`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn issue_ek_certificates(&self, vm: &str) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.principal.need_privilege(Privilege::Encrypt)?;
        let id = vm.id.to_string();
        self.act(|operations| operations.issue_ek_certificates(&id))
    }

    /// See [`crate::Operations::device_keys`].
    ///
    /// # Errors
    /// The operation's, or that the user may not see them.
    pub fn device_keys(&self, vm: &str) -> Result<Vec<DeviceKey>> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Look)?;
        self.operations.device_keys(&vm.id.to_string())
    }

    /// See [`crate::Operations::make_device_keys`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn make_device_keys(&self, vm: &str, wanted: Vec<WantedDeviceKey>) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.principal.need_privilege(Privilege::Encrypt)?;
        let id = vm.id.to_string();
        self.act(|operations| operations.make_device_keys(&id, wanted))
    }

    /// See [`crate::Operations::set_device_certificate`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn set_device_certificate(&self, vm: &str, certificate: String) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.principal.need_privilege(Privilege::Encrypt)?;
        let id = vm.id.to_string();
        self.act(|operations| operations.set_device_certificate(&id, certificate))
    }
}
