//! VMs as people and programs see them.

use super::Operations;
use crate::certificates::CertificateView;
use crate::guest::GuestOs;
use crate::model::{
    Firmware, Locked, PowerState, SocketKind, SourceVm, Timestamp, VappRef, Vm, VmId,
};
use crate::provisioning::TpmAction;
use crate::snapshot::Revert;
use crate::task::{Task, TaskId};
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A VM with its TPM: what `vtpm vm show` prints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VmView {
    /// Its name.
    pub name: Name,
    /// Its identifier.
    pub id: VmId,
    /// Identifies this instance of its state.
    pub instance_id: Uuid,
    /// Where it is registered.
    pub vcenter: Name,
    /// The vApp it belongs to.
    pub vapp: Option<VappRef>,
    /// Where its files are.
    pub datastore: Name,
    /// Its folder there.
    pub folder: Name,
    /// Whether it runs.
    pub power: PowerState,
    /// Its firmware.
    pub firmware: Firmware,
    /// Its hardware version.
    pub hardware_version: u16,
    /// Its guest.
    pub guest: GuestOs,
    /// The key provider that holds its key.
    pub provider: Option<Name>,
    /// Whether it is encrypted for itself, and so stays encrypted without a TPM.
    #[serde(default)]
    pub encrypted: bool,
    /// How its TPM is reached.
    pub socket: SocketKind,
    /// When it was made.
    pub created: Timestamp,
    /// How many snapshots it has.
    #[serde(default)]
    pub snapshot_count: usize,
    /// The latest reverts to snapshots, the oldest first.
    #[serde(default)]
    pub reverts: Vec<Revert>,
    /// Why it cannot be powered on: its key could not be had when that was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<Locked>,
    /// The id of its key at the provider; told of one VM, not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Its TPM.
    pub tpm: TpmView,
}

/// The TPM of a VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TpmView {
    /// Whether there is one; nothing else is set if not.
    pub present: bool,
    /// Name of its RSA-2048 endorsement key, in hexadecimal.
    pub ek_name: Option<String>,
    /// How it came to be: new, copy or replace.
    pub origin: Option<TpmAction>,
    /// The VM it was copied from, or whose TPM it replaced.
    pub source: Option<SourceVm>,
    /// The certificates in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateView>,
    /// A value that `TPM2TOOLS_TCTI` takes, while the VM is on.
    pub tcti: Option<String>,
    /// Path or address of the control channel, while the VM is on.
    pub control: Option<String>,
}

impl Operations {
    /// Every VM, by vCenter and name.
    ///
    /// # Errors
    /// When the inventory fails.
    pub fn vms(&self) -> Result<Vec<VmView>> {
        let mut views: Vec<VmView> = self
            .inventory
            .all::<Vm>()?
            .into_iter()
            .map(|stored| self.view(stored.record))
            .collect::<Result<_>>()?;
        views.sort_by(|a, b| (&a.vcenter, &a.name).cmp(&(&b.vcenter, &b.name)));
        Ok(views)
    }

    /// At most so many VMs of an organization, or of all, in the order of [`Self::vms`], after one of them; `None` if that one is not
    /// among them. What it costs depends on `most` only.
    pub(crate) fn some_vms(
        &self,
        organization: Option<&Name>,
        after: Option<VmId>,
        most: usize,
    ) -> Result<Option<Vec<VmView>>> {
        let page = self
            .inventory
            .index()
            .page_of_vms(organization, after, most);
        let Some(ids) = page else {
            return Ok(None);
        };
        let mut views = Vec::with_capacity(ids.len());
        for id in ids {
            // One that is gone since is in no list any more.
            if let Some(vm) = self.inventory.find::<Vm>(&Vm::key_of(id))? {
                views.push(self.view(vm.record)?);
            }
        }
        Ok(Some(views))
    }

    /// At most so many tasks of an organization, or of all, the newest first, after one of them.
    pub(crate) fn some_tasks(
        &self,
        organization: Option<&Name>,
        after: Option<TaskId>,
        most: usize,
    ) -> Result<Option<Vec<Task>>> {
        let page = self
            .inventory
            .index()
            .page_of_tasks(organization, after, most);
        let Some(ids) = page else {
            return Ok(None);
        };
        let mut tasks = Vec::with_capacity(ids.len());
        for id in ids {
            match self.task(id) {
                Ok(task) => tasks.push(task),
                Err(Error::NotFound { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(Some(tasks))
    }

    /// One VM by its name or id.
    ///
    /// # Errors
    /// When there is none, or the name is ambiguous.
    pub fn vm(&self, reference: &str) -> Result<VmView> {
        let vm = self.inventory.vm(reference)?.record;
        let binding = match self.inventory.datastore(vm.datastore.as_str()) {
            Ok(datastore) => self.files.binding(&vm, &datastore.record).ok().flatten(),
            Err(_) => None,
        };
        let mut view = self.view(vm)?;
        view.key_id = binding.map(|binding| binding.locator.key_id.as_str().to_owned());
        Ok(view)
    }

    pub(super) fn view(&self, vm: Vm) -> Result<VmView> {
        let snapshots = self.tree(vm.id)?;
        let endpoint = self.machines.endpoint(vm.id);
        let (tcti, control) = endpoint.map(|at| (at.tcti, at.control)).unzip();
        let present = vm.tpm.is_some();
        let certificates = vm.tpm.as_ref().map(|tpm| tpm.certificates.views());
        let (ek_name, origin, source) = match vm.tpm {
            Some(tpm) => (Some(tpm.ek_name), Some(tpm.origin), tpm.source),
            None => (None, None, None),
        };
        Ok(VmView {
            name: vm.name,
            id: vm.id,
            instance_id: vm.instance_id,
            vcenter: vm.vcenter,
            vapp: vm.vapp,
            datastore: vm.datastore,
            folder: vm.folder,
            power: vm.power,
            firmware: vm.firmware,
            hardware_version: vm.hardware_version,
            guest: vm.guest,
            provider: vm.provider,
            encrypted: vm.encrypted,
            socket: vm.socket,
            created: vm.created,
            snapshot_count: snapshots.snapshots.len(),
            reverts: snapshots.reverts,
            locked: vm.locked,
            key_id: None,
            tpm: TpmView {
                present,
                ek_name,
                origin,
                source,
                certificates: certificates.unwrap_or_default(),
                tcti,
                control,
            },
        })
    }
}
