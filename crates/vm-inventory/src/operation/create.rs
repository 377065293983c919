//! Creating a VM.

use super::adopt::Adopted;
use super::{Job, Like, Operations, TpmBytes, TpmMakerError, planned};
use crate::certificates::TpmCertificates;
use crate::files::contents;
use crate::guest::GuestOs;
use crate::inventory::Transaction;
use crate::model::{Firmware, SocketKind, Timestamp, VCenter, Vm, VmTpm};
use crate::provisioning::{self, Operation, TpmAction};
use crate::task::Task;
use crate::{Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A request to create a VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVm {
    /// Its name.
    pub name: Name,
    /// Where; the only vCenter there is if left out.
    #[serde(default)]
    pub vcenter: Option<Name>,
    /// Where its files go; the first datastore that the vCenter sees if left out.
    #[serde(default)]
    pub datastore: Option<Name>,
    /// Whether it gets a TPM.
    #[serde(default)]
    pub tpm: bool,
    /// What its TPM is like: the name of a profile, or JSON; the default profile if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Its firmware; EFI if left out.
    #[serde(default)]
    pub firmware: Option<Firmware>,
    /// Its hardware version; the newest that the vCenter knows if left out.
    #[serde(default)]
    pub hardware_version: Option<u16>,
    /// Its guest; `ubuntu64Guest` if left out.
    #[serde(default)]
    pub guest: Option<GuestOs>,
    /// The key provider for its key; the vCenter's default if left out.
    #[serde(default)]
    pub provider: Option<Name>,
    /// How its TPM is reached.
    #[serde(default)]
    pub socket: SocketKind,
    /// Leave `TPM2_Startup` to the firmware or the client.
    #[serde(default)]
    pub no_startup: bool,
}

impl CreateVm {
    /// A request with every default: no TPM.
    #[must_use]
    pub fn named(name: Name) -> Self {
        Self {
            name,
            vcenter: None,
            datastore: None,
            tpm: false,
            profile: None,
            firmware: None,
            hardware_version: None,
            guest: None,
            provider: None,
            socket: SocketKind::default(),
            no_startup: false,
        }
    }
}

impl Operations {
    /// Checks a request to create a VM and records the task.
    ///
    /// # Errors
    /// Every rule that is not met; then nothing was changed.
    pub fn create_vm(self: &Arc<Self>, request: CreateVm) -> Result<Job> {
        self.make_vm(request, None)
    }

    /// Makes a VM, with a new TPM or one that is there already.
    pub(super) fn make_vm(
        self: &Arc<Self>,
        request: CreateVm,
        adopted: Option<Adopted>,
    ) -> Result<Job> {
        let vcenter = self.inventory.vcenter_or_only(request.vcenter.as_ref())?;
        let datastore = self
            .inventory
            .datastore_on(&vcenter.record.name, request.datastore.as_ref())?;
        let version = vcenter.record.version;
        let hardware_version = self.hardware_on(&vcenter.record, request.hardware_version)?;
        let guest = match request.guest {
            Some(guest) => guest,
            None => "ubuntu64Guest".parse().map_err(Error::BadValue)?,
        };
        if let Some(profile) = &request.profile {
            if !request.tpm {
                return Err(Error::BadValue(
                    "a profile says what a TPM is like: ask for a TPM too, or leave the profile out".to_owned(),
                ));
            }
            // Made once to see whether it can be, before anything is recorded.
            self.maker
                .new_tpm_of(profile)
                .map_err(|error| Error::BadValue(error.0))?;
        }
        let asked = request.tpm.then_some(TpmAction::New);
        let action =
            provisioning::decide(Operation::CreateVm, version, asked, None).map_err(|refusal| {
                Error::Provisioning {
                    vm: request.name.clone(),
                    refusal,
                }
            })?;
        let provider = if action.is_some() {
            request
                .provider
                .or_else(|| vcenter.record.default_provider.clone())
        } else {
            None
        };
        let folder = self.free_folder(&datastore.record, &request.name)?;
        let like = Like {
            firmware: request.firmware.unwrap_or(Firmware::Efi),
            hardware_version,
            guest,
            provider,
            encrypted: false,
            socket: request.socket,
            startup: !request.no_startup,
        };
        let vm = planned(
            request.name,
            &vcenter.record,
            &datastore.record,
            folder,
            like,
        );
        if action.is_some() {
            self.require(&vm, &vcenter.record)?;
        }

        let operation = match adopted {
            Some(_) => "adopt_tpm",
            None => Operation::CreateVm.as_str(),
        };
        let task = Task::of(operation, &vm);
        let busy = self.occupy(vm.id, &vm.name, "its creation")?;
        let mut transaction = Transaction::default();
        transaction.unchanged(&vcenter);
        transaction.unchanged(&datastore);
        self.record_creation(&task, &vm, transaction)?;
        let datastore = datastore.record;
        let profile = request.profile;
        Ok(self.job(task, vec![busy], move |this, mut task| {
            let mut vm = vm;
            if action.is_some() {
                this.report(&task, 10, "making the TPM");
                let (kind, state) = if let Some(adopted) = adopted {
                    let (state, notes) = adopted.give(&mut vm);
                    task.notes.extend(notes);
                    ("the TPM that was brought", state)
                } else {
                    let state = match &profile {
                        Some(profile) => this.maker.new_tpm_of(profile),
                        None => this.maker.new_tpm(),
                    };
                    ("a new TPM", this.install(&mut vm, TpmAction::New, state)?)
                };
                this.report(&task, 80, "writing the files");
                this.files.create(&vm, &datastore, &contents(state, None))?;
                task.notes.push(format!(
                    "{} has {kind}; its key is held by the key provider {}",
                    vm.name,
                    vm.provider.as_ref().map_or("", Name::as_str)
                ));
            } else {
                this.report(&task, 50, "writing the files");
                this.files.create_plain(&vm, &datastore)?;
            }
            this.record_created(task, &vm)
        }))
    }

    /// The hardware version that was asked for, if the vCenter knows it; its newest otherwise.
    pub(super) fn hardware_on(&self, vcenter: &VCenter, asked: Option<u16>) -> Result<u16> {
        let newest = vcenter.version.newest_hardware();
        let version = asked.unwrap_or(newest);
        if (3..=newest).contains(&version) {
            return Ok(version);
        }
        Err(Error::BadValue(format!(
            "hardware version {version} does not exist on vCenter {} {}; it knows 3 to {newest}",
            vcenter.name, vcenter.version
        )))
    }

    /// Gives `vm` a TPM that nobody has had before.
    pub(super) fn install(
        &self,
        vm: &mut Vm,
        origin: TpmAction,
        made: std::result::Result<TpmBytes, TpmMakerError>,
    ) -> Result<TpmBytes> {
        let fail = |reason: String| Error::Tpm {
            vm: vm.name.clone(),
            reason,
        };
        let state = made.map_err(|error| fail(error.0))?;
        let (state, ek_name, certificates) = match self.maker.certifier() {
            Some(certifier) => {
                let certified = self.certify(certifier, vm, &state)?;
                (certified.state, certified.ek_name, certified.certificates)
            }
            None => {
                let ek_name = self.maker.ek_name(&state).map_err(|error| fail(error.0))?;
                (state, ek_name, TpmCertificates::default())
            }
        };
        vm.tpm = Some(VmTpm {
            origin,
            source: None,
            made: Timestamp::now(),
            ek_name,
            certificates,
        });
        Ok(state)
    }
}
