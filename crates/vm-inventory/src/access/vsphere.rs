//! What the vSphere API asks for besides the rest, as one user has it.

use super::{Right, Scoped};
use crate::key_server::{KeyServer, Secret};
use crate::model::Privilege;
use crate::operation::{
    EncryptVm, Job, KeyState, ProviderView, Relocate, VCenterOptions, VmHardware,
};
use crate::provisioning::TpmProvisioning;
use crate::{CloneVm, Name, Rekey, Result};

impl Scoped {
    /// See [`crate::Operations::relocate_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn relocate_vm(&self, vm: &str, request: &Relocate) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Infrastructure)?;
        self.need_for_tpm(vm.is_encrypted(), Privilege::Migrate)?;
        self.act(|operations| operations.relocate_vm(&vm.id.to_string(), request))
    }

    /// See [`crate::Operations::clone_vm_to`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn clone_vm_to(&self, vm: &str, vcenter: &Name, request: &CloneVm) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Infrastructure)?;
        self.need_for_tpm(vm.is_encrypted(), Privilege::Clone)?;
        self.act(|operations| operations.clone_vm_to(&vm.id.to_string(), vcenter, request))
    }

    /// See [`crate::Operations::rekey_vm_under`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn rekey_vm_under(&self, vm: &str, request: Rekey, key_id: Option<&str>) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.principal.need_privilege(Privilege::Recrypt)?;
        if request.provider.is_some() || key_id.is_some() {
            self.principal.need(Right::Infrastructure)?;
        }
        self.act(|operations| operations.rekey_vm_under(&vm.id.to_string(), request, key_id))
    }

    /// See [`crate::Operations::encrypt_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn encrypt_vm(&self, vm: &str, request: EncryptVm) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.principal.need_privilege(Privilege::Encrypt)?;
        if request.provider.is_some() || request.key_id.is_some() {
            self.principal.need(Right::Infrastructure)?;
        }
        self.act(|operations| operations.encrypt_vm(&vm.id.to_string(), request))
    }

    /// See [`crate::Operations::decrypt_vm`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn decrypt_vm(&self, vm: &str) -> Result<Job> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.principal.need_privilege(Privilege::Decrypt)?;
        self.act(|operations| operations.decrypt_vm(&vm.id.to_string()))
    }

    /// See [`crate::Operations::vm_hardware`].
    ///
    /// # Errors
    /// When the user sees no such VM.
    pub fn vm_hardware(&self, vm: &str) -> Result<VmHardware> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Look)?;
        self.operations.vm_hardware(&vm.id.to_string())
    }

    /// See [`crate::Operations::change_vm_hardware`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn change_vm_hardware(
        &self,
        vm: &str,
        change: impl FnOnce(&mut VmHardware),
    ) -> Result<VmHardware> {
        let vm = self.own_vm(vm)?;
        self.principal.need(Right::Build)?;
        self.act(|operations| operations.change_vm_hardware(&vm.id.to_string(), change))
    }

    /// See [`crate::Operations::set_default_provider`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn set_default_provider(&self, vcenter: &Name, name: Option<&Name>) -> Result<()> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.set_default_provider(vcenter, name))
    }

    /// See [`crate::Operations::remove_provider`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn remove_provider(&self, vcenter: &Name, name: &Name) -> Result<()> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.remove_provider(vcenter, name))
    }

    /// See [`crate::Operations::register_key_server`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn register_key_server(
        &self,
        vcenter: &Name,
        provider: &Name,
        server: &str,
        address: &str,
        replace: bool,
    ) -> Result<ProviderView> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| {
            operations.register_key_server(vcenter, provider, server, address, replace)
        })
    }

    /// See [`crate::Operations::remove_key_server`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn remove_key_server(&self, vcenter: &Name, provider: &Name, server: &str) -> Result<()> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.remove_key_server(vcenter, provider, server))
    }

    /// See [`crate::Operations::trust_key_server`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn trust_key_server(
        &self,
        vcenter: &Name,
        provider: &Name,
        certificate: &str,
    ) -> Result<ProviderView> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.trust_key_server(vcenter, provider, certificate))
    }

    /// See [`crate::Operations::certificate_of_key_server`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn certificate_of_key_server(&self, address: &str) -> Result<String> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.operations.certificate_of_key_server(address)
    }

    /// See [`crate::Operations::set_client_identity`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn set_client_identity(
        &self,
        vcenter: &Name,
        provider: &Name,
        certificate: &str,
        key: &Secret,
    ) -> Result<ProviderView> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.set_client_identity(vcenter, provider, certificate, key))
    }

    /// See [`crate::Operations::self_signed_identity`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn self_signed_identity(&self, vcenter: &Name, provider: &Name) -> Result<String> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.self_signed_identity(vcenter, provider))
    }

    /// See [`crate::Operations::client_request`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn client_request(&self, vcenter: &Name, provider: &Name) -> Result<String> {
        self.manage_keys(Privilege::ManageKeyServers)?;
        self.act(|operations| operations.client_request(vcenter, provider))
    }

    /// See [`crate::Operations::key_server_setup`].
    ///
    /// # Errors
    /// When there is none, or the user may not see it.
    pub fn key_server_setup(&self, vcenter: &Name, provider: &Name) -> Result<KeyServer> {
        self.need_keys(Privilege::ReadKeyServersInfo)?;
        self.operations.key_server_setup(vcenter, provider)
    }

    /// See [`crate::Operations::make_key`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn make_key(&self, vcenter: &Name, provider: Option<&Name>) -> Result<(Name, String)> {
        self.manage_keys(Privilege::ManageKeys)?;
        self.act(|operations| operations.make_key(vcenter, provider))
    }

    /// See [`crate::Operations::key_state`].
    ///
    /// # Errors
    /// When there is no such provider, or the user may not see it.
    pub fn key_state(&self, vcenter: &Name, provider: &Name, key_id: &str) -> Result<KeyState> {
        self.need_keys(Privilege::ReadKeyServersInfo)?;
        self.operations.key_state(vcenter, provider, key_id)
    }

    /// See [`crate::Operations::vcenter_options`].
    ///
    /// # Errors
    /// When there is no such vCenter, or the user may not see it.
    pub fn vcenter_options(&self, vcenter: &Name) -> Result<VCenterOptions> {
        self.principal.need(Right::Look)?;
        self.operations.vcenter_options(vcenter)
    }

    /// See [`crate::Operations::set_clone_policy`].
    ///
    /// # Errors
    /// The operation's, or that the user may not do it.
    pub fn set_clone_policy(&self, vcenter: &Name, policy: TpmProvisioning) -> Result<()> {
        self.principal.need(Right::Infrastructure)?;
        self.act(|operations| operations.set_clone_policy(vcenter, policy))
    }
}
